"""The matrix: a line per model and method, a column per task, the parts of a group behind it.

A line joins runs of one model and method that differ only in how they were asked (generation
settings, chat template, who wrote the prompts), as they do from task to task. Where two such runs
have the same column, they are two lines.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.leaderboard.rows import Contest, Row, Run
from harness.leaderboard.tables import Standing
from harness.leaderboard.titles import differing, facts_of, settings

Variant = tuple[bool, tuple[str, ...]]
"""Whether on part of the data, and ``Run.variant``."""
_WORD = re.compile(r"[^\s(),+]+")


@dataclass(frozen=True)
class Line:
    """A line of the matrix.

    Attributes:
        name: The model's one name.
        how: The method with its arguments; of a stock model its type and precision; and whatever
            else tells the line from others of the same name.
        method: Whether a method is at work.
        limited: Whether its runs are on part of the data.
    """

    name: str
    how: str
    method: bool
    limited: bool


def in_order(ranked: Mapping[Contest, Sequence[Standing]]) -> dict[Contest, Contest | None]:
    """Columns in their order, each with the group's column that it is a part of.

    Parts stand behind their group; tasks of no group come last. What is a part of what, runs say
    that have both.
    """
    heads = _heads(ranked)
    below: dict[Contest | None, list[Contest]] = defaultdict(list)
    for contest in ranked:
        below[heads.get(contest)].append(contest)
    found: dict[Contest, Contest | None] = {}
    for start in (*below[None], *ranked):  # the latter for groups that files put in a circle
        waiting = [start]
        while waiting:
            contest = waiting.pop()
            if contest not in found:
                found[contest] = None if contest == start else heads[contest]
                waiting += below[contest][::-1]
    return found


def _heads(ranked: Mapping[Contest, Sequence[Standing]]) -> dict[Contest, Contest]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for standing in ranked.values():
        for entry in standing:
            if entry.row.task.group and entry.row.headline:
                groups[entry.row.run.run_id].append(entry.row)
    seen: dict[Contest, Counter[Contest]] = defaultdict(Counter)
    for contest, standing in ranked.items():
        for entry in standing:
            around = [
                row
                for row in groups.get(entry.row.run.run_id, ())
                if contest.task in row.task.parts and row.contest != contest
            ]
            if around:
                smallest = min(around, key=lambda row: (len(row.task.parts), row.task.task))
                seen[contest][smallest.contest] += 1
    return {contest: counted.most_common(1)[0][0] for contest, counted in seen.items()}


def lines_of(
    ranked: Mapping[Contest, Sequence[Standing]], runs: Iterable[tuple[bool, Run]]
) -> tuple[list[Line], dict[Variant, int]]:
    """The lines, and which of them a variant is in.

    Args:
        ranked: The columns.
        runs: All runs, with whether they are on part of the data.
    """
    filled: dict[Variant, set[Contest]] = defaultdict(set)
    first: dict[Variant, Run] = {}
    for contest, standing in ranked.items():
        for entry in standing:
            filled[entry.row.task.limited, entry.row.run.variant].add(contest)
    for limited, run in runs:
        first.setdefault((limited, run.variant), run)
    lines: dict[tuple[bool, tuple[str, ...]], list[tuple[set[Contest], list[Variant]]]]
    lines = defaultdict(list)
    for variant in sorted(first):
        own = lines[variant[0], first[variant].who]
        free = next((line for line in own if not line[0] & filled[variant]), None)
        if free is None:
            free = (set(), [])
            own.append(free)
        free[0].update(filled[variant])
        free[1].append(variant)
    variants = [line[1] for own in lines.values() for line in own]
    place = {variant: number for number, own in enumerate(variants) for variant in own}
    return _told([(own[0][0], [first[variant] for variant in own]) for own in variants]), place


def _told(groups: Sequence[tuple[bool, Sequence[Run]]]) -> list[Line]:
    """Lines under names that tell them apart."""
    alike: dict[tuple[bool, str, str], list[int]] = defaultdict(list)
    for number, (limited, runs) in enumerate(groups):
        alike[limited, runs[0].name, how(runs[0])].append(number)
    more: dict[int, tuple[str, ...]] = {}
    for own in alike.values():
        told = differing([facts_of(groups[number][1]) for number in own])
        more |= dict(zip(own, told, strict=True))
    return [
        Line(
            name=runs[0].name,
            how=" · ".join(filter(None, [how(runs[0]), *more[number]])),
            method=bool(runs[0].method),
            limited=limited,
        )
        for number, (limited, runs) in enumerate(groups)
    ]


def how(run: Run) -> str:
    """A run's method with its arguments; a stock model's type, precision and revision."""
    if run.method:
        return " · ".join(filter(None, [run.label, _settings(run.method_args, run.label)]))
    revision = "" if run.revision == "main" else run.revision
    return " · ".join(filter(None, [run.model_type, run.dtype, revision]))


def _settings(encoded: str, told: str) -> str:
    """Settings as they are read, without those that the label tells."""
    words = set(_WORD.findall(told))
    shown = settings(encoded)
    return ", ".join(f"{key} {value}" for key, value in shown.items() if value not in words)
