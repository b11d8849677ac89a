"""Steering dictionaries on disk and the directions in them."""
