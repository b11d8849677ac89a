"""Drafter-invariant speculative decoding (Daliri, Musco and Suresh 2024, arXiv 2408.07978)."""
