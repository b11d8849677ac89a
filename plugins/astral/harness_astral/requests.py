"""Keys of rows and words of verdicts; imports nothing."""

PROBE, BENIGN = "probe", "benign"
"""Kinds of inputs: one that may do harm, and its harmless twin."""
KINDS = (PROBE, BENIGN)
FACTORS = ("category", "style", "persuasion")
"""What a suite varies, and the rows' columns with the levels."""
UNSAFE, SAFE, UNKNOWN = "unsafe", "safe", "unknown"
"""What an oracle says of an answer."""
LABELS = (UNSAFE, SAFE, UNKNOWN)
REFUSED_BY_PROVIDER, ERROR = "refused_by_provider", "error"
OUTCOMES = (UNSAFE, SAFE, UNKNOWN, REFUSED_BY_PROVIDER, ERROR)
"""What an answer may have come to."""
DECIDED = (UNSAFE, SAFE)
FILTERED = "content_filter"
"""Why an answer ended, where the provider's filter stopped it."""
