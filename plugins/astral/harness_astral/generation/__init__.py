"""Suites made: cells, seeds, retrieval, the writer's questions, near-duplicates."""
