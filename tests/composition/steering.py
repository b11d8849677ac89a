"""What is asked: prompts of several lengths, each with a steering of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.methods import editor_for
from harness_axbench.options import run_options
from harness_axbench.requests import STEERING
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval.api.instance import Instance
from once import once

PLACES = ("theater", "workshop", "harbour", "market", "garden", "window", "river", "old mill")
TURNS = [
    f"<|user|>\n{text}\n<|assistant|>\n"
    for k, place in enumerate(PLACES)
    for text in (f"What is the {place} like?", f"Tell me about the {place}. " * (1 + k % 3))[
        k % 2 :
    ][:1]
]
LENGTH = 14
GREEDY = {"until": [], "max_gen_toks": LENGTH, "do_sample": False}
SAMPLED = {"until": [], "max_gen_toks": LENGTH, "do_sample": True, "temperature": 1.0, "top_k": 0}
KINDS = ("add", "clamp", "min_clamp", "null_out")
CONCEPTS = (0, 3, 5)
POSITIONS = ("all", "prompt", "generated", "2:5", "4:")


def trained(model: str, *methods: str, layer: int) -> Path:
    """A dictionary of three concepts, which no test may change; edits of the model are crude."""
    name = "-".join((model.removeprefix("testbed:"), str(layer), *methods))
    return once(f"composed-{name}", partial(_train, model, methods, layer))


def _train(model: str, methods: Sequence[str], layer: int, folder: Path) -> None:
    settings = {
        "lora": {"epochs": "1", "lr": "0.02", "layers": "0,1"},
        "loreft": {"epochs": "1", "lr": "0.05", "layers": "0,1"},
    }
    options = Options(
        out=folder,
        methods=methods,
        settings={name: own for name, own in settings.items() if name in methods},
        model=model,
        layer=layer,
        run=run_options({"axbench_data": "testbed"}),
        batch_size=32,
        device="cpu",
        dtype="float32",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness_axbench.training.train.load", lambda run: _few(load(run)))
        train(options)


def _few(found: ConceptData) -> ConceptData:
    kept = (*CONCEPTS, -1)  # negatives are of no concept
    rows = [
        [r for r in table if r["concept_id"] in kept] for table in (found.train, found.evaluation)
    ]
    concepts = tuple(concept for concept in found.concepts if concept.id in CONCEPTS)
    return replace(found, concepts=concepts, train=rows[0], evaluation=rows[1])


def asked(options: dict[str, Any], texts: list[str] = TURNS, *, factored: bool = True) -> list[Any]:
    """A request a text; every fourth is left unsteered."""
    found = []
    for k, text in enumerate(texts):
        doc: dict[str, Any] = {}
        if k % 4 != 3:
            doc = {"concept_id": CONCEPTS[k % 3]}
            doc |= {"factor": (0.4, 1.0, 2.5)[k // 2 % 3]} if factored else {}
        found.append(Instance("generate_until", doc, (text, dict(options)), k, ("t", k, 1)))
    return found


def interventions(lm: Any) -> Callable[[Any], dict[str, Any]]:
    """In the place of a model's ``note``: each row has an intervention of its own."""

    def note(request: Any) -> dict[str, Any]:
        found: dict[str, Any] = type(lm).note(lm, request)
        steering = found[STEERING]
        if steering is None:
            return found
        kind = KINDS[request.idx % len(KINDS)]
        return found | {STEERING: replace(steering, intervention=kind)}

    return note


def at(lm: Any, positions: str = "all", *, method: str = "") -> None:
    """Steer a transformers model in another way from now on, all rows by one intervention."""
    lm.plan = replace(lm.plan, positions=positions, method=method or lm.plan.method)
    lm._editor = editor_for(lm.model, lm.plan)
    lm.uniform = lm._editor.uniform
    vars(lm).pop("note", None)
