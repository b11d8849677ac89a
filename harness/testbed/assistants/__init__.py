"""Deterministic judges and writers who know the testbed's truth."""
