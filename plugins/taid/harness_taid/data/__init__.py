"""Exchanges and held-out rows, read from the user's files, the hub or the testbed."""
