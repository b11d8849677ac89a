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
from harness.leaderboard.tables import labels, standings
from harness.reports.page import embedded_json, page_style, source, source_hash, template

_ROOM = "harness.leaderboard"

if TYPE_CHECKING:
    import os

    from harness.leaderboard.rows import Contest, Row, Share, Table

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
)
ROW_FIELDS = ("run", "contest", "value", "low", "high", "n", "unscored", "rank", "flags")
LIMITED, CURRENT, HEADLINE, PREDICTED = 1, 2, 4, 8


def write_html(table: Table, path: str | os.PathLike[str], *, title: str = "Leaderboard") -> None:
    """Write the page.

    Args:
        table: what ``read_results`` returned.
        path: the file to write; it appears only when complete.
        title: the page's heading.

    Raises:
        HarnessError: the file cannot be written; what was there before is untouched.
    """
    page = _render(table, title)
    with replacing_text(path) as file:
        file.write(page)


def _render(table: Table, title: str) -> str:
    script, page, style = source(_ROOM, "page.js"), source(_ROOM, "page.html.j2"), page_style()
    runs = table.runs
    return template(page).render(
        title=title,
        style=style,
        script=script,
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        data=embedded_json(payload(table)),
        n_runs=len(runs),
        n_models=len({run.model for run in runs}),
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

    Rows are in their default order: contests in order, and in each the standing, then the rows
    that a newer or fuller run replaced.
    """
    runs = {run.run_id: number for number, run in enumerate(table.runs)}
    ranked = standings(table.rows)
    names = labels(ranked)
    replaced: dict[Contest, list[Row]] = {contest: [] for contest in ranked}
    counted = {id(entry.row) for standing in ranked.values() for entry in standing}
    for row in table.rows:
        if id(row) not in counted:
            replaced[row.contest].append(row)
    rows: list[list[Any]] = []
    contests: list[dict[str, Any]] = []
    for number, (contest, standing) in enumerate(ranked.items()):
        directions = {entry.row.higher_is_better for entry in standing} - {None}
        up = directions.pop() if len(directions) == 1 else None
        contests.append({**asdict(contest), "label": names[contest], "up": up})
        for entry in standing:
            place = runs[entry.row.run.run_id]
            rows.append(_cells(entry.row, place, number, entry.rank, current=True))
            rows[-1] += [_share(getattr(entry.row, name)) for name in table.shares]
        for row in replaced[contest]:
            rows.append(_cells(row, runs[row.run.run_id], number, None, current=False))
            rows[-1] += [_share(getattr(row, name)) for name in table.shares]
    return {
        "runFields": RUN_FIELDS,
        "runs": [[getattr(run, name) for name in RUN_FIELDS] for run in table.runs],
        "contests": contests,
        "rowFields": [*ROW_FIELDS, *table.shares],
        "shares": table.shares,
        "rows": rows,
    }


def _cells(row: Row, run: int, contest: int, rank: int | None, *, current: bool) -> list[Any]:
    flags = LIMITED * row.task.limited + CURRENT * current + HEADLINE * row.headline
    flags += PREDICTED * row.predicted
    numbers = (row.value, row.ci95_low, row.ci95_high)
    return [run, contest, *numbers, row.n, row.n_unscored, rank, flags]


def _share(share: Share | None) -> list[float | None] | None:
    return None if share is None else [share.value, share.low, share.high]
