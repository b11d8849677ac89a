"""Students distilled: options, course, loop, checkpoints, diary, result."""
