"""Units run in processes of this machine, or by Ray; cells that share a model load it once."""

from harness.studies.executing.local import LocalExecutor
from harness.studies.executing.on_ray import RayExecutor

__all__ = ["LocalExecutor", "RayExecutor"]
