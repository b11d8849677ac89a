"""The lm-eval task behind every task of ours: rows from a source, provenance in the results.

A YAML names it by ``class: !function harness.data.sourced_task.SourcedTask`` and names its rows by
``custom_dataset: !function package.module.function``; the function takes the run's metadata and
returns a ``Sourced``. Where the rows came from is then saved with the results.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from lm_eval.api.task import ConfigurableTask

from harness._version import __version__
from harness.data.sources import Row, Sourced
from harness.host.lm_eval_seams import BYPASS, give_rows
from harness.secrets import opened
from harness.statistics import reported


class SourcedTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """A YAML task whose rows come from ``harness.data.sources``."""

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        if type(self).process_results is not ConfigurableTask.process_results:
            # a subclass computes the metrics; unnamed, lm-eval would look for them on the hub
            config.setdefault("process_results", "process_results")
        super().__init__(config=config)

    def override_metric(self, metric_name: str) -> None:
        """Let lm-eval put one metric in the place of the task's own, as ``--predict_only`` does.

        lm-eval asks a task for its metrics by methods that our tasks override; from here on these
        are the metric's.
        """
        super().override_metric(metric_name)
        asked = ("process_results", "aggregation", "higher_is_better")
        methods = {name: partial(getattr(ConfigurableTask, name), self) for name in asked}
        if metric_name == BYPASS:
            methods["process_results"] = partial(self.predicted)
        for name, method in methods.items():
            setattr(self, name, method)

    def predicted(self, doc: Row, results: Any) -> dict[str, Any]:
        """What is kept of a document whose answer is not measured."""
        return {BYPASS: None}

    def dump_config(self) -> dict[str, Any]:
        """The configuration, as it is saved, with the ranges of the metrics.

        ``metadata["ranges"]`` has [lowest, highest] by metric; null where there is no end.
        """
        config: dict[str, Any] = super().dump_config()
        bounds = {name: getattr(one, "bounds", None) for name, one in self.aggregation().items()}
        ranges = {name: list(map(reported, pair)) for name, pair in bounds.items() if pair}
        metadata = dict(config.get("metadata") or {})
        return config | {"metadata": metadata | ({"ranges": ranges} if ranges else {})}

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
