"""What the tasks measure on a loaded pair: coupling, invariance, speed."""
