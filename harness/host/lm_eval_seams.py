"""Everything that paperharness touches of lm-eval beyond its documented interface.

``seam_checks.SEAMS`` says of each such place what is expected there and tries it; ``harness
doctor`` and a test run the table, so that a new lm-eval names what it has changed. Importing this
module does not import lm-eval.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from harness._version import __version__
from harness.host import definitions, task_files

KNOWN = ">=0.4.13,<0.5"
_FIRST, _BEYOND = (0, 4, 13), (0, 5, 0)

# -- the version


def version() -> str:
    """The installed lm-eval's version."""
    return metadata.version("lm_eval")


def unknown_version() -> str | None:
    """One line if the installed lm-eval lies outside ``KNOWN``."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version())
    if numbers and _FIRST <= tuple(int(n or 0) for n in numbers.groups()) < _BEYOND:
        return None
    return (
        f"paperharness {__version__} does not know lm-eval {version()}: it "
        f"was made for lm-eval{KNOWN} (pip install 'lm-eval{KNOWN}', or a newer paperharness)"
    )


# -- the registries

_REGISTRIES = {  # kind: the module that fills it, its name in lm_eval.api.registry
    "model": ("lm_eval.models", "model_registry"),
    "filter": ("lm_eval.filters", "filter_registry"),
    "metric": ("lm_eval.api.metrics", "metric_registry"),
    "aggregation": ("lm_eval.api.metrics", "aggregation_registry"),
}


def registry(kind: str) -> Any:
    """lm-eval's registry of one kind, filled with lm-eval's own names first."""
    home, name = _REGISTRIES[kind]
    import_module(home)
    return getattr(import_module("lm_eval.api.registry"), name)


def held(registry: Any, name: str) -> Any:
    """What a registry keeps under a name, not yet imported: "module:attribute" or an object."""
    return dict(registry.items())[name]


def target_of(entry: object) -> str:
    """What a registry keeps, as "module:qualname": text, an entry point, a class or a function."""
    if isinstance(entry, str):
        return entry.replace(" ", "")
    value = getattr(entry, "value", None)  # an entry point, "module:attribute [extras]"
    if isinstance(value, str):
        return value.partition("[")[0].replace(" ", "")
    return f"{getattr(entry, '__module__', '?')}:{getattr(entry, '__qualname__', entry)}"


def same(entry: object, target: str) -> bool:
    """Whether a registry keeps just what ``target`` names, in whatever form.

    Two different texts are the same where one package exports a thing in two places; only then is
    it imported.
    """
    kept = target_of(entry)
    if kept == target:
        return True
    if kept.partition(".")[0].partition(":")[0] != target.partition(".")[0].partition(":")[0]:
        return False
    try:
        named = _resolved(target)
        return target_of(named) == kept or named is _resolved(kept)
    except Exception:  # noqa: BLE001 -- what cannot be imported is not the same
        return False


def _resolved(target: str) -> Any:
    module, _, attribute = target.partition(":")
    found = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def owner_of(entry: object) -> str:
    """Who brought what a registry keeps: the distribution of an entry point, or lm-eval."""
    dist = getattr(entry, "dist", None)
    if dist is not None:
        return f"an entry point of another package ({dist.name} {dist.version}: {target_of(entry)})"
    return own(target_of(entry))


def own(place: object) -> str:
    """How a message calls what is lm-eval's, with its version and place."""
    return f"lm-eval's own (lm-eval {version()}: {place})"


def declared_by(entry: object, distribution: str) -> bool:
    """Whether a registry keeps an entry point of this very distribution."""
    dist = getattr(entry, "dist", None)
    return dist is not None and _plain(dist.name) == _plain(distribution)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def withdraw(registry: Any, name: str) -> None:
    """Take a name out of a registry again, unless it is frozen."""
    if isinstance(registry._objs, dict):
        registry._objs.pop(name, None)


def complete_metric(name: str, aggregation: object, higher_is_better: bool) -> None:
    """Give a metric its aggregation, still unimported, and its direction, unless it has them."""
    module = import_module("lm_eval.api.registry")
    for registry, value in (
        (module.metric_agg_registry, aggregation),
        (module.higher_is_better_registry, higher_is_better),
    ):
        if name not in registry:
            registry.register(name, target=value)


# -- tasks

BYPASS = "bypass"
"""The metric under ``--predict_only``: nothing is measured, and the value is a placeholder."""
_LISTS = ("_all_tasks", "_all_subtasks", "_all_groups", "_all_tags")


def own_folder() -> Path:
    """The folder of lm-eval's package, found without importing it."""
    spec = definitions.find("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'lm_eval'", name="lm_eval")
    return Path(next(iter(spec.submodule_search_locations)))


def own_task_names(wanted: set[str]) -> dict[str, Path]:
    """Which of some names are tasks, groups or tags of lm-eval's own, with their files.

    lm-eval's index of its 14 000 files takes seconds; this parses only files that mention one.
    """
    if not wanted:
        return {}
    names = b"|".join(re.escape(n.encode()) for n in sorted(wanted))
    pattern = re.compile(rb"(?<![\w-])(?:%s)(?![\w-])" % names)  # not a part of a longer one
    found: dict[str, Path] = {}
    for path in _task_files(own_folder() / "tasks"):
        if pattern.search(path.read_bytes()):
            try:
                file = task_files.read(path)
            except Exception:  # noqa: BLE001, S112 -- lm-eval skips what it cannot read as well
                continue
            for name in wanted & {file.name, *file.tags}:
                found.setdefault(str(name), path)
    return found


def _task_files(folder: Path) -> Iterator[Path]:
    """YAMLs, and fragments without a suffix that they include."""
    for where, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("__pycache__", ".ipynb_checkpoints")]
        for file in files:
            if file.endswith((".yaml", ".yml")) or "." not in file:
                yield Path(where, file)


def includes_defaults(manager: Any, stock_init: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether a ``TaskManager`` is made with lm-eval's own tasks."""
    bound = inspect.signature(stock_init).bind(manager, *args, **kwargs)
    return bool(bound.arguments.get("include_defaults", True))


def index_of(kind: type, stock_init: Any, folders: Sequence[Path]) -> Any:
    """A ``TaskManager`` of some folders alone."""
    manager: Any = object.__new__(kind)
    stock_init(manager, include_path=list(folders), include_defaults=False)
    return manager


def task_names(manager: Any) -> set[str]:
    """Tasks, groups and tags in a ``TaskManager``'s index."""
    return set(manager._index)


def own_file(manager: Any, name: str) -> Path | None:
    """lm-eval's own file behind a name in an index; for a tag, that of a task that carries it."""
    entry = manager._index[name]
    carriers = [manager._index[task] for task in sorted(tagged(manager, name))]
    paths = [e.yaml_path for e in ([entry] if entry.yaml_path else carriers) if e.yaml_path]
    own = own_folder()
    return next((Path(path) for path in paths if Path(path).is_relative_to(own)), None)


def tagged(manager: Any, tag: str) -> set[str]:
    """Names of the tasks in an index that carry a tag."""
    entry = manager._index.get(tag)
    return {task for task in entry.tags if task in manager._index} if entry else set()


def unknown_tasks(manager: Any, names: Sequence[str]) -> list[str]:
    """Those of some names that are neither in an index nor a file."""
    return [
        n for n in names if n.partition("::")[0] not in manager._index and not Path(n).is_file()
    ]


def add_tasks(manager: Any, other: Any, names: set[str]) -> None:
    """Put some names of one ``TaskManager`` into another's index."""
    manager._index.update({name: other._index[name] for name in names})
    for listing in _LISTS:
        new = names & set(getattr(other, listing))
        setattr(manager, listing, sorted({*getattr(manager, listing), *new}))


def yaml_function(reference: str, folder: Path) -> Any:
    """What ``!function reference`` means in a YAML of that folder; imports it."""
    return import_module("lm_eval.tasks._yaml_loader")._import_func_in_yml(reference, folder)


def read_own_tasks_by(read: Callable[[Callable[[], Any]], Any]) -> Callable[[], None]:
    """From now on a function says what lm-eval's own tasks are.

    Args:
        read: Gets a function that reads their 14 000 files; returns the index, which it may have
            kept: what is in it is copied where it is changed.

    Returns:
        What takes this back.
    """
    kind = import_module("lm_eval.tasks._index").TaskIndex
    stock, own = kind.build, [own_folder() / "tasks"]

    @functools.wraps(stock)
    def build(paths: Any, **options: Any) -> Any:
        first, more = list(paths)[:1], list(paths)[1:]
        if first != own or options:
            return stock(paths, **options)
        index = dict(read(functools.partial(stock, own)))
        return index | stock(more)  # the later ones go before lm-eval's

    kind.build = staticmethod(build)
    return lambda: setattr(kind, "build", staticmethod(stock))


@contextmanager
def own_tasks_read_by(read: Callable[[Callable[[], Any]], Any]) -> Iterator[None]:
    """A context in which ``read_own_tasks_by`` holds."""
    restore = read_own_tasks_by(read)
    try:
        yield
    finally:
        restore()


ARGUMENTS = ("model_args", "metadata")
"""Attributes of an ``EvaluatorConfig`` with what is passed on to models and tasks, and saved."""

# -- for the rooms above


def load_yaml(path: Path, *, functions: bool = True) -> dict[str, Any]:
    """A task YAML as lm-eval reads it; without ``functions`` they stay names."""
    loader = import_module("lm_eval.tasks._yaml_loader")
    values: dict[str, Any] = loader.load_yaml(path, resolve_func=functions)
    return values


def group_fields() -> frozenset[str]:
    """Keys of a group's YAML that are the group's, not its tasks'."""
    return frozenset(import_module("lm_eval.tasks._factory").GROUP_FIELD_NAMES)


def aggregate(task: Any, values: Mapping[Any, list[Any]], iterations: int) -> dict[str, Any]:
    """A task's metrics and standard errors, from each document's values."""
    compute = import_module("lm_eval.evaluator_utils")._compute_task_aggregations
    metrics: dict[str, Any] = compute(task, dict(values), iterations)[0]
    return metrics


def own_tasks(tasks: Mapping[str, Any]) -> set[str]:
    """Those tasks of which an aggregation knows its own standard error (``Statistic``)."""
    return {
        name
        for name, task in tasks.items()
        if any(hasattr(one, "stderr") for one in task.aggregation().values())
    }


def leaves(group: Any) -> set[str]:
    """The tasks in a group, at any depth."""
    return {task.task_name for task in group.get_all_tasks()}


def writable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A task's or group's metrics without NaN and infinity, which JSON does not have.

    A value becomes None, a standard error "N/A", as lm-eval writes one that is not known.
    """
    from harness.statistics import reported  # numpy: lm-eval has it by now

    found = {}
    for key, value in metrics.items():
        kept = reported(value)
        unknown = kept is None and key.partition(",")[0].endswith("_stderr")
        found[key] = "N/A" if unknown else kept
    return found


def model_class(name: str) -> Any:
    """The class behind a model's name; ``ValueError`` if there is none."""
    import_module("lm_eval.models")  # or get_model would find a registry of our names alone
    return import_module("lm_eval.api.registry").get_model(name)


@contextmanager
def networks_loaded_by(
    load: Callable[[Mapping[str, Any], Callable[[], Any]], Any],
) -> Iterator[None]:
    """A context in which a function says what network an ``hf`` model takes.

    A model that is one of several processes' is left alone.

    Args:
        load: Gets all that decides what is loaded, and a function that loads it.
    """
    kind = import_module("lm_eval.models.huggingface").HFLM
    stock = kind._create_model
    signature = inspect.signature(stock)

    @functools.wraps(stock)
    def create(self: Any, *args: Any, **kwargs: Any) -> None:
        def make() -> Any:
            stock(self, *args, **kwargs)
            return self._model

        if hasattr(self, "accelerator"):
            make()
            return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = {name: value for name, value in bound.arguments.items() if name != "self"}
        given |= {
            "class": self.AUTO_MODEL_CLASS.__name__,
            "device": str(self._device),
            "words": len(self.tokenizer),
        }
        self._model = load(given, make)

    kind._create_model = create
    try:
        yield
    finally:
        kind._create_model = stock


def model_base() -> Any:
    """The base class of all of lm-eval's models."""
    return import_module("lm_eval.api.model").LM


def parsed_arguments(text: str) -> dict[str, Any]:
    """``--model_args`` as lm-eval reads it."""
    found: dict[str, Any] = import_module("lm_eval.utils").simple_parse_args_string(text)
    return found


def no_answer() -> str:
    """What an API model of lm-eval returns where a service gave no answer."""
    text: str = import_module("lm_eval.models.api_models").LMEVAL_MODEL_NONE_ANSWER_PLACEHOLDER
    return text.strip()


def uses_cache(cache_hook: object) -> bool:
    """Whether a model was started under ``--use_cache``."""
    return getattr(cache_hook, "dbdict", None) is not None


def give_rows(task: Any, rows: object) -> None:
    """Give a ``ConfigurableTask`` its data set, a ``datasets.DatasetDict``."""
    task.dataset = rows


def append_filter(task: Any, make: Callable[[], Any]) -> None:
    """Add a last filter to each of a task's pipelines."""
    for pipeline in task._filters:
        pipeline.filters.append(make)
