"""AxBench: steering vectors and concept detection (Wu et al. 2025, arXiv 2501.17148)."""
