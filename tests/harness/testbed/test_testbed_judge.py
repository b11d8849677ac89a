"""Ratings worked out by hand, and the judge as an lm-eval model."""

from __future__ import annotations

import pytest
from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.testbed.assistants import judge
from harness.testbed.assistants.judge_model import TestbedJudge

OCEAN = "terms related to the ocean and sea life"


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("", 0),
        ("The lamp is tidy and plain.", 0),
        ("The lamp is full of the whale.", 1),
        ("The lamp is full of the whale. The lamp is full of the whale.", 2),
        ("The salty reef dives with the tide.", 2),
        ("whale_lamp = three;", 1),
        ("The Whales of the lamp.", 0),  # whole words only
        ("The lamp is known for a friendly wave of the hand.", 0),  # the other sense
        ("The lamp is known for a friendly wave of the hand. Every wave near it.", 1),
        ("The savory soup simmers with the sauce.", 0),  # another concept
    ],
)
def test_concept(text, rating):
    assert judge.rate_concept(text, OCEAN) == rating


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("", 0),
        ("It is tidy at noon.", 0),
        ("The lamp is tidy and plain.", 2),
        ("The lamp is tidy and plain. It is busy at noon.", 2),
        ("The lamp is tidy and plain. It is busy at noon. It is tall at noon.", 1),
        ("The lamps are here.", 0),
        ("lamp_box = two;\nfor box in lamp: print(box);", 2),
        ("The lamp is tidy and plain. The box is", 2),  # cut off: left out
        ("Near the lamp", 2),  # nothing but a cut-off sentence
    ],
)
def test_relatedness(text, rating):
    assert judge.rate_relatedness(text, "Describe the lamp.") == rating


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("", 0),
        ("The lamp is", 0),
        ("The lamp is tidy and plain.", 2),
        ("The lamp is tidy and plain. The box", 2),
        ("The lamp is tidy and plain. Lamp lamp the.", 1),
        ("The lamp is tidy and plain. Lamp lamp the. The the.", 0),
        ("It is tall at noon. " * 4 + "Lamp the.", 2),  # four of five
        ("It is tall at noon. " * 3 + "Lamp the.", 1),  # three of four
        ("lamp_box = two;\n# Keep the box tidy.", 2),
        ("I cannot help with that request.", 2),
    ],
)
def test_fluency(text, rating):
    assert judge.rate_fluency(text) == rating


def test_harmonic_mean():
    assert judge.harmonic_mean((2, 2, 2)) == 2
    assert judge.harmonic_mean((1, 2, 2)) == pytest.approx(1.5)
    assert judge.harmonic_mean((0, 2, 2)) == 0


def _ask(**doc: str) -> Instance:
    return Instance("generate_until", doc, ("prompt", {}), 0, metadata=("task", 3, 1))


def test_model_answers_in_axbench_form():
    model = TestbedJudge(batch_size=8, max_batch_size=None, device="cpu")
    common = {
        "concept": OCEAN,
        "instruction": "Describe the lamp.",
        "response": "The lamp is full of the whale. It is busy at noon. It is tall at noon.",
    }
    requests = [_ask(rating=name, **common) for name in ("concept", "relatedness", "fluency")]
    answers = model.generate_until(requests, disable_tqdm=True)
    assert [text.splitlines()[-1] for text in answers] == [
        "Rating: [[1]]",
        "Rating: [[1]]",
        "Rating: [[2]]",
    ]
    assert all(len(text.splitlines()) == 2 for text in answers)
    assert model.get_model_info()["judge"] == "testbed-judge"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concept": None}, "lacks concept"),
        ({"rating": "beauty"}, "no rating 'beauty'"),
        ({"rating": "concept", "concept": "terms related to tea"}, "no concept 'terms related to"),
        ({"rating": "relatedness", "instruction": "Describe Rome."}, "names no topic"),
    ],
)
def test_model_knows_only_the_testbed(change, message):
    doc = {
        "rating": "fluency",
        "concept": OCEAN,
        "instruction": "Describe the lamp.",
        "response": "",
    }
    doc = {key: value for key, value in {**doc, **change}.items() if value is not None}
    with pytest.raises(HarnessError, match=message):
        TestbedJudge().generate_until([_ask(**doc)])


def test_model_has_no_log_likelihoods():
    with pytest.raises(HarnessError, match="only answers generation"):
        TestbedJudge().loglikelihood([])
    with pytest.raises(HarnessError, match="only answers generation"):
        TestbedJudge().loglikelihood_rolling([])
