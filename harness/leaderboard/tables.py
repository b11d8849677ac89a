"""Standings: which rows may be compared, which of them count, and who is ahead.

A rank is one more than the number of rows that are shown to be better: those whose 95 % interval
lies wholly on the better side of the row's own. What overlaps is not ranked apart. A row without an
interval stands for its value alone.

Worked example: 0.80 (0.75 to 0.85), 0.78 (0.70 to 0.86) and 0.60 (0.55 to 0.65) have the ranks 1, 1
and 3. ``harness compare`` tells more apart: it knows which documents both have right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.leaderboard.rows import Contest, Row, Run, Table
from harness.reports.files import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_QUALIFIERS = ("filter", "version", "data_source", "split", "n_shot", "judge", "data_sha256")
_DIGITS = 8  # of a hash, in a name
WIDE_RUN_COLUMNS = (
    "model",
    "model_type",
    "model_args",
    "revision",
    "model_sha",
    "dtype",
    "method",
    "method_args",
    "artefact_hash",
    "gen_kwargs",
    "chat_template",
    "system_instruction",
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A row that counts, and its standing.

    Attributes:
        row: The row.
        rank: One more than the number of rows shown to be better; None for limited runs and where
            it is not known which values are better.
        place: The same by values alone.
    """

    row: Row
    rank: int | None
    place: int | None


def current_rows(rows: Iterable[Row]) -> list[Row]:
    """For each variant and contest, the one row that counts.

    A full run beats a limited one, a value beats a missing one, then the newest run wins.
    """
    best: dict[tuple[tuple[str, ...], Contest], Row] = {}
    for row in rows:
        key = (row.run.variant, row.contest)
        held = best.get(key)
        if held is None or _precedence(row) > _precedence(held):
            best[key] = row
    return list(best.values())


def _precedence(row: Row) -> tuple[bool, bool, str, str]:
    return (not row.task.limited, row.value is not None, row.run.date, row.run.run_id)


def standings(rows: Iterable[Row]) -> dict[Contest, list[Standing]]:
    """Current rows by contest, the best value first, limited runs after all full ones.

    Where the direction of a metric is unknown, values are in descending order and nobody has a
    rank.
    """
    by_contest: dict[Contest, list[Row]] = defaultdict(list)
    for row in current_rows(rows):
        by_contest[row.contest].append(row)
    return {
        contest: _ranked(by_contest[contest]) for contest in sorted(by_contest, key=contest_order)
    }


def contest_order(contest: Contest) -> tuple[bool, str, str, str, str]:
    """Groups first, then by name."""
    rest = "\x1f".join(str(getattr(contest, name)) for name in _QUALIFIERS)
    return (not contest.group, contest.task, contest.metric, contest.filter, rest)


def _ranked(rows: list[Row]) -> list[Standing]:
    directions = {row.higher_is_better for row in rows} - {None}
    direction = directions.pop() if len(directions) == 1 else None
    sign = 1 if direction is False else -1

    def place(row: Row) -> tuple[bool, bool, float, str, str, str]:
        value, run = 0.0 if row.value is None else sign * row.value, row.run
        known = (row.task.limited, row.value is None, value)
        return (*known, run.name, run.label, run.run_id)  # the latter of equal ones

    ordered = sorted(rows, key=place)
    if direction is None:
        return [Standing(row, None, None) for row in ordered]
    full = [row for row in ordered if row.value is not None and not row.task.limited]
    worst = sorted(_span(row, sign)[1] for row in full)
    values = [sign * (row.value or 0.0) for row in full]
    ranked = [
        Standing(row, bisect_left(worst, _span(row, sign)[0]) + 1, bisect_left(values, value) + 1)
        for row, value in zip(full, values, strict=True)
    ]
    return ranked + [Standing(row, None, None) for row in ordered[len(full) :]]


def _span(row: Row, sign: int) -> tuple[float, float]:
    """The better and the worse end of a row's interval, times ``sign``; its value without one."""
    value = row.value or 0.0
    low = value if row.ci95_low is None else min(row.ci95_low, value)
    high = value if row.ci95_high is None else max(row.ci95_high, value)
    return (low, high) if sign > 0 else (-high, -low)


def labels(contests: Iterable[Contest]) -> dict[Contest, str]:
    """A name for each contest: ``task (metric)``, and whatever else tells it from its like.

    Two contests over the same task and metric that differ in their data are named
    ``task (metric, data_source=hub)`` and ``task (metric, data_source=testbed)``. Judges are named
    by their model, and data by the beginning of their hash, where that tells them apart.
    """
    alike: dict[tuple[bool, str, str], list[Contest]] = defaultdict(list)
    for contest in contests:
        alike[contest.group, contest.task, contest.metric].append(contest)
    named: dict[Contest, str] = {}
    for (_, task, metric), group in alike.items():
        varying = [
            name for name in _QUALIFIERS if len({getattr(contest, name) for contest in group}) > 1
        ]
        short = {contest: _told(contest, varying, short=True) for contest in group}
        apart = len(set(short.values())) == len(group)
        for contest in group:
            told = short[contest] if apart else _told(contest, varying, short=False)
            named[contest] = f"{task} ({', '.join([metric, *told])})"
    return named


def _told(contest: Contest, varying: Sequence[str], *, short: bool) -> tuple[str, ...]:
    values = {name: getattr(contest, name) for name in varying}
    if short and "judge" in values:
        values["judge"] = contest.judge_name
    if short and "data_sha256" in values:
        values["data_sha256"] = contest.data_sha256[:_DIGITS]
    return tuple(f"{name}={value}" for name, value in values.items() if value not in ("", None))


def wide(table: Table) -> tuple[list[str], list[list[Cell]]]:
    """One line per variant, one column per contest over a headline metric, groups first.

    Behind it, in a comparison, a column of what is retained and one of what is recovered.

    Full and limited results never share a line: a variant that has both gets two, and all
    limited lines come last. Within each part the best in the first column is on top, ties and
    gaps decided by the next.

    Returns:
        The column names and the lines.
    """
    ordered = standings(row for row in table.rows if row.headline)
    lines: dict[tuple[bool, tuple[str, ...]], dict[Contest, Standing]] = defaultdict(dict)
    places: dict[tuple[bool, tuple[str, ...]], list[int]] = defaultdict(
        lambda: [len(table.rows)] * len(ordered)
    )
    for column, (contest, standing) in enumerate(ordered.items()):
        for position, entry in enumerate(standing):
            key = (entry.row.task.limited, entry.row.run.variant)
            lines[key][contest] = entry
            places[key][column] = entry.place or position + 1
    named = labels(ordered)
    behind = ("", *(f" {name} %" for name in table.shares))
    columns = [f"{named[contest]}{more}" for contest in ordered for more in behind]
    header = [*WIDE_RUN_COLUMNS, "limited", "limit", "newest", *columns]
    body: list[list[Cell]] = []
    for key in sorted(lines, key=lambda key: (key[0], places[key], key[1])):
        cells = lines[key]
        newest: Run = max((entry.row.run for entry in cells.values()), key=lambda run: run.date)
        values = [value for c in ordered for value in _values(cells.get(c), table.shares)]
        about: list[Cell] = [getattr(newest, name) for name in WIDE_RUN_COLUMNS]
        body.append([*about, key[0], newest.limit, newest.date, *values])
    return header, body


def _values(entry: Standing | None, shares: Sequence[str]) -> list[Cell]:
    """A row's value and shares, as cells."""
    if entry is None:
        return [None] * (1 + len(shares))
    return [entry.row.value, *(getattr(getattr(entry.row, s), "value", None) for s in shares)]
