"""Concepts and their texts, read from the paper's data set or the user's files."""
