"""The wrappers: any transformers or vLLM model, steered and read."""
