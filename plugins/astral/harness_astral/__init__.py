"""ASTRAL: automated safety testing with coverage that is measured (arXiv 2501.17132)."""
