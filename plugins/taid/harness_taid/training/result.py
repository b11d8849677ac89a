"""The folder that a distillation leaves: a checkpoint with the record of how it came about."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from harness.artefacts import recipes
from harness.artefacts.trainings import in_charge
from harness.artefacts.writing import appearing
from harness_taid.training.cast import Cast
from harness_taid.training.checkpoints import whole_state
from harness_taid.training.loop import Ran
from harness_taid.training.provenance import MANIFEST, METRICS

FORM = "harness-taid-student-1"
ADAPTER = "adapter"
_LIBRARIES = ("torch", "transformers", "accelerate", "peft", "tokenizers")
_CURVE_POINTS = 1000

Recipe = dict[str, Any]


def write(out: Path, work: Path, recipe: Recipe, facts: dict[str, Any], cast: Cast) -> None:
    """The student with its record, by one rename; every process calls this, one writes."""
    student = cast.student
    state = whole_state(student)
    if not in_charge():
        return
    with appearing(out) as draft:
        try:
            if hasattr(student, "merge_and_unload"):
                student.save_pretrained(draft / ADAPTER)
                student, state = student.merge_and_unload(), None
            student.save_pretrained(draft, state_dict=state)
        except SafetensorError as cause:  # a full disk, mostly
            raise OSError(str(cause)) from cause
        if cast.template:
            cast.tokenizer.chat_template = cast.template
        cast.tokenizer.save_pretrained(draft)
        shutil.copyfile(work / METRICS, draft / METRICS)
        recipes.write_manifest(draft, FORM, recipe, facts, _LIBRARIES, name=MANIFEST)


def described(model: Any, name: str | None) -> dict[str, Any] | None:
    """A model's name and size, where it was loaded; None for no model."""
    if name is None:
        return None
    size = {} if model is None else {"parameters": int(model.num_parameters())}
    return {"name": name, **size}


def curve(ran: Ran) -> dict[str, list[list[float]]]:
    """Of t over the steps, thinned to ``_CURVE_POINTS``; nothing where there is none."""
    points = [[line["step"], line["t"]] for line in ran.lines if "t" in line]
    every = max(1, math.ceil(len(points) / _CURVE_POINTS))
    return {"t": points[::every] + points[-1:] * ((len(points) - 1) % every > 0)} if points else {}
