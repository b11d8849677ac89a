"""Teacher and student as networks: heads, logits in chunks, batches, students made."""
