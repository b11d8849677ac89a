"""Distilled students with their figures by step, and what the tasks of fidelity say of them.

A *method* is everything of a recipe but the seed. Students of one method differ by their seeds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import HarnessError
from harness.leaderboard import Contest, Row, read_results
from harness.leaderboard.tables import standings
from harness.reports.values import mapping, number, text
from harness_taid.training.provenance import MANIFEST, Distillation, read_distillation, read_metrics

FIDELITY = ("taid_fidelity", "taid_fidelity_on_policy")
SHOWN = {
    "acceptance": "expected acceptance",
    "forward_kl": "KL(teacher ‖ student), nats",
    "reverse_kl": "KL(student ‖ teacher), nats",
    "top1_agreement": "top-1 agreement",
    "exposure_bias": "exposure bias, nats",
}
"""Metrics that are drawn, and their names on the axes."""

_OTHER = frozenset(
    (
        *("step", "epoch", "loss", "lr", "grad_norm", "tokens", "generated", "share"),
        *("t", "t_floor", "momentum", "delta", "adaptive_won"),
    )
)
_NAMED = ("objective", "settings", "sampler", "compat", "seed")


@dataclass(frozen=True)
class Student:
    """A distilled student.

    Attributes:
        label: Its method, told from the others of the page.
        made: What it says of itself.
        steps: A line of figures a step.
        validations: Likewise, where it was validated.
    """

    label: str
    made: Distillation
    steps: Sequence[Mapping[str, float]] = field(repr=False)
    validations: Sequence[Mapping[str, float]] = field(repr=False)

    @property
    def seed(self) -> str:
        """The seed."""
        return text(self.made.recipe.get("seed"))

    @property
    def parts(self) -> list[str]:
        """Names of what was logged beside the loss, and is not the loss itself."""
        names = [name for name in self.steps[0] if name not in _OTHER] if self.steps else []
        return [n for n in names if any(not _equal(line, n) for line in self.steps if n in line)]

    @property
    def has_t(self) -> bool:
        """Whether it had TAID's t."""
        return any("t" in line for line in self.steps)

    @property
    def share_won(self) -> float | None:
        """In what share of the steps TAID's adaptive term, not the straight line, set t."""
        won = [line["adaptive_won"] for line in self.steps if "adaptive_won" in line]
        return sum(won) / len(won) if won else None


def _equal(line: Mapping[str, float], name: str) -> bool:
    return math.isclose(line[name], line["loss"], rel_tol=1e-5, abs_tol=1e-9)


@dataclass(frozen=True)
class Scored:
    """One run on one contest: whose, its seed where it is a student's, and the row."""

    label: str
    seed: str
    row: Row


@dataclass(frozen=True)
class Comparison:
    """Runs that may be compared, on one metric of fidelity."""

    contest: Contest
    metric: str
    limited: bool
    runs: tuple[Scored, ...]


def read_students(paths: Iterable[Path]) -> list[Student]:
    """All students in or below some folders, those of one method together.

    Raises:
        HarnessError: A folder does not exist, has none, or a student's record is damaged.
    """
    folders: dict[str, Path] = {}
    for path in paths:
        found = list(_below(path))
        if not found:
            raise HarnessError(
                f"{path}: no {MANIFEST} in it or below; give what harness taid distill wrote"
            )
        folders |= {os.path.realpath(folder): folder for folder in found}
    students = _told_apart([_student(folder) for folder in folders.values()])
    return sorted(students, key=lambda one: (one.label, int(one.seed or 0), one.made.folder))


def _below(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        raise HarnessError(f"{path}: no such folder")
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if MANIFEST in names:
            yield Path(folder)


def _student(folder: Path) -> Student:
    made = read_distillation(folder)
    assert made is not None, "it was found by its manifest"
    steps: list[dict[str, float]] = []
    validations: list[dict[str, float]] = []
    for line in read_metrics(folder):
        figures = {k: float(v) for k, v in line.items() if number(v) is not None}
        (steps if "loss" in figures else validations).append(figures)
    return Student(_method(made), made, steps, validations)


def _method(made: Distillation) -> str:
    """The objective with its settings, as far as they are not the usual."""
    given = dict(mapping(made.recipe.get("settings")))
    given |= {k: v for k, v in made.arguments.items() if k in ("sampler", "compat")}
    settings = ", ".join(f"{name} {text(value).lower()}" for name, value in given.items())
    return f"{made.objective} ({settings})" if settings else made.objective


def _told_apart(students: Sequence[Student]) -> list[Student]:
    """Labels with whatever else differs between recipes of one label, seeds apart."""
    found = []
    for one in students:
        alike = [other.made.recipe for other in students if other.label == one.label]
        names = [
            name
            for name in one.made.recipe
            if name not in _NAMED and not name.endswith("_sha256")
            and len({text(recipe.get(name)) for recipe in alike}) > 1
        ]  # fmt: skip
        more = ", ".join(f"{name} {text(one.made.recipe[name])}" for name in names)
        found.append(replace(one, label=f"{one.label}, {more}") if more else one)
    return found


def read_comparisons(paths: Sequence[Path], students: Sequence[Student]) -> list[Comparison]:
    """Results of the tasks of fidelity, by what may be compared; students under their labels.

    Raises:
        HarnessError: Nothing can be read, or nothing is of these tasks.
    """
    table = read_results(paths)
    rows = [r for r in table.rows if r.task.task in FIDELITY and r.metric in SHOWN]
    if not rows:
        raise HarnessError(f"no run of {' or '.join(FIDELITY)} in {len(table.runs)} results files")
    known = {os.path.realpath(one.made.folder): one for one in students}
    groups: dict[tuple[Contest, bool, int | None], list[Scored]] = {}
    for contest, standing in standings(rows).items():
        for entry in standing:
            row = entry.row
            one = known.get(os.path.realpath(row.run.model))
            name = one.label if one else Path(row.run.model).name
            key = (contest, row.task.limited, row.n if row.task.limited else None)
            groups.setdefault(key, []).append(Scored(name, one.seed if one else "", row))
    order = list(SHOWN)
    found = [
        Comparison(contest, contest.metric, limited, tuple(runs))
        for (contest, limited, _), runs in groups.items()
    ]
    return sorted(found, key=lambda c: (c.contest.task, c.limited, order.index(c.metric)))
