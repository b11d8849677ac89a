"""Dictionaries trained: options, shards of concepts, executors."""
