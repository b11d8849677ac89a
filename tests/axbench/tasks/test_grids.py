"""What a steering run says of factors chosen at an end of those tried."""

from __future__ import annotations

from harness_axbench.tasks.grids import beyond

SCORES = {  # concept → its score at each factor
    0: {0.2: 2, 1.0: 1, 5.0: 0},
    1: {0.2: 1, 1.0: 2, 5.0: 1},
    2: {0.2: 0, 1.0: 1, 5.0: 2},
    3: {0.2: 1.5, 1.0: 1, 5.0: 1},
    4: {0.2: 0, 1.0: 0, 5.0: 0},
}


def rated(factor: float | None, value: float | None, split: str = "select") -> dict:
    ratings = dict.fromkeys(("concept", "relatedness", "fluency"), value)
    return {"factor": factor, "split": split} | ratings


def items(*concepts: int) -> dict[int, list[dict]]:
    return {c: [rated(f, value) for f, value in SCORES[c].items()] for c in concepts}


def test_both_ends_are_counted() -> None:
    assert beyond(items(0, 1, 2, 3, 4)) == (
        "of 5 concepts 2 do best at the weakest factor tried, 0.2 and 1 does best at the strongest "
        "factor tried, 5"
    )


def test_a_best_factor_inside_says_nothing() -> None:
    assert beyond(items(1)) == ""


def test_a_concept_that_no_factor_brings_says_nothing() -> None:
    assert beyond(items(4)) == ""


def test_one_factor_has_no_end() -> None:
    assert beyond({0: [rated(1.0, 2)]}) == ""
    assert beyond({0: [rated(None, 2, "test")]}) == ""


def test_what_is_not_rated_says_nothing() -> None:
    assert beyond({0: [rated(f, None) for f in (0.2, 1.0)]}) == ""
    unjudged = [rated(f, None) | {"judged": False} for f in (0.2, 1.0)]
    assert beyond({0: unjudged}) == ""


def test_suppression_counts_strength_by_its_size() -> None:
    rows = [rated(f, v) | {"absence": v} for f, v in ((-0.2, 1), (-1.0, 2))]
    assert "strongest factor tried, -1" in beyond({0: rows})
