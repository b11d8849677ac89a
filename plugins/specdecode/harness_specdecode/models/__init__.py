"""The wrappers: speculative decoding on transformers and vLLM."""
