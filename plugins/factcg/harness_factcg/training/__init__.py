"""Checkers trained on CG2C rows, stage by stage."""
