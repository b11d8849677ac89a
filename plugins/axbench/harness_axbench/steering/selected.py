"""The factor that a run of ``axbench_steer`` selected for each concept: ``factors=RUN``.

What is selected is the task's own choice (``metrics.steering.chosen_factor``): the factor that does
best on the selection half of the instructions, ties to the weakest. A factor says how strong one
edit is, so the run must have steered with the same dictionary, method, intervention and positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness import DataError, Row
from harness.artefacts.reading import fitting
from harness.errors import shown
from harness.judging.run_files import read_results, read_samples, results_file
from harness_axbench.metrics import chosen_factor
from harness_axbench.metrics.items import Rated

TASK = "axbench_steer"
STEERED = "steered"
"""What a run's results say of how it steered; see ``Plan.edit``."""
_ITEM = "overall_score"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Config(_Strict):
    steered: dict[str, str] = {}


class _Count(_Strict):
    original: int
    effective: int


class _Saved(_Strict):
    config: _Config


def selected_factors(place: str, edit: Mapping[str, str]) -> dict[int, float | None]:
    """Each concept's factor, in the order in which the run has them.

    Args:
        place: lm-eval's results file, or the folder that holds it; its samples lie beside it.
        edit: How this run steers; the other must have steered so.

    Returns:
        By concept id; None where the method has no factor.

    Raises:
        DataError: The run cannot be read, is of another task, of a part of its rows, or steered in
            another way; or a concept has no scored response to select by.
    """
    where = f"factors={place}"
    file = results_file(Path(place).expanduser())
    saved = read_results(file)
    if TASK not in saved["configs"]:
        there = ", ".join(map(shown, saved["configs"])) or "nothing"
        raise DataError(f"{where}: no {TASK} in it, only {there}; factors come from {TASK}")
    _check_edit(where, fitting(_Saved, saved, file).config.steered, edit)
    count = fitting(_Count, saved.get("n-samples", {}).get(TASK), f"{file}: n-samples.{TASK}")
    if count.effective < count.original:
        raise DataError(
            f"{where}: {count.effective} of the {count.original} rows of {TASK} only, too few to "
            f"select by; run it without --limit, for few concepts with axbench_concepts=[…]"
        )
    return _selected(where, read_samples(file, saved, TASK))


def _check_edit(where: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse a run that steered in another way."""
    if not theirs:
        raise DataError(f"{where}: {TASK} was not steered in it; run it with hf-steered first")
    for name, own in ours.items():
        if theirs.get(name) != own:
            raise DataError(
                f"{where} was steered with {name}={shown(theirs.get(name, ''))}, this run is with "
                f"{own}; factors of one are not for the other"
            )


def _selected(where: str, rows: list[Row]) -> dict[int, float | None]:
    concepts: dict[int, list[Mapping[str, Any]]] = {}
    for number, row in enumerate(rows, start=1):
        item: Any = row.get(_ITEM)
        if item is None:
            raise DataError(
                f"{where}: sample {number} of {TASK} has no {_ITEM}; judge the run: harness score"
            )
        fitting(Rated, item, f"{where}: {_ITEM} of sample {number} of {TASK}")
        concepts.setdefault(item["concept_id"], []).append(item)
    found = {concept: chosen_factor(items) for concept, items in concepts.items()}
    unknown = [str(c) for c, factor in found.items() if factor is not None and math.isnan(factor)]
    if unknown:
        few = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise DataError(
            f"{where}: no factor could be selected for {len(unknown)} of its {len(found)} concepts "
            f"({few}), no response of theirs is scored; judge it again: harness score"
        )
    return found
