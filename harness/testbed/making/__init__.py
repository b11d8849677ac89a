"""How the testbed's models are made and how good they are."""
