"""The speculative decoder: drafters, schemes, rounds, slots of the cache."""
