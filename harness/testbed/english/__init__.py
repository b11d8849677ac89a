"""The synthetic English: words, grammar, facts, requests, and texts made of them."""
