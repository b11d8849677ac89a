"""Concept data made by a writer: contrast concepts, positive and negative texts."""
