"""The leaderboard as one HTML page that needs nothing but itself.

Everything that comes from a results file reaches the page as JSON inside a
``<script type="application/json">`` and is put on screen as text, never as markup. A content
security policy names the page's own script and style by hash; nothing else may run or load.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.artefacts.writing import replacing_text
from harness.leaderboard.matrix import how, in_order, lines_of
from harness.leaderboard.tables import labels, standings
from harness.reports.page import (
    embedded_json,
    folder_from,
    page_style,
    source,
    source_hash,
    template,
)
from harness.reports.sample_links import address

_ROOM = "harness.leaderboard"

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from harness.leaderboard.rows import Contest, Row, Share, Table
    from harness.leaderboard.tables import Standing

RUN_FIELDS = (
    "run_id",
    "date",
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
    "limit",
    "seeds",
    "lm_eval_version",
    "harness_version",
    "torch_version",
    "transformers_version",
    "hardware",
    "seconds",
    "file",
    "name",
    "label",
)
ROW_FIELDS = ("run", "line", "contest", "value", "low", "high", "n", "unscored", "rank", "flags")
LIMITED, CURRENT, HEADLINE, PREDICTED = 1, 2, 4, 8


def write_html(
    table: Table,
    path: str | os.PathLike[str],
    *,
    title: str = "Leaderboard",
    view: str | os.PathLike[str] | None = None,
) -> None:
    """Write the page.

    Args:
        table: what ``read_results`` returned.
        path: the file to write; it appears only when complete.
        title: the page's heading.
        view: the folder that ``harness view`` wrote for the same results, to link samples there.

    Raises:
        HarnessError: the file cannot be written; what was there before is untouched.
    """
    page = _render(table, title, "" if view is None else address(folder_from(path, view)))
    with replacing_text(path) as file:
        file.write(page)


def _render(table: Table, title: str, view: str) -> str:
    script = "\n".join(source(_ROOM, name) for name in ("matrix.js", "page.js"))
    page, style = source(_ROOM, "page.html.j2"), page_style() + source(_ROOM, "matrix.css")
    runs = table.runs
    return template(page).render(
        title=title,
        style=style,
        script=script,
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        data=embedded_json(payload(table) | {"view": view}),
        n_runs=len(runs),
        n_models=len({run.name for run in runs}),
        n_tasks=len({row.task.task for row in table.rows}),
        versions=_versions([run.lm_eval_version for run in runs]),
        made=datetime.now(UTC),
        teacher=table.teacher,
        base=table.base,
    )


def _versions(found: list[str]) -> str:
    known = sorted({version for version in found if version})
    return ", ".join(known) if len(known) < 4 else f"{known[0]} to {known[-1]}"


def payload(table: Table) -> dict[str, Any]:
    """What the page knows: runs and contests once each, rows as short arrays.

    Rows are in their default order: contests in order, the parts of a group behind it, and in each
    the standing, then the rows that a newer or fuller run replaced.
    """
    ranked = standings(table.rows)
    heads = in_order(ranked)
    place = {contest: number for number, contest in enumerate(heads)}
    named = labels(ranked)
    runs = {_key(row): row.run for row in table.rows}
    at = {key: number for number, key in enumerate(runs)}
    headline = {c: [e for e in ranked[c] if e.row.headline] for c in heads}
    lines, line_of = lines_of(headline, ((row.task.limited, row.run) for row in table.rows))
    replaced = _replaced(table, ranked)
    rows: list[list[Any]] = []
    for contest, number in place.items():
        counted = [(entry.row, entry.rank, True) for entry in ranked[contest]]
        for row, rank, current in counted + [(row, None, False) for row in replaced[contest]]:
            where = (at[_key(row)], line_of[row.task.limited, row.run.variant], number)
            rows.append([*where, *_cells(row, rank, current=current)])
            rows[-1] += [_share(getattr(row, name)) for name in table.shares]
    return {
        "runFields": (*RUN_FIELDS, "how"),
        "runs": [[*(getattr(run, f) for f in RUN_FIELDS), how(run)] for run in runs.values()],
        "lines": [asdict(line) for line in lines],
        "contests": [
            {**asdict(contest), **_about(ranked[contest]), "label": named[contest]}
            | {"head": None if head is None else place[head]}
            for contest, head in heads.items()
        ],
        "rowFields": [*ROW_FIELDS, *table.shares],
        "shares": table.shares,
        "rows": rows,
    }


def _key(row: Row) -> tuple[str, tuple[str, ...]]:
    """A run; of one file there are two where a method is idle on some of its tasks."""
    return row.run.run_id, row.run.variant


def _replaced(table: Table, ranked: Mapping[Contest, list[Standing]]) -> dict[Contest, list[Row]]:
    """Rows that a newer or fuller run replaced."""
    counted = {id(entry.row) for standing in ranked.values() for entry in standing}
    replaced: dict[Contest, list[Row]] = {contest: [] for contest in ranked}
    for row in table.rows:
        if id(row) not in counted:
            replaced[row.contest].append(row)
    return replaced


def _about(standing: list[Standing]) -> dict[str, Any]:
    """The direction and the range of a contest's metric, where all runs agree."""
    rows = [entry.row for entry in standing]
    directions = {row.higher_is_better for row in rows} - {None}
    low, high = {row.lowest for row in rows}, {row.highest for row in rows}
    return {
        "up": directions.pop() if len(directions) == 1 else None,
        "lowest": low.pop() if len(low) == 1 else None,
        "highest": high.pop() if len(high) == 1 else None,
    }


def _cells(row: Row, rank: int | None, *, current: bool) -> list[Any]:
    flags = LIMITED * row.task.limited + CURRENT * current + HEADLINE * row.headline
    flags += PREDICTED * row.predicted
    numbers = (row.value, row.ci95_low, row.ci95_high)
    return [*numbers, row.n, row.n_unscored, rank, flags]


def _share(share: Share | None) -> list[float | None] | None:
    return None if share is None else [share.value, share.low, share.high]
