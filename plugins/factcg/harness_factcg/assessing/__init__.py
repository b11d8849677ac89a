"""Documents assessed claim by claim, and verdicts explained by occlusion."""
