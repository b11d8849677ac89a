"""Hands what plugins bring to lm-eval, right after each of its modules is imported.

Called by the import hook in ``_autoload``. Besides adding names to lm-eval's registries and task
index it wraps some functions of lm-eval: ``stderr_for_metric``, so that an aggregation may bring
its own standard error; ``_process_results``, so that what our statistics leave undefined is null in
the results, not NaN; ``get_model``, ``TaskManager.match_tasks`` and ``TaskManager.load``, so that a
name nobody provides, and one that leads nowhere, is explained; ``LM.create_from_arg_…``, so that a
misspelt argument is told before a model is loaded; ``TaskIndex.build``, so that lm-eval's own tasks
are not parsed at each start; and ``EvaluatorConfig._parse_dict_args``, so
that secrets among the arguments are sealed before anything is printed or saved; and
``EvaluationTracker.save_results_samples``, so that samples keep the traces of answers.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

from harness.errors import HarnessError, PluginError, UnknownNameError
from harness.host import arguments, checking, task_index, traces
from harness.host import discovery as host
from harness.host import lm_eval_seams as seams
from harness.host.edge import show_own_errors_in_one_line
from harness.secrets import seal, unseal

log = logging.getLogger("harness.host")
_entered: dict[str, list[tuple[Any, str]]] = {}  # by plugin, to be withdrawn should it be refused
_told: set[str] = set()
_NEAR = 0.85
_COMPOSING = "harness.models.composing"


@functools.cache
def _known_lm_eval() -> bool:
    """Whether lm-eval is one we know; says so once if not."""
    stranger = seams.unknown_version()
    if stranger:
        log.warning(stranger)
    return stranger is None


def _carefully(join: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """With an lm-eval that we do not know, what cannot join stays out instead of raising."""

    @functools.wraps(join)
    def joined(module: ModuleType) -> None:
        known = _known_lm_eval()
        try:
            join(module)
        except Exception as cause:
            if known:
                raise
            log.warning("%s: plugins stay out: %s: %s", join.__name__, type(cause).__name__, cause)

    return joined


@_carefully
def join_config(module: ModuleType) -> None:
    """Seal secrets among a run's arguments; called after ``lm_eval.config.evaluate_config``."""
    kind: Any = module.EvaluatorConfig
    stock = kind._parse_dict_args

    @functools.wraps(stock)
    def parse_dict_args(self: Any) -> Any:
        parsed = stock(self)
        for name in seams.ARGUMENTS:
            setattr(parsed, name, seal(getattr(parsed, name)))
        return parsed

    kind._parse_dict_args = parse_dict_args


@_carefully
def join_models(module: ModuleType) -> None:
    """Hand models to lm-eval; called after ``lm_eval.models`` has registered its own."""
    _enter_all("model")


@_carefully
def join_metrics(module: ModuleType) -> None:
    """Hand metrics and aggregations to lm-eval; called after ``lm_eval.api.metrics``.

    lm-eval knows the standard error of a fixed list of aggregations; one of ours that knows its
    own (``harness.statistics.Statistic``) is asked for it.
    """
    aggregations = _enter_all("aggregation")
    _enter_all("metric")
    for plugin in host.plugins():
        for name, metric in plugin.of_kind("metric").items():
            if metric.aggregation in aggregations:
                kept = seams.held(aggregations, metric.aggregation)
                seams.complete_metric(name, kept, metric.higher_is_better)
    stock = module.stderr_for_metric

    @functools.wraps(stock)
    def stderr_for_metric(metric: Any, bootstrap_iters: int) -> Any:
        own = getattr(metric, "stderr", None)
        return own if own and bootstrap_iters > 0 else stock(metric, bootstrap_iters)

    module.stderr_for_metric = stderr_for_metric  # type: ignore[attr-defined]


@_carefully
def join_results(module: ModuleType) -> None:
    """Keep NaN out of the results of our tasks and their groups; after ``evaluator_utils``."""
    stock = module._process_results

    @functools.wraps(stock)
    def process_results(accumulated: Any, groups: Any = None, *args: Any, **kwargs: Any) -> Any:
        result = stock(accumulated, groups, *args, **kwargs)
        own = seams.own_tasks({name: one["task"] for name, one in accumulated.items()})
        for name in result.metrics:
            if name in own or (name in result.groups and own & seams.leaves(result.groups[name])):
                result.metrics[name] = seams.writable(result.metrics[name])
        return result

    module._process_results = process_results  # type: ignore[attr-defined]


@_carefully
def join_samples(module: ModuleType) -> None:
    """Let saved samples keep the traces of answers; after ``loggers.evaluation_tracker``."""
    traces.keep(module.EvaluationTracker)


@_carefully
def join_tasks(module: ModuleType) -> None:
    """Hand filters and task folders to lm-eval; called after ``lm_eval.tasks.manager``."""
    seams.registry("model")  # fills it, and joins our models through the hook
    from lm_eval.api import registry

    _enter_all("filter")
    seams.read_own_tasks_by(functools.partial(task_index.kept, seams.own_folder() / "tasks"))
    _complete_index(module.TaskManager)
    _check_tasks(module.TaskManager)
    _explain_models(registry)
    _read_arguments(seams.model_base())
    show_own_errors_in_one_line()


def _enter_all(kind: str) -> Any:
    """Hand the plugins' names of one kind to lm-eval; returns its registry."""
    registry = seams.registry(kind)
    for plugin in host.plugins():
        for name, target in plugin.of_kind(kind).items():
            if not plugin.error:
                _enter(registry, kind, plugin, name, checking.target_text(target))
    return registry


def _enter(registry: Any, kind: str, plugin: host.Plugin, name: str, target: str) -> None:
    """Put one name into an lm-eval registry, unless it is there already for the same thing.

    What the plugin registers goes before what its own package has declared for lm-eval.
    """
    if name in registry and seams.declared_by(seams.held(registry, name), plugin.distribution):
        seams.withdraw(registry, name)
    if name not in registry:
        registry.register(name, target=target)
        _entered.setdefault(plugin.name, []).append((registry, name))
    elif not checking.refuse_taken(registry, kind, plugin, name, target):
        return
    if plugin.error:
        _withdraw(plugin)


def _withdraw(plugin: host.Plugin) -> None:
    """Take back what a plugin had entered before it was refused."""
    for registry, name in _entered.pop(plugin.name, ()):
        seams.withdraw(registry, name)


def _complete_index(manager: Any) -> None:
    """Let every ``TaskManager`` with lm-eval's defaults index the plugins' tasks too."""
    stock = manager.__init__

    @functools.wraps(stock)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        if seams.includes_defaults(self, stock, *args, **kwargs):
            for plugin in host.plugins():
                if plugin.folders:
                    _add_tasks(self, plugin, seams.index_of(manager, stock, plugin.folders))
        _tell_refused()

    manager.__init__ = init


def _add_tasks(manager: Any, plugin: host.Plugin, own: Any) -> None:
    """Add a plugin's tasks to an index; a name that is not lm-eval's stays ``--include_path``'s."""
    names = seams.task_names(own)
    taken = names & seams.task_names(manager)
    for name in sorted(taken):
        if path := seams.own_file(manager, name):
            plugin.refuse("task", name, seams.own(path))
            _withdraw(plugin)
            return
    seams.add_tasks(manager, own, names - taken)


def _tell_refused() -> None:
    """Say once that a plugin stays out because a name of its means something else here."""
    for plugin in host.broken():
        if plugin.refused and plugin.name not in _told:
            _told.add(plugin.name)
            log.warning("plugin %s is left out: %s", plugin, plugin.error)


def _check_tasks(manager: Any) -> None:
    """Let a run that asks for a missing task, or for one that is faulty, fail at once."""
    stock_match, stock_load = manager.match_tasks, manager.load

    @functools.wraps(stock_match)
    def match_tasks(self: Any, task_list: list[str]) -> list[str]:
        matches: list[str] = stock_match(self, task_list)
        if not matches:
            _explain_missing_tasks(self, task_list)
        checking.check_asked(matches, functools.partial(seams.tagged, self))
        return matches

    @functools.wraps(stock_load)
    def load(self: Any, task_list: Any, *args: Any, **kwargs: Any) -> Any:
        given = task_list if isinstance(task_list, (list, tuple)) else [task_list]
        names = [name for name in given if isinstance(name, str)]
        _explain_missing_tasks(self, seams.unknown_tasks(self, names))
        checking.check_asked(names, functools.partial(seams.tagged, self))
        return stock_load(self, task_list, *args, **kwargs)

    manager.match_tasks, manager.load = match_tasks, load


def _explain_missing_tasks(manager: Any, names: list[str]) -> None:
    """Raise for a name that nobody provides, where more can be said of it than lm-eval does."""
    for name in names:
        if near := get_close_matches(name, seams.task_names(manager), cutoff=_NEAR):
            raise UnknownNameError(f"task '{name}' not found; did you mean {_or(near)}?")
    if names and host.broken():
        raise PluginError(f"tasks not found: {', '.join(names)}. {_suspects()}")


def _explain_models(registry: Any) -> None:
    """Let a run that asks for a missing model, or for one that leads nowhere, say whose it is."""
    stock = registry.get_model

    @functools.wraps(stock)
    def get_model(model_name: str) -> Any:
        try:
            if "+" in model_name:
                return import_module(_COMPOSING).compose(model_name)
            return stock(model_name)
        except HarnessError:
            raise
        except Exception as cause:
            owner = next((p for p in host.plugins() if model_name in p.of_kind("model")), None)
            if owner:
                raise PluginError(checking.why_not_loaded(owner, model_name, cause)) from cause
            if isinstance(cause, ValueError):
                _explain_missing_model(model_name, cause)
            raise

    registry.get_model = get_model


def _explain_missing_model(name: str, cause: ValueError) -> None:
    known = {*dict(seams.registry("model").items())}
    known |= {model for plugin in host.plugins() for model in plugin.of_kind("model")}
    if near := get_close_matches(name, sorted(known), cutoff=_NEAR):
        raise UnknownNameError(f"model '{name}' not found; did you mean {_or(near)}?") from cause
    if host.broken():
        raise PluginError(f"model '{name}' not found. {_suspects()}") from cause
    raise UnknownNameError(
        f"model '{name}' not found: neither lm-eval nor a plugin has it (`harness plugins` lists "
        "what plugins bring)"
    ) from cause


def _or(names: list[str]) -> str:
    return " or ".join(sorted(names))


def _read_arguments(base: Any) -> None:
    """Let every model's arguments be read before it is made.

    What both ``--model_args`` and a flag of its own say (``device``, ``batch_size``), the former
    decides: the flag has a default.
    """

    def from_obj(cls: type, arg_dict: Any, additional_config: Any = None) -> Any:
        more = {k: v for k, v in (additional_config or {}).items() if v is not None}
        return cls(**{**more, **arguments.read(cls, unseal(arg_dict))})

    def from_string(cls: type, arg_string: str, additional_config: Any = None) -> Any:
        return from_obj(cls, seams.parsed_arguments(arg_string), additional_config)

    base.create_from_arg_obj = classmethod(
        functools.wraps(base.create_from_arg_obj.__func__)(from_obj)
    )
    base.create_from_arg_string = classmethod(
        functools.wraps(base.create_from_arg_string.__func__)(from_string)
    )


def _suspects() -> str:
    causes = "; ".join(f"{plugin}: {plugin.error}" for plugin in host.broken())
    return f"Plugins that could not be loaded and may provide it: {causes}"
