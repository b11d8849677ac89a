"""The lm-eval task behind every task of ours: rows from a source, provenance in the results.

A YAML names it by ``class: !function harness.data.sourced_task.SourcedTask`` and names its rows by
``custom_dataset: !function package.module.function``; the function takes the run's metadata and
returns a ``Sourced``. Where the rows came from is then saved with the results.
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.task import ConfigurableTask

from harness._version import __version__
from harness.data.sources import Sourced
from harness.host.lm_eval_seams import give_rows
from harness.secrets import opened


class SourcedTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """A YAML task whose rows come from ``harness.data.sources``."""

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        if type(self).process_results is not ConfigurableTask.process_results:
            # a subclass computes the metrics; unnamed, lm-eval would look for them on the hub
            config.setdefault("process_results", "process_results")
        super().__init__(config=config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Ask the task's ``custom_dataset`` for its rows and note where they came from."""
        import datasets

        metadata = dict(self.config.metadata or {})
        sourced: Sourced = self.config.custom_dataset(**opened(metadata), **(dataset_kwargs or {}))
        give_rows(self, datasets.DatasetDict({self.config.test_split: sourced.dataset()}))
        self.config.metadata = metadata | {
            "data_source": str(sourced.source),
            "data_sha256": sourced.sha256,
            "split": sourced.split,
            "n_rows": len(sourced.rows),
            "harness_version": __version__,
            **sourced.notes,
        }
