"""FactCG: fact checking of (document, claim) pairs on LLM-AggreFact."""
