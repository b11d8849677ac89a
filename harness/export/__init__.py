"""Results in forms that others read: Inspect's logs, every_eval_ever's records, CSV, the hub."""
