"""Prompts of the tasks: Spec-Bench's questions and the testbed's."""
