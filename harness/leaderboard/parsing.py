"""One lm-eval results document → rows.

The shape, shortened, as lm-eval 0.4.13 writes it (older versions lack some keys)::

    {"results":  {"axbench_steer": {"alias": "axbench_steer", "sample_len": 60,
                                    "overall,none": 0.71, "overall_stderr,none": 0.03,
                                    "overall_ci95,none": [0.65, 0.77], "n_unscored,none": 2}},
     "groups":   {…},  "group_subtasks": {"axbench": ["axbench_steer", …]},
     "configs":  {"axbench_steer": {"metric_list": […], "metadata": {"data_source": …}}},
     "versions": {…}, "n-shot": {…}, "higher_is_better": {…}, "n-samples": {…},
     "config":   {"model": "hf-steered", "model_args": {…}, "method": "diffmean", …},
     "date": 1763631565.1, "pretty_env_info": "…", …}

``<metric>_ci95`` and ``n_unscored`` describe other metrics and never become rows. A task that was
only predicted (``--predict_only``) has a row without a value: lm-eval's placeholder is none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.host.lm_eval_seams import BYPASS
from harness.leaderboard.intervals import around, given, range_of, within, without_spread
from harness.leaderboard.rows import Row, TaskRun
from harness.leaderboard.runs import run_of, without_idle
from harness.reports.values import compact, mapping, number, real, text, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.leaderboard.rows import Run

_NOT_METRICS = frozenset({"alias", "name", "sample_len", "sample_count", "samples", "version", " "})
_UNSCORED = "n_unscored"
_OF_CHOICES = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info"})
"""Metrics of which a guess among n choices earns 1/n."""


def rows_of(document: dict[str, Any], *, run_id: str, file: str) -> list[Row]:
    """All rows of one results document; none if no task has a metric.

    Args:
        document: the parsed results file, with an object under "results".
        run_id: a hash of the file's content.
        file: the file's path, as the user gave it.
    """
    run = run_of(document, run_id=run_id, file=file)
    entries = {**mapping(document["results"]), **mapping(document.get("groups"))}
    view = _Document(document, entries)
    rows: list[Row] = []
    for name, entry in entries.items():
        metrics = _metrics(mapping(entry))
        if not metrics.values and view.predicted(name):
            metrics.values[BYPASS, "none"] = None
        if metrics.values:
            whose = without_idle(document, name)
            own = run if whose is document else run_of(whose, run_id=run_id, file=file)
            rows += _task_rows(view, own, name, metrics)
    return rows


@dataclass(slots=True)
class _Metrics:
    """A task's numbers, by (metric, filter)."""

    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    stderrs: dict[tuple[str, str], Any] = field(default_factory=dict)
    intervals: dict[tuple[str, str], Any] = field(default_factory=dict)
    unscored: dict[str, int | None] = field(default_factory=dict)


def _metrics(entry: dict[str, Any]) -> _Metrics:
    found = _Metrics()
    for key, value in entry.items():
        if key in _NOT_METRICS:
            continue
        metric, _, filter_name = key.partition(",")
        filter_name = filter_name or "none"
        if metric.endswith("_stderr"):
            found.stderrs[metric.removesuffix("_stderr"), filter_name] = value
        elif metric.endswith("_ci95"):
            found.intervals[metric.removesuffix("_ci95"), filter_name] = value
        elif metric == _UNSCORED:
            found.unscored[filter_name] = whole(value)
        elif metric == BYPASS:
            found.values[metric, filter_name] = None
        elif isinstance(value, (int, float)):
            found.values[metric, filter_name] = value
        elif "," in key and (value is None or isinstance(value, str)):  # undefined, or no number
            found.values[metric, filter_name] = None
    return found


@dataclass(frozen=True, slots=True)
class _Document:
    """Look-ups into a results document that may lack any of its parts."""

    raw: dict[str, Any]
    entries: dict[str, Any]

    def part(self, key: str, task: str) -> object:
        return mapping(self.raw.get(key)).get(task)

    def config(self, task: str) -> dict[str, Any]:
        return mapping(self.part("configs", task))

    def metadata(self, task: str) -> dict[str, Any]:
        return mapping(self.config(task).get("metadata"))

    def judge(self, task: str) -> object:
        """Who judged a task; a run may name a judge and have tasks that ask none."""
        entry = mapping(self.entries.get(task))
        rated = any(key.partition(",")[0] == _UNSCORED for key in entry)
        asks_none = not rated and "output_type" in self.config(task)
        return None if asks_none else self.metadata(task).get("judge")

    def predicted(self, task: str) -> bool:
        """Whether lm-eval was told to measure nothing."""
        return self.config(task).get("metric_list") == [{"metric": BYPASS}]

    def range(self, task: str, metric: str) -> tuple[float, float]:
        """The lowest and highest value of a metric; a group's is that of its first task."""
        first = next(iter(self.leaves(task)), task)
        return range_of(metric, mapping(self.metadata(first).get("ranges")).get(metric))

    def is_group(self, task: str) -> bool:
        return task in mapping(self.raw.get("groups")) or bool(self.part("group_subtasks", task))

    def leaves(self, task: str) -> list[str]:
        """The tasks under a group, at any depth; a task is its own only leaf."""
        return self._under(task)[0]

    def parts(self, task: str) -> tuple[str, ...]:
        """The tasks and groups in a group, at any depth."""
        return tuple(name for found in self._under(task) for name in found if name != task)

    def _under(self, task: str) -> tuple[list[str], list[str]]:
        """Tasks and groups from one down, itself among them; a group in a circle counts once."""
        found: dict[str, None] = {}
        groups: list[str] = []
        seen: set[str] = set()
        waiting = [task]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            children = self.part("group_subtasks", name)
            if isinstance(children, list) and children:
                groups.append(name)
                waiting += [str(child) for child in reversed(children)]
            else:
                found[name] = None
        return list(found), groups


def _task_rows(view: _Document, run: Run, name: str, metrics: _Metrics) -> Iterator[Row]:
    task = _task_run(view, run, name, metrics)
    headline = _headline(view, name, metrics)
    directions = mapping(view.part("higher_is_better", name))
    for (metric, filter_name), raw in metrics.values.items():
        key = (metric, filter_name)
        value, stderr = number(raw), real(metrics.stderrs.get(key))
        n = _count(view, name, f"{metric},{filter_name}")
        ends = view.range(name, metric)
        if key in metrics.intervals:
            low, high = within(given(metrics.intervals[key]), value, ends)
        elif stderr == 0:
            low, high = without_spread(metric, value, n)
        else:
            low, high = around(value, stderr, ends)
        better = directions.get(metric) if metric != BYPASS else None
        yield Row(
            run=run,
            task=task,
            metric=text(metric),
            filter=text(filter_name),
            value=value,
            stderr=stderr,
            ci95_low=low,
            ci95_high=high,
            higher_is_better=better if isinstance(better, bool) else None,
            n=n,
            n_unscored=metrics.unscored.get(filter_name),
            headline=key == headline,
            lowest=number(ends[0]),
            highest=number(ends[1]),
            chance=_chance(view, name, metric),
        )


def _count(view: _Document, name: str, key: str) -> int | None:
    """Documents behind a metric, unscored ones included."""
    entry = mapping(view.entries.get(name))
    of_metric = whole(mapping(entry.get("sample_count")).get(key))
    effective = whole(mapping(view.part("n-samples", name)).get("effective"))
    candidates = (of_metric, effective, whole(entry.get("sample_len")))
    return next((count for count in candidates if count is not None), None)


def _headline(view: _Document, name: str, metrics: _Metrics) -> tuple[str, str]:
    """The metric a task is known by: what it declares, else the first it lists, else the first."""
    for task in view.leaves(name) if view.is_group(name) else [name]:
        listed = view.config(task).get("metric_list")
        names = [view.metadata(task).get("headline")]
        given = listed if isinstance(listed, list) else []
        names += [mapping(item).get("metric") for item in given]
        for wanted in names:
            metric, _, filter_name = str(wanted).partition(",")
            for key in metrics.values:
                if key[0] == metric and filter_name in ("", key[1]):
                    return key
    return next(iter(metrics.values))


def _chance(view: _Document, name: str, metric: str) -> float | None:
    """What guessing earns: what the task's metadata say, else 1/n where n choices are listed.

    A group's is that of its tasks if it is the same for all.
    """
    tasks = view.leaves(name) if view.is_group(name) else [name]
    found = {_chance_of(view, task, metric) for task in tasks}
    return found.pop() if len(found) == 1 else None


def _chance_of(view: _Document, task: str, metric: str) -> float | None:
    stated = view.metadata(task).get("chance")
    if stated is not None:
        return real(stated.get(metric) if isinstance(stated, dict) else stated)
    config = view.config(task)
    choices = config.get("doc_to_choice")
    listed = config.get("output_type") == "multiple_choice" and isinstance(choices, list)
    if listed and choices and metric in _OF_CHOICES:
        return 1 / len(choices)
    return None


def _task_run(view: _Document, run: Run, name: str, metrics: _Metrics) -> TaskRun:
    leaves = view.leaves(name) if view.is_group(name) else [name]

    def merged(read: Callable[[str], str]) -> list[str]:
        return sorted({value for value in map(read, leaves) if value})

    hashes = merged(lambda task: text(view.metadata(task).get("data_sha256")))
    if len(hashes) > 1:
        hashes = [hashlib.sha256("\n".join(hashes).encode()).hexdigest()]
    return TaskRun(
        task=text(name),
        version=_version(view.part("versions", name)),
        group=view.is_group(name),
        data_source=" + ".join(merged(lambda task: _data_source(view, task))),
        data_sha256="".join(hashes),
        split=" + ".join(merged(lambda task: _split(view, task))),
        n_shot=number(view.part("n-shot", name)),
        judge=" + ".join(merged(lambda task: compact(view.judge(task)))),
        limited=run.limit is not None
        or any(_partial(view, task, metrics.unscored.values()) for task in leaves),
        parts=tuple(map(text, view.parts(name))) if view.is_group(name) else (),
    )


def _version(value: object) -> str:
    """Versions as they are written: lm-eval stores ``1.0`` for a task and ``"1.0"`` for a group."""
    return str(value) if isinstance(value, (int, float)) else text(value)


def _data_source(view: _Document, task: str) -> str:
    metadata = view.metadata(task)
    candidates = (
        metadata.get("data_source"),
        metadata.get("data"),
        view.config(task).get("dataset_path"),
    )
    return next((text(found) for found in candidates if found), "")


def _split(view: _Document, task: str) -> str:
    config = view.config(task)
    candidates = (
        view.metadata(task).get("split"),
        *(config.get(f"{kind}_split") for kind in ("test", "validation", "training")),
    )
    return next((text(found) for found in candidates if found), "")


def _partial(view: _Document, task: str, unscored: Iterable[int | None]) -> bool:
    """Whether fewer documents were evaluated than there are (``--samples`` leaves no limit)."""
    counts = mapping(view.part("n-samples", task))
    original, effective = whole(counts.get("original")), whole(counts.get("effective"))
    if original is None or effective is None:
        return False
    return effective + max((n or 0 for n in unscored), default=0) < original
