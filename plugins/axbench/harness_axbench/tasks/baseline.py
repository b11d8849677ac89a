"""The earlier run that a win rate is against: each concept's score, read from its samples."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness import DataError, Row, read_table
from harness.artefacts.reading import fitting
from harness.judging.run_files import read_results, read_samples, results_file
from harness_axbench.metrics import ABSENCE, overall_score
from harness_axbench.metrics.items import Rated, Suppressed

KEY = "axbench_baseline"
STEERING = ("axbench_steer", "axbench_steer_prompt")
SUPPRESSION = ("axbench_suppress",)
_ITEM = "overall_score"


class _Concept(BaseModel):
    model_config = ConfigDict(strict=True)

    concept_id: int
    concept: str


def scores(place: str, concepts: Mapping[int, str], *, suppressed: bool) -> dict[int, float | None]:
    """Each concept's score in an earlier run of a steering task.

    Args:
        place: A samples file of lm-eval, a results file, or the folder that holds it.
        concepts: Text of each concept that is needed, by id.
        suppressed: Whether the scores are to be those of suppression.

    Returns:
        By concept id; None where all of a concept's ratings are missing.

    Raises:
        DataError: The run cannot be read, is of another task, was not judged, or lacks a concept.
    """
    rows = _samples(place, SUPPRESSION if suppressed else STEERING)
    items = [row.get(_ITEM) for row in rows]
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            fitting(
                Suppressed if ABSENCE in item else Rated,
                item,
                f"{KEY}={place}: {_ITEM} of sample {number}",
            )
    known = [item for item in items if isinstance(item, dict)]
    if len(known) < len(rows) or any((ABSENCE in item) != suppressed for item in known):
        task = " or ".join(SUPPRESSION if suppressed else STEERING)
        raise DataError(f"{KEY}={place}: these are not samples of {task}")
    found = overall_score.values(known)
    if all(math.isnan(score) for score in found.values()):
        raise DataError(f"{KEY}={place}: nothing in it is scored; judge it first: harness score")
    docs = [fitting(_Concept, row["doc"], f"{KEY}={place}: doc of a sample") for row in rows]
    texts = {doc.concept_id: doc.concept for doc in docs}
    for number, text in concepts.items():
        if texts.get(number) != text:
            there = f"has {texts[number]!r}" if number in texts else "has nothing"
            raise DataError(
                f"{KEY}={place} {there} as concept {number}, this run {text!r}; run the baseline "
                f"on the same concepts, or take fewer here: --metadata axbench_concepts=[…]"
            )
    return {number: None if math.isnan(found[number]) else found[number] for number in concepts}


def _samples(place: str, tasks: Collection[str]) -> list[Row]:
    path = Path(place).expanduser()
    if path.suffix == ".jsonl":
        return read_table(path, ("doc", "metrics"))
    file = results_file(path)
    saved = read_results(file)
    names = [name for name in saved["configs"] if name in tasks]
    if len(names) != 1:
        wanted = " or ".join(tasks)
        if names:
            raise DataError(f"{KEY}={place}: it has {' and '.join(names)}; name a samples_*.jsonl")
        raise DataError(f"{KEY}={place}: no {wanted} in it")
    return read_samples(file, saved, names[0])
