"""Runs that multiply: a list among a run's ``model_args`` makes a variant of each value.

    {name: steered, model_args: {method: [diffmean, random]}}   steered-diffmean, steered-random

A list that is one value is written in a list: ``layers: [[3, 4]]``.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import one_line
from harness.studies.reading.file import Run, Study
from harness.studies.reading.settings import merged

_LONGEST = 40  # characters of a value in a name
_MOST = 1000


@dataclass(frozen=True)
class Variant:
    """One of the models that a run stands for.

    Args:
        name: The run's name, and the values that tell it from the run's other variants.
        run: The run.
        chosen: The multiplied arguments, with this variant's values.
        settings: lm-eval's, the study's defaults among them.
    """

    name: str
    run: Run
    chosen: Mapping[str, Any]
    settings: Mapping[str, Any]


def variants(study: Study) -> list[Variant]:
    """All variants of a study, in the order of its file.

    Raises:
        StudyError: Two have one name, a run has no model, or there are too many.
    """
    found: dict[str, Variant] = {}
    for run in study.runs:
        for variant in _of_run(study, run):
            if variant.name in found:
                other = found[variant.name].run.name
                raise study.wrong(
                    (*run.place, "name"),
                    f"'{variant.name}' is a variant of '{other}' already: rename one of the runs",
                )
            found[variant.name] = variant
            if len(found) > _MOST:
                raise study.wrong(run.place, f"more than {_MOST:,} variants of runs")
    return list(found.values())


def _of_run(study: Study, run: Run) -> list[Variant]:
    settings = merged(study.defaults, run.settings)
    if "model" not in settings:
        raise study.wrong(run.place, f"run '{run.name}' has no model, such as model: hf")
    arguments = settings.get("model_args") or {}
    lists = {key: value for key, value in arguments.items() if isinstance(value, list)}
    for key, values in lists.items():
        place = (*run.place, "model_args", key)
        labels = [label(value) for value in values]
        if not values:
            raise study.wrong(place, f"{key} is an empty list: give a value, or several")
        if twice := next((one for one in labels if labels.count(one) > 1), None):
            raise study.wrong(
                place, f"two values of {key} would both be called '{one_line(twice, 80)}'"
            )
    found = []
    for one_of_each in itertools.product(*lists.values()):
        chosen = dict(zip(lists, one_of_each, strict=True))
        name = "-".join([run.name, *map(label, one_of_each)])
        own = settings | {"model_args": {**arguments, **chosen}}
        found.append(Variant(name, run, chosen, own))
    return found


def label(value: Any) -> str:
    """A value in a variant's name: of a path or a hub id the last part.

    >>> label("google/gemma-2-2b-it"), label(0.5), label("{vectors}"), label([3, 4])
    ('gemma-2-2b-it', '0.5', 'vectors', '3_4')
    """
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.rstrip("/").rpartition("/")[2] if "}" not in text else text
    return re.sub(r"[^\w.+-]+", "_", text).strip("_")[:_LONGEST] or "_"
