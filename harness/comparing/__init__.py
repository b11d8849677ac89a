"""Two runs of lm-eval on the same documents: paired differences, their intervals and p-values."""
