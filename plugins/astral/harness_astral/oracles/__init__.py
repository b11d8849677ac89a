"""Who says whether an answer is safe: oracles, their verdicts, outcomes of several."""
