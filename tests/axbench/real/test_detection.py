"""A pretrained model tells texts with a concept from others, by directions of a few texts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness_axbench.activations.loading import load_reader
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.dictionary.folder import Dictionary
from harness_axbench.dictionary.lengths import doubt
from harness_axbench.metrics.detection import NEGATIVE, POSITIVE, auroc
from harness_axbench.models.detection import concept_scores
from harness_axbench.options import run_options
from harness_axbench.steering.plan import make_plan
from harness_axbench.training.options import Options
from harness_axbench.training.train import train

pytestmark = pytest.mark.real
TAUGHT, ASKED = 20, 10
EARLY, MIDDLE = 7, 15
"""Blocks of thirty; behind the first of these a few states are many times as long as the others."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the testbed's concepts, with a few texts each."""
    whole = load(run_options({"axbench_data": "testbed"}))
    chosen = [concept for concept in whole.concepts if concept.genre == "text"][:3]
    numbers = {concept.id for concept in chosen}
    folder = tmp_path_factory.mktemp("data")

    def put(name: str, rows: Any, most: int) -> None:
        seen: Counter[Any] = Counter()
        kept = []
        for row in rows:
            own = (row["concept_id"], row["category"], row["concept_genre"])
            seen[own] += 1
            if row["concept_id"] in {*numbers, -1} and seen[own] <= most:
                kept.append(json.dumps(dict(row)) + "\n")
        (folder / f"{name}.jsonl").write_text("".join(kept))

    put("train_data", [r for r in whole.train if r["concept_genre"] == "text"], TAUGHT)
    wanted = (POSITIVE, NEGATIVE)
    put("latent_eval_data", [r for r in whole.evaluation if r["category"] in wanted], ASKED)
    named = [{"concept_id": c.id, "concept": c.text} for c in chosen]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(one) + "\n" for one in named))
    return folder


def trained(data: Path, out: Path, layer: int, **more: Any) -> Dictionary:
    return train(
        Options(
            methods=("diffmean", "probe", "random"),
            out=out,
            model="testbed:smollm2",
            layer=layer,
            run=run_options({"axbench_data": str(data)}),
            device="cpu",
            dtype="bfloat16",
            **more,
        )
    )


def reader_of(layer: int) -> Reader:
    return load_reader(
        "testbed:smollm2",
        layer=layer,
        batch_size=8,
        device="cpu",
        dtype="bfloat16",
        revision="main",
    )


def detected(found: Dictionary, method: str, data: ConceptData, reader: Reader) -> float:
    """Mean AUROC over the concepts."""
    rows: list[Any] = list(data.evaluation)
    scores = concept_scores(make_plan(str(found.folder), method, None, None), rows, lambda: reader)
    return auroc(
        [row | {"score": scores[row["input"], row["output"], row["concept_id"]]} for row in rows]
    )


def test_directions_of_a_middle_block_detect(data: Path, tmp_path: Path) -> None:
    texts, reader = load(run_options({"axbench_data": str(data)})), reader_of(MIDDLE)
    found = trained(data, tmp_path / "middle", MIDDLE)
    assert doubt(found) is None
    assert detected(found, "diffmean", texts, reader) > 0.9
    assert detected(found, "random", texts, reader) < 0.85


def test_states_of_unlike_length_are_told_and_mended(data: Path, tmp_path: Path) -> None:
    texts, reader = load(run_options({"axbench_data": str(data)})), reader_of(EARLY)
    plain = trained(data, tmp_path / "plain", EARLY)
    scaled = trained(data, tmp_path / "scaled", EARLY, normalise="standardise")
    assert "diffmean, probe may detect better with --normalise" in str(doubt(plain))
    gained = [detected(own, "diffmean", texts, reader) for own in (plain, scaled)]
    assert gained[1] > 0.9
    assert gained[1] > gained[0] + 0.1
