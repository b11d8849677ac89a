"""The wrappers: fact checkers on transformers and vLLM."""
