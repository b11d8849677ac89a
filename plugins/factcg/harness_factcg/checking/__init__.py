"""The checker: families, chunks, batches, heads, verdicts."""
