"""Checkpoints and tokenizers as they come in the wild."""
