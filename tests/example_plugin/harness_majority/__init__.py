"""Self-consistency (Wang et al. 2023, arXiv 2203.11171) as a paperharness plugin."""
