"""Tables for whoever analyses: scores as on the leaderboard, and every document, as CSV files.

No cell is taken for a formula: a text that would be has an apostrophe before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.export.runs import Evaluated, Evaluations, counted
from harness.export.samples import Answer, Sample, samples_of
from harness.export.scorers import scorers_of
from harness.leaderboard import write_csv, write_wide
from harness.reports.files import Cell, write_cells
from harness.reports.values import number

SCORES, WIDE, SAMPLES, VALUES, COLUMNS = (
    f"{name}.csv" for name in ("scores", "leaderboard", "samples", "values", "columns")
)
_OF_RUN = {
    "run_id": "the run, as in scores.csv",
    "model": "the model's name",
    "method": "what was done to it; empty for nothing",
    "task": "the task's name",
    "document": "the number of the document in the task",
    "filter": "lm-eval's filter, none where the task has no other",
}
_OF_SAMPLE = _OF_RUN | {
    "document_hash": "hash of its row: equal in two runs where the document is",
    "prompt": "what the model was asked",
    "target": "what should be answered; a JSON list where several are right",
    "choices": "what could be answered, a JSON list; empty where anything could",
    "output": "the model's words, or the choice that it finds most probable",
    "scored": "what the filter made of it",
    "correct": "whether the most probable choice is right; empty where nothing is to choose",
    "log_probabilities": "of each choice, or of the text scored; a JSON list, nats",
    "responses": "all of the model's words, where it answered several times; a JSON list",
    "reasons": "the judge's words by question, JSON",
    "trace": "what the model said of the making of its answer, JSON",
    "row": "the document's row, JSON",
}
_OF_VALUE = _OF_RUN | {
    "metric": "the metric; where several are computed of the same values the first of them",
    "name": "which of its values; empty where it has one; rating:QUESTION for a judge's",
    "value": "the number, or the text where it is none; empty where there is none",
}
_TABLES = {
    SCORES: "one line a run, task, metric and filter; columns as of harness leaderboard --csv",
    WIDE: "one line a model and method, one column a task; as of harness leaderboard --wide",
}


def check() -> None:
    """See that all that is needed is there: nothing is."""


def write(found: Evaluations, folder: Path) -> list[str]:
    """Write the tables.

    Args:
        found: What to write.
        folder: An empty folder.

    Returns:
        What was written, in a few lines.

    Raises:
        DataError: Samples are damaged; the message says where.
    """
    write_csv(found.table, folder / SCORES)
    write_wide(found.table, folder / WIDE)
    count = 0

    def samples() -> Iterator[list[Cell]]:
        nonlocal count
        for task in found.each():
            for sample in samples_of(task):
                count += 1
                yield from _sample_lines(task, sample)

    write_cells(folder / SAMPLES, list(_OF_SAMPLE), samples())
    write_cells(folder / VALUES, list(_OF_VALUE), _value_lines(found))
    write_cells(folder / COLUMNS, ("file", "column", "meaning"), _meanings())
    scores = counted(len(found.table.rows), "score")
    return [f"{scores}, {counted(count, 'sample')}; columns.csv says what the columns are"]


def _meanings() -> Iterator[tuple[str, str, str]]:
    for file, meaning in _TABLES.items():
        yield file, "", meaning
    for file, columns in ((SAMPLES, _OF_SAMPLE), (VALUES, _OF_VALUE)):
        for column, meaning in columns.items():
            yield file, column, meaning


def _of_run(task: Evaluated, sample: Sample, answer: Answer) -> list[Cell]:
    run = task.run
    return [run.run_id, run.model, run.method, task.name, sample.number, answer.filter]


def _sample_lines(task: Evaluated, sample: Sample) -> Iterator[list[Cell]]:
    targets = sample.target
    for answer in sample.answers:
        yield [
            *_of_run(task, sample, answer),
            sample.hash,
            sample.prompt,
            targets[0] if len(targets) == 1 else _json(list(targets)),
            _json(list(sample.choices)),
            sample.output,
            answer.text,
            sample.correct,
            _json(list(sample.scores)),
            _json(list(sample.responses)) if len(sample.responses) > 1 else "",
            _json(dict(answer.reasons)),
            _json(dict(answer.trace)),
            _json(dict(sample.doc)),
        ]


def _value_lines(found: Evaluations) -> Iterator[list[Cell]]:
    for task in found.tasks:
        for sample in samples_of(task):
            for answer in sample.answers:
                about = _of_run(task, sample, answer)
                for metric, name, value in _values(task, answer):
                    yield [*about, metric, name, value]


def _values(task: Evaluated, answer: Answer) -> Iterator[tuple[str, str, Cell]]:
    """A document's values of each scorer, and its ratings."""
    rows = [row for row in task.rows if row.filter == answer.filter]
    for scorer in scorers_of(rows, [answer]):
        value = answer.values.get(scorer.metrics[0])
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield scorer.metrics[0], str(name), _cell(inner)
        elif scorer.metrics[0] in answer.values:
            yield scorer.metrics[0], "", _cell(value)
    for question, rating in answer.ratings.items():
        yield "", f"rating:{question}", rating


def _cell(value: Any) -> Cell:
    if isinstance(value, (str, bool)) or value is None:
        return value
    plain = number(value)
    return _json(value) if plain is None else plain


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
