"""Judged tasks, ratings, and rescoring of saved samples."""
