"""A repository of results for the hub: a card, the leaderboard's tables, what lm-eval saved.

    README.md                        the card; a data set's names its tables, a model's has an index
    scores.csv, leaderboard.csv      the tables
    results/RUN/results_….json       lm-eval's files, so that ``harness leaderboard``, ``compare``
    results/RUN/samples_….jsonl      and ``view`` read a download as they read the original

In a model's repository all but the card is under ``evaluation/``. Keys are struck from all files.
Samples of a sensitive task stay out unless they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.artefacts.reading import read_json
from harness.artefacts.writing import write_json, write_lines, write_text
from harness.data.lines import numbered
from harness.errors import DataError
from harness.export.card import DATASET, MODEL, card_of
from harness.export.runs import Evaluated, Evaluations, counted
from harness.export.samples import struck
from harness.leaderboard import write_csv, write_wide
from harness.reports.values import mapping
from harness.secrets import data_striker, without_secrets

INNER = {DATASET: "", MODEL: "evaluation"}


def check() -> None:
    """See that all that is needed is there: nothing is."""


def write(
    found: Evaluations, folder: Path, *, kind: str = DATASET, before: str = "", name: str = ""
) -> list[str]:
    """Write the repository's files.

    Args:
        found: What to write.
        folder: An empty folder.
        kind: Of the repository: ``dataset`` or ``model``.
        before: The card that is there.
        name: ``owner/name`` of the repository; empty for none.

    Returns:
        What was written, in a few lines.

    Raises:
        DataError: Samples are damaged; the message says where.
        HarnessError: The card that is there cannot be read, or the results are of several models.
    """
    inner = folder / INNER[kind]
    inner.mkdir(exist_ok=True)
    write_text(folder / "README.md", card_of(found, kind, before=before, name=name))
    write_csv(found.table, inner / "scores.csv")
    write_wide(found.table, inner / "leaderboard.csv")
    samples = sum(_write_samples(task, inner) for task in found.each() if not task.hidden)
    for run in found.table.runs:
        file = Path(run.file)
        saved = without_secrets(mapping(read_json(file, DataError)))
        write_json(inner / "results" / run.run_id / file.name, saved)
    return [f"{counted(len(found.table.runs), 'run')}, {counted(samples, 'file')} of samples"]


def _write_samples(task: Evaluated, folder: Path) -> bool:
    if task.samples is None:
        return False
    strike = data_striker()

    def lines() -> Iterator[dict[str, Any]]:
        assert task.samples is not None
        for _, line in numbered(task.samples):
            yield struck(line, strike)

    place = folder / "results" / task.run.run_id / task.samples.name
    write_lines(place, lines(), dumps=lambda line: json.dumps(line, ensure_ascii=False))
    return True
