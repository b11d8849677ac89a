"""``harness score``: judge saved samples in a second pass, without the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def score(
    results: Annotated[
        Path, typer.Argument(help="A results_*.json of lm_eval --log_samples, or its folder.")
    ],
    judge: Annotated[
        str | None,
        typer.Option(
            help="An lm-eval model's name, or JSON: "
            '{"model": "local-chat-completions", "model_args": {…}}; or "same": the judge that the '
            "run names, if it has no address, store or code."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new files; default: beside the old ones.")
    ] = None,
    max_unscored: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Largest share of unscored responses; default: the run's."),
    ] = None,
    include_path: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of task YAMLs besides those of installed plugins; code they name runs."
        ),
    ] = None,
) -> None:
    """Judge the saved samples of a run and write new results beside the old ones."""
    from harness.judging import rescore

    written = rescore.rescore(
        results, judge=judge, out=out, max_unscored=max_unscored, include_path=include_path or ()
    )

    from lm_eval.utils import make_table

    print(make_table(json.loads(written.read_text(encoding="utf-8"))))
    print(f"wrote {written}")
