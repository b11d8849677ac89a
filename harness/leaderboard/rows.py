"""What the leaderboard holds: runs, tasks as they were run, and one row per metric.

A *run* is one results file. A *row* is one metric of one task of one run. A *contest* is
everything that must agree before two values may stand in one column: the same task at the
same version, the same data, the same shots, the same judge, the same metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.artefacts.reading import loads
from harness.host.lm_eval_seams import BYPASS
from harness.reports.files import Cell
from harness.reports.values import mapping, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One results file: which model, how it was run, and on what.

    Fields that come from mappings (``model_args``, ``method_args``, ``gen_kwargs``,
    ``seeds``) are compact JSON with sorted keys, so that equal settings are equal text.
    """

    run_id: str
    date: str
    model: str
    model_type: str
    model_args: str
    revision: str
    model_sha: str
    dtype: str
    method: str
    method_args: str
    artefact_hash: str
    gen_kwargs: str
    chat_template: str
    system_instruction: str
    limit: int | float | None
    seeds: str
    lm_eval_version: str
    harness_version: str
    torch_version: str
    transformers_version: str
    hardware: str
    seconds: float | None
    file: str
    variant: tuple[str, ...]
    """What makes two runs repeats of each other: everything above that can change a result."""
    name: str
    """The model's one name, however ``model`` spells it."""
    label: str
    """The method as it is read: ``steered (diffmean)``; empty for a stock model."""
    who: tuple[str, ...]
    """Of ``variant`` what is the model and its method, not how it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """A task or a group, as one run evaluated it."""

    task: str
    version: str
    group: bool
    data_source: str
    data_sha256: str
    split: str
    n_shot: int | float | None
    judge: str
    limited: bool
    parts: tuple[str, ...] = ()
    """Of a group: the tasks and groups in it, at any depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The things that must be equal before two values are compared."""

    task: str
    group: bool
    metric: str
    filter: str
    version: str
    data_source: str
    data_sha256: str
    split: str
    n_shot: int | float | None
    judge: str

    @property
    def judge_name(self) -> str:
        """Who judged, by the model's name; by all that is known where that cannot be read."""
        try:
            known = mapping(loads(self.judge)) if self.judge else {}
        except ValueError:
            known = {}
        named = text(mapping(known.get("model_args")).get("model")) or text(known.get("model"))
        return named or self.judge


@dataclass(frozen=True, slots=True)
class Share:
    """A percentage with its 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one task of one run; intervals are 95 %.

    ``lowest`` and ``highest`` are the ends of the metric's range, None where there is no end or
    none is known.
    ``chance`` is what guessing earns, where that is known; ``retained`` and ``recovered`` are set
    by ``relative.compared``.
    """

    run: Run
    task: TaskRun
    metric: str
    filter: str
    value: float | int | None
    stderr: float | None
    ci95_low: float | None
    ci95_high: float | None
    higher_is_better: bool | None
    n: int | None
    n_unscored: int | None
    headline: bool
    lowest: float | None = None
    highest: float | None = None
    chance: float | None = None
    retained: Share | None = None
    recovered: Share | None = None

    @property
    def predicted(self) -> bool:
        """Whether the task was only predicted, and there is nothing to rank."""
        return self.metric == BYPASS

    @property
    def contest(self) -> Contest:
        """What this value may be compared with."""
        task = self.task
        return Contest(
            task=task.task,
            group=task.group,
            metric=self.metric,
            filter=self.filter,
            version=task.version,
            data_source=task.data_source,
            data_sha256=task.data_sha256,
            split=task.split,
            n_shot=task.n_shot,
            judge=task.judge,
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that could not be read, and why, in a few words."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything that was read: rows in the order of the files, and what was left out.

    ``others`` counts JSON files in the folders that are no results and were not named so.
    ``teacher`` and ``base`` name the runs that others are compared with; empty for none.
    """

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...] = ()
    duplicates: int = 0
    others: int = 0
    teacher: str = ""
    base: str = ""

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs behind the rows, each once, in order of appearance."""
        return tuple({row.run.run_id: row.run for row in self.rows}.values())

    @property
    def shares(self) -> tuple[str, ...]:
        """The shares that its rows have: ``retained``, ``recovered``."""
        known = (("retained", self.teacher), ("recovered", self.base))
        return tuple(name for name, run in known if run)


LONG_COLUMNS: tuple[tuple[str, Callable[[Row], Cell]], ...] = (
    ("run_id", lambda r: r.run.run_id),
    ("date", lambda r: r.run.date),
    ("model", lambda r: r.run.model),
    ("model_type", lambda r: r.run.model_type),
    ("model_args", lambda r: r.run.model_args),
    ("revision", lambda r: r.run.revision),
    ("model_sha", lambda r: r.run.model_sha),
    ("dtype", lambda r: r.run.dtype),
    ("method", lambda r: r.run.method),
    ("method_args", lambda r: r.run.method_args),
    ("artefact_hash", lambda r: r.run.artefact_hash),
    ("task", lambda r: r.task.task),
    ("task_version", lambda r: r.task.version),
    ("group", lambda r: r.task.group),
    ("data_source", lambda r: r.task.data_source),
    ("data_sha256", lambda r: r.task.data_sha256),
    ("split", lambda r: r.task.split),
    ("filter", lambda r: r.filter),
    ("n_shot", lambda r: r.task.n_shot),
    ("metric", lambda r: r.metric),
    ("headline", lambda r: r.headline),
    ("value", lambda r: r.value),
    ("stderr", lambda r: r.stderr),
    ("ci95_low", lambda r: r.ci95_low),
    ("ci95_high", lambda r: r.ci95_high),
    ("higher_is_better", lambda r: r.higher_is_better),
    ("n", lambda r: r.n),
    ("n_unscored", lambda r: r.n_unscored),
    ("limit", lambda r: r.run.limit),
    ("limited", lambda r: r.task.limited),
    ("seeds", lambda r: r.run.seeds),
    ("gen_kwargs", lambda r: r.run.gen_kwargs),
    ("chat_template", lambda r: r.run.chat_template),
    ("system_instruction", lambda r: r.run.system_instruction),
    ("judge", lambda r: r.task.judge),
    ("lm_eval_version", lambda r: r.run.lm_eval_version),
    ("harness_version", lambda r: r.run.harness_version),
    ("torch_version", lambda r: r.run.torch_version),
    ("transformers_version", lambda r: r.run.transformers_version),
    ("hardware", lambda r: r.run.hardware),
    ("seconds", lambda r: r.run.seconds),
    ("file", lambda r: r.run.file),
)
"""The long table: a column's name and how it is read off a row."""


def _share_columns(name: str) -> tuple[tuple[str, Callable[[Row], Cell]], ...]:
    def part(which: str) -> Callable[[Row], Cell]:
        return lambda row: getattr(getattr(row, name), which, None)

    return (
        (f"{name}_percent", part("value")),
        (f"{name}_ci95_low", part("low")),
        (f"{name}_ci95_high", part("high")),
    )


def long_columns(table: Table) -> tuple[tuple[str, Callable[[Row], Cell]], ...]:
    """The long table's columns, with those of a comparison where there is one."""
    columns = LONG_COLUMNS + ((("chance", lambda r: r.chance),) if table.shares else ())
    return sum((_share_columns(name) for name in table.shares), columns)
