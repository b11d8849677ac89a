"""The bench: theory beside measurement for one target and its drafters."""
