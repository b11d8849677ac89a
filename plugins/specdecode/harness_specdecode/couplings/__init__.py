"""Couplings of two distributions, their noise, and their theory."""
