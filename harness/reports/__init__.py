"""What pages and tables share: style, figures, safe embedding, safe cells."""
