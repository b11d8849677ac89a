"""What model wrappers share: responses and traces, prompts, the response cache, checkpoints."""
