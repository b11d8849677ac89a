"""A study's file, read: settings, references, variants; what is wrong is a line with its place."""
