"""From a study's file to its plan: units with keys, folders and commands."""
