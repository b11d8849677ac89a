"""Steering inside vLLM: a request's edits, the tables of a step, the operator that edits."""
