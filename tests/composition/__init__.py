"""Parts of several plugins in one model, against the part that decides its answers."""
