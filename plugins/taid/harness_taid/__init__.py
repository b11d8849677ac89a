"""Temporally adaptive interpolated distillation (Shing et al. 2025, arXiv 2501.16937)."""
