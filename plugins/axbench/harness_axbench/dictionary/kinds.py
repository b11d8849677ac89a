"""Kinds of what a method leaves in a dictionary."""

from __future__ import annotations

VECTORS, TEXTS, HEADS = "vectors", "texts", "heads"
ADAPTERS, WEIGHTS = "adapters", "weights"
STEERING = (VECTORS, ADAPTERS, WEIGHTS)
