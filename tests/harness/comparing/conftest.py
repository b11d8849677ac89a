"""Tests here import what they share, ``compared_runs``, from this folder."""
