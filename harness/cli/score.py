"""``harness score``: judge saved samples in a second pass, without the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.leaderboard import ARROWS, numbers
from harness.errors import shown
from harness.host.completing import one_of
from harness.reports.values import printable


def score(
    results: Annotated[
        Path, typer.Argument(help="A results_*.json of lm_eval --log_samples, or its folder.")
    ],
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="An lm-eval model's name, or JSON: "
            '{"model": "local-chat-completions", "model_args": {…}}; or "same": the judge that the '
            "run names, if it has no address, store or code.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of the new files; default: beside the old ones."
        ),
    ] = None,
    max_unscored: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Largest share of unscored responses; default: the run's.",
        ),
    ] = None,
    include_path: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="A folder of task YAMLs besides those of installed plugins; code they name runs.",
        ),
    ] = None,
    *,
    scope: Annotated[
        str | None,
        typer.Option(
            autocompletion=one_of(("all", "score", "race")),
            metavar="SCOPE",
            help="Which responses are judged: all, score or race; default: the run's.",
        ),
    ] = None,
    with_files: Annotated[
        bool,
        typer.Option(
            "--with-files",
            help="Read files that the results name, such as axbench_baseline: your own results.",
        ),
    ] = False,
) -> None:
    """Judge the saved samples of a run and write new results beside the old ones.

    Example: harness score results/ --judge testbed-judge
    """
    from harness.judging import rescore

    written = rescore.rescore(
        results,
        judge=judge,
        out=out,
        max_unscored=max_unscored,
        scope=scope,
        include_path=include_path or (),
        with_files=with_files,
    )

    for line in _lines(written):
        print(line)
    print(shown(f"wrote {written}"))


def _lines(written: Path) -> Iterator[str]:
    """A line a metric of what was scored: its value and its interval."""
    from harness.leaderboard import read_results

    for row in read_results([written]).rows:
        if row.task.judge or row.task.group:
            name = f"{row.task.task} {row.metric} {ARROWS[row.higher_is_better]}"
            value, interval, _ = numbers(row)
            yield printable(f"{name} {value}{'' if interval == '–' else f' ({interval})'}")
