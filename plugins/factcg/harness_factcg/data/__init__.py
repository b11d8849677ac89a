"""LLM-AggreFact, CoRe pairs, CG2C and training rows, read and checked."""
