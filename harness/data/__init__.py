"""Where a task's rows come from: hub, testbed or the user's files."""
