"""Records of every_eval_ever: one for each run and task, and one for each document and metric.

The schema (0.3.0) is that of the package ``every_eval_ever``, which needs Python 3.12. The records
are made here, on any Python; where the package is installed its own checks read them before the
folder appears.

    data/TASK/DEVELOPER/MODEL/UUID.json              the task's metrics
    data/TASK/DEVELOPER/MODEL/UUID_samples.jsonl     its documents

The UUID is made of the run's content, so that the same results give the same files. The schema asks
for a number, and whether the answer is right, of each document. A metric whose value of a document
is a number gives that. Where something is to choose, the answer is right if the most probable
choice is; a judge's ratings are given as they are, and count as right where they are 1, which the
record's metadata say is not defined. Documents for which there is no number are counted, and said.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.artefacts.writing import write_json, write_lines
from harness.errors import HarnessError, one_line
from harness.export.eee_records import aggregate, instance
from harness.export.runs import Evaluated, Evaluations, counted
from harness.export.samples import Sample, samples_of
from harness.export.scorers import named
from harness.reports.values import number

_PACKAGE = "every_eval_ever"
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def check() -> None:
    """See that all that is needed is there: nothing is."""


def write(found: Evaluations, folder: Path) -> list[str]:
    """Write the records.

    Args:
        found: What to write.
        folder: An empty folder.

    Returns:
        What was written, in a few lines.

    Raises:
        DataError: Samples are damaged; the message says where.
        HarnessError: The package, where it is installed, finds a record that is not valid.
    """
    written = [_write(task, folder) for task in found.each()]
    rows, without = (sum(counts) for counts in zip(*written, strict=True))
    told = [
        f"{counted(len(written), 'record')} of tasks and {rows:,} of documents",
        _checked(folder),
    ]
    if without:
        told.append(f"{counted(without, 'document')} without a number left out")
    return told


def _write(task: Evaluated, folder: Path) -> tuple[int, int]:
    """Write one task's records; returns how many of documents, and how many have no number."""
    record = aggregate(task)
    model = record["model_info"]
    inner = Path("data", _part(task.name), *_place(model["id"], model["developer"]))
    name = str(uuid.UUID(bytes=_digest(f"{task.run.run_id} {task.name}")[:16], version=4))
    place = folder / inner
    place.mkdir(parents=True, exist_ok=True)
    rows = without = 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal rows, without
        for sample in samples_of(task):
            own = list(_instances(task, sample, record))
            rows += len(own)
            without += not own
            yield from own

    samples = place / f"{name}_samples.jsonl"
    if task.samples is not None:
        write_lines(samples, lines())
        if not rows:
            samples.unlink()
    if rows:
        record["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": (inner / samples.name).as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(samples.read_bytes()).hexdigest(),
            "total_rows": rows,
        }
    write_json(place / f"{name}.json", record)
    return rows, without


def _instances(task: Evaluated, sample: Sample, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A record for each metric that has a number of the document; else of its choice, ratings."""
    known = {one["evaluation_result_id"] for one in record["evaluation_results"]}
    headline = task.headline.metric
    for answer in sample.answers:
        made = partial(instance, task, sample, answer, record)
        for metric, value in answer.values.items():
            score, result = number(value), named(metric, answer.filter)
            if score is not None and result in known:
                right = score == 1 if sample.correct is None else sample.correct
                yield made(result=result, score=score, correct=right)
        if number(answer.values.get(headline)) is not None:
            continue
        if sample.correct is not None:
            yield made(result=None, score=float(sample.correct), correct=sample.correct)
        for question, rating in answer.ratings.items():
            if rating is not None:
                yield made(result=None, score=rating, correct=rating == 1, rating=question)


def _place(model: str, developer: str) -> tuple[str, str]:
    """The folders of a model: every_eval_ever's, of the parts of its name."""
    first, _, rest = model.partition("/")
    return (_part(first), _part(rest)) if rest else (_part(developer), _part(first))


def _part(name: str) -> str:
    made = _UNSAFE.sub("_", name).rstrip(". ")
    return made if made not in ("", "data", "unknown") else f"_{made}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _checked(folder: Path) -> str:
    """Have the package read all that was written, where it is; says whether it did.

    Raises:
        HarnessError: A record is not valid.
    """
    if find_spec(_PACKAGE) is None:
        return (
            f"not checked yet: in the folder run uvx --python 3.12 {_PACKAGE} validate "
            "'data/*/*/*/*'"
        )
    from every_eval_ever.validator.validate import main as validate

    files = sorted(str(path.resolve()) for path in folder.rglob("*.json*"))
    said = io.StringIO()
    with redirect_stdout(said):
        wrong = validate([*files, "--format", "json"])
    if wrong:
        reports = json.loads(said.getvalue())
        first = next(one for one in reports if one["errors"] or one["warnings"])
        what = (first["errors"] or first["warnings"])[0]
        where = Path(first["file"]).relative_to(folder.resolve())
        raise HarnessError(
            f"{_PACKAGE} does not accept {where}: {one_line(what.get('loc', ''))} "
            f"{one_line(what.get('msg', ''), 300)}; report it, with the results it is of"
        )
    return f"{_PACKAGE} has checked {counted(len(files), 'file')}: all are valid"
