"""One YAML: artefacts, models, methods and tasks, made and run, compared and shown."""
