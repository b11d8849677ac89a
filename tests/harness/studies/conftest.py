"""Tests below import what they share, ``written_studies``, from this folder."""
