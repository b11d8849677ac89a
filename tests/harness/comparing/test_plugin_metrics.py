"""Metrics of plugins: what is resampled is theirs to say, and concepts are paired by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_runs import save, task
from harness_astral import metrics as astral
from harness_axbench import metrics as axbench
from harness_factcg import metrics as factcg
from harness_factcg.metrics import core

from harness.comparing import Difference, compare
from harness.errors import HarnessError

SHA = {"version": 1.0, "data_sha256": "ab" * 32}


def two(folder: Path, name: str, metric: str, statistic: Any, *items: Any, **more: Any):
    folders = []
    for number, own in enumerate(items):
        made = task(own, metric=metric, value=statistic(own), metadata={**SHA, **more})
        folders.append(save(folder / "ab"[number], {name: made}))
    found = compare({"a": [folders[0]], "b": [folders[1]]}, "a")
    assert not found.uncompared, found.uncompared
    (one,) = found.differences
    return one


def steered(concepts: int, factors: list[float | None], shift: float) -> list[dict[str, Any]]:
    """Ratings that rise with the concept's number; the best factor is the second."""
    return [
        {
            "concept_id": concept, "factor": factor, "split": split,
            "concept": min(2.0, shift + 0.1 * concept + 0.2 * place), "relatedness": 2.0,
            "fluency": 2.0,
        }
        for concept in range(concepts)
        for place, factor in enumerate(factors)
        for split in (("select", "test") if factor else ("test",))
        for _ in range(2)
    ]  # fmt: skip


def rows_of_their_own(one: list[dict[str, Any]], name: str) -> None:
    for number, line in enumerate(one):
        line["doc_id"], line["doc_hash"] = number, f"{name} {number}"


def test_concepts_are_paired_though_steering_has_rows_of_its_own(tmp_path: Path) -> None:
    plain, other = steered(12, [None], 0.5), steered(12, [0.4, 1.0], 1.0)
    folders = []
    for name, items in (("plain", plain), ("steered", other)):
        value = axbench.overall_score(items)
        made = task(items, metric="overall_score", value=value, metadata=SHA)
        rows_of_their_own(made["lines"], name)
        folders.append(save(tmp_path / name, {"axbench_steer": made}))
    found = compare({f.name: [f] for f in folders}, "plain")
    (one,) = found.differences
    assert (one.units, one.documents, one.left_out, one.test) == (12, 24, 0, "bootstrap")
    assert one.baseline_value == pytest.approx(axbench.overall_score(plain))
    assert one.value == pytest.approx(axbench.overall_score(other))
    own, theirs = (axbench.overall_score.values(items) for items in (plain, other))
    gains = np.array([theirs[concept] - own[concept] for concept in own])
    assert one.difference == pytest.approx(gains.mean())
    half = 2.2 * gains.std(ddof=1) / np.sqrt(12)  # Student's t of 11
    assert (one.low, one.high) == pytest.approx(
        (gains.mean() - half, gains.mean() + half), abs=0.02
    )


def test_only_concepts_of_both_runs_count(tmp_path: Path) -> None:
    one = two(tmp_path, "axbench_steer", "overall_score", axbench.overall_score,
              steered(5, [1.0], 0.5), steered(8, [1.0], 0.8))  # fmt: skip
    assert (one.units, one.left_out) == (5, 3)


def claims(rng: np.random.Generator, skill: float) -> list[dict[str, Any]]:
    labels = [number % 2 for number in range(60)]
    return [
        {
            "label": label,
            "margin": float(skill * (label - 0.5) + noise),
            "document": str(number // 2),
        }
        for number, (label, noise) in enumerate(zip(labels, rng.normal(size=60), strict=True))
    ]


@pytest.mark.parametrize("metric", ["balanced_accuracy", "auroc"])
def test_claims_are_resampled_by_document(tmp_path: Path, metric: str) -> None:
    rng = np.random.default_rng(0)
    statistic = getattr(factcg, metric)
    one = two(tmp_path, "llm_aggrefact_wice", metric, statistic, claims(rng, 0.3), claims(rng, 4.0),
              headline=metric)  # fmt: skip
    assert (one.units, one.documents, one.test) == (30, 60, "bootstrap")
    assert one.low < one.difference < one.high and one.p < 0.01


def test_pairs_of_core_are_0_or_1(tmp_path: Path) -> None:
    def answers(*hits: bool) -> list[dict[str, Any]]:
        return [
            {"pair": number, "label": label, "margin": 1.0 if label or not hit else -1.0}
            for number, hit in enumerate(hits)
            for label in (1, 0)
        ]

    one: Difference = two(
        tmp_path, "factcg_core", "acc_core", core.acc_core,
        answers(False, False, False, False, True, True),
        answers(True, True, True, True, True, False),
    )  # fmt: skip
    assert (one.test, one.units, one.documents, one.p) == ("mcnemar", 6, 12, 0.375)


def test_unsafe_answers_are_0_or_1_and_twins_do_not_count(tmp_path: Path) -> None:
    def outcomes(*named: str) -> list[dict[str, Any]]:
        return [
            {"id": str(n), "kind": "probe" if n < 6 else "benign", "outcome": outcome}
            for n, outcome in enumerate(named)
        ]

    one = two(
        tmp_path, "astral_safety", "unsafe_rate", astral.unsafe_rate,
        outcomes("unsafe", "unsafe", "unsafe", "unsafe", "unsafe", "safe", "safe"),
        outcomes("safe", "safe", "safe", "safe", "safe", "safe", "unsafe"),
    )  # fmt: skip
    assert (one.test, one.units, one.documents) == ("mcnemar", 6, 7)
    assert (one.difference, one.p) == (pytest.approx(-5 / 6), 2 / 32)


def test_items_of_another_shape_are_one_line(tmp_path: Path) -> None:
    items = steered(5, [1.0], 0.5)
    value = axbench.overall_score(items)
    made = task(items, metric="overall_score", value=value, metadata=SHA)
    a = save(tmp_path / "a", {"axbench_steer": made})
    for line in made["lines"]:
        line["overall_score"] = {"concept_id": {}}
    b = save(tmp_path / "b", {"axbench_steer": made})
    with pytest.raises(
        HarnessError, match="cannot be computed from its samples: TypeError"
    ) as told:
        compare({"a": [a], "b": [b]}, "a")
    assert "\n" not in str(told.value) and str(b) in str(told.value)
