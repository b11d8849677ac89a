"""Folders with a recipe and checksums that appear by one rename."""
