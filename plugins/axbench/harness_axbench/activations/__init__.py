"""A model's blocks, and their outputs read, edited and differentiated."""
