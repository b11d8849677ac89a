"""Hands what plugins bring to lm-eval, right after each of its modules is imported.

Called by the import hook in ``_autoload``. Besides adding names to lm-eval's registries and task
index it wraps three functions of lm-eval: ``stderr_for_metric``, so that an aggregation may bring
its own standard error, and ``get_model`` and ``TaskManager.match_tasks``, so that a name nobody
provides is explained by the plugins that could not be loaded.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from harness.errors import PluginError
from harness.host import discovery as host


def _named(kind: str) -> Iterator[tuple[host.Plugin, str, Any]]:
    for plugin in host.plugins():
        for name, target in plugin.of_kind(kind).items():
            yield plugin, name, target


def _enter(registry: Any, kind: str, plugin: host.Plugin, name: str, target: object) -> None:
    """Put one name into an lm-eval registry, unless a newer lm-eval has already found it."""
    if name not in registry:
        registry.register(name, target=target)
        return
    present = dict(registry.items())[name]
    if getattr(present, "value", present) != target:
        plugin.fail(f"{kind} '{name}' is lm-eval's own ({present}); rename it")


def join_models(module: ModuleType) -> None:
    """Hand models to lm-eval; called after ``lm_eval.models`` has registered its own."""
    from lm_eval.api.registry import model_registry

    for plugin, name, target in list(_named("model")):
        _enter(model_registry, "model", plugin, name, target)


def join_metrics(module: ModuleType) -> None:
    """Hand metrics and aggregations to lm-eval; called after ``lm_eval.api.metrics``.

    lm-eval knows the standard error of a fixed list of aggregations; one of ours that knows its
    own (``harness.statistics.Statistic``) is asked for it.
    """
    from lm_eval.api import registry

    for plugin, name, target in list(_named("aggregation")):
        _enter(registry.aggregation_registry, "aggregation", plugin, name, target)
    for plugin, name, metric in list(_named("metric")):
        _enter(registry.metric_registry, "metric", plugin, name, metric.target)
        if name not in registry.metric_agg_registry:
            aggregation = registry.aggregation_registry.get(metric.aggregation)
            registry.metric_agg_registry.register(name, target=aggregation)
        if name not in registry.higher_is_better_registry:
            registry.higher_is_better_registry.register(name, target=metric.higher_is_better)

    stock = module.stderr_for_metric

    @functools.wraps(stock)
    def stderr_for_metric(metric: Any, bootstrap_iters: int) -> Any:
        own = getattr(metric, "stderr", None)
        return own if own and bootstrap_iters > 0 else stock(metric, bootstrap_iters)

    module.stderr_for_metric = stderr_for_metric  # type: ignore[attr-defined]


def join_tasks(module: ModuleType) -> None:
    """Hand filters and task folders to lm-eval; called after ``lm_eval.tasks.manager``."""
    import lm_eval.models  # noqa: F401 -- fills the registry, and joins our models through the hook
    from lm_eval.api import registry

    from harness.host.edge import show_own_errors_in_one_line

    for plugin, name, target in list(_named("filter")):
        _enter(registry.filter_registry, "filter", plugin, name, target)
    _include_task_folders(module.TaskManager)
    _explain_missing_models(registry)
    show_own_errors_in_one_line()


def _include_task_folders(manager: Any) -> None:
    """Let every ``TaskManager`` with lm-eval's defaults index the plugins' folders too."""
    stock_init, stock_match = manager.__init__, manager.match_tasks

    @functools.wraps(stock_init)
    def init(
        self: Any,
        verbosity: str | None = None,
        include_path: Any = None,
        include_defaults: bool = True,
        metadata: Any = None,
    ) -> None:
        given = include_path if isinstance(include_path, (list, tuple)) else [include_path]
        ours = [f for p in host.plugins() for f in p.folders] if include_defaults else []
        paths = [*ours, *(p for p in given if p)]
        stock_init(self, verbosity, paths or None, include_defaults, metadata)
        self.include_path = include_path

    @functools.wraps(stock_match)
    def match_tasks(self: Any, task_list: list[str]) -> list[str]:
        matches: list[str] = stock_match(self, task_list)
        if not matches and host.broken():
            raise PluginError(f"tasks not found: {', '.join(task_list)}. {_suspects()}")
        return matches

    manager.__init__, manager.match_tasks = init, match_tasks


def _explain_missing_models(registry: Any) -> None:
    stock = registry.get_model

    @functools.wraps(stock)
    def get_model(model_name: str) -> Any:
        try:
            return stock(model_name)
        except ValueError as cause:
            if not host.broken():
                raise
            raise PluginError(f"model '{model_name}' not found. {_suspects()}") from cause

    registry.get_model = get_model


def _suspects() -> str:
    causes = "; ".join(
        f"'{p.name}' ({p.distribution} {p.version}): {p.error}" for p in host.broken()
    )
    return f"Plugins that could not be loaded and may provide it: {causes}"
