"""``hf-steered+speculative`` and the like: whose answers they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.steering.positions import Positions
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance

from composition.steering import GREEDY, POSITIONS, SAMPLED, TURNS, asked, at, interventions
from harness import compose, trace_of
from harness.errors import HarnessError

pytestmark = pytest.mark.long

DRAFTERS = ("testbed:student", "ngram", "early:1", "none")
ARGUMENTS = {"device": "cpu", "dtype": "float64", "batch_size": 8}


@pytest.fixture(scope="module")
def both(that_edits: Path) -> Any:
    """One loaded teacher, steered and decoded speculatively."""
    model = compose("hf-steered+speculative")
    return model(
        "testbed:teacher",
        steering=str(that_edits),
        method="diffmean",
        drafter="testbed:student",
        drafter_dtype="float64",
        gamma=4,
        adaptive=False,
        seed=3,
        **ARGUMENTS,
    )


@pytest.fixture(scope="module")
def steered(that_edits: Path) -> Any:
    model = compose("hf-steered")
    return model("testbed:teacher", steering=str(that_edits), method="diffmean", **ARGUMENTS)


def answers(lm: Any, options: dict[str, Any], **how: Any) -> list[str]:
    if how:
        lm.decoding = replace(lm.decoding, **how)
        lm.drafts = lm.source(lm.decoding.drafter)
    made = lm.generate_until(asked(options, factored=not lm.plan.factorless), disable_tqdm=True)
    return list(map(str, made))


@pytest.mark.parametrize("positions", POSITIONS)
def test_greedy_answers_are_those_of_hf_steered(both: Any, steered: Any, positions: str) -> None:
    """Every row has a concept, a factor and an intervention of its own; transformers generates."""
    for lm in (both, steered):
        at(lm, positions)
        lm.note = interventions(lm)
    expected = answers(steered, GREEDY)
    for drafter in DRAFTERS:
        for batch in (1, 8):
            assert answers(both, GREEDY, drafter=drafter, batch_size=batch) == expected
    plain = compose("hf-speculative")
    unsteered = plain("testbed:teacher", **ARGUMENTS).generate_until(asked(GREEDY))
    differing = sum(a != b for a, b in zip(expected, unsteered, strict=True))
    assert differing >= (1 if positions in ("prompt", "2:5") else 4)


@pytest.mark.parametrize("positions", POSITIONS)
def test_sampled_answers_do_not_depend_on_the_drafter(both: Any, positions: str) -> None:
    at(both, positions)
    both.note = interventions(both)
    expected = answers(both, SAMPLED, drafter="none", batch_size=1)
    for drafter in DRAFTERS:
        for batch in (1, 8):
            assert answers(both, SAMPLED, drafter=drafter, batch_size=batch) == expected
    assert answers(both, SAMPLED, drafter="testbed:student", adaptive=True) == expected
    both.decoding = replace(both.decoding, adaptive=False)
    assert len(set(expected)) == len(expected)


@pytest.mark.parametrize("method", ["lora", "loreft"])
def test_edits_of_the_model_too(both: Any, steered: Any, method: str) -> None:
    stock = both.plan, steered.plan
    for lm in (both, steered):
        at(lm, method=method)
    expected = answers(steered, GREEDY)
    sampled = answers(both, SAMPLED, drafter="none", batch_size=1)
    for drafter in DRAFTERS:
        for batch in (1, 8):
            assert answers(both, GREEDY, drafter=drafter, batch_size=batch) == expected
            assert answers(both, SAMPLED, drafter=drafter, batch_size=batch) == sampled
    both.plan, steered.plan = stock
    at(steered)
    assert expected != answers(steered, GREEDY)


def test_passes_of_one_shape_are_steered(both: Any) -> None:
    """``exact=true`` pads rows and tokens; the padding is nobody's."""
    at(both, "4:")
    both.note = interventions(both)
    expected = answers(both, SAMPLED, drafter="none", batch_size=1)
    both.exact = True
    try:
        assert answers(both, SAMPLED, drafter="testbed:student", batch_size=8) == expected
    finally:
        both.exact = False


def test_by_hand(both: Any) -> None:
    """The vector is added to each token's state from position 2 on, and the noise is shared."""
    at(both, "2:")
    both.decoding = replace(both.decoding, drafter="testbed:student", batch_size=1)
    doc = {"concept_id": 3, "factor": 1.5}
    request = Instance("generate_until", doc, (TURNS[0], SAMPLED), 0, ("t", 0, 1))
    found = str(both.generate_until([request], disable_tqdm=True)[0])
    steering = both.plan.steering(3, 1.5)
    vector = steering.scale * both.plan.found.weight("diffmean")[steering.place].double()

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output if isinstance(output, torch.Tensor) else output[0]
        hidden = hidden.clone()
        hidden[:, 2:] += vector
        return hidden if isinstance(output, torch.Tensor) else (hidden, *output[1:])

    (row,) = both.prompted([request])
    ids = both.tok_encode(TURNS[0])
    key, written = both.request(row.args[0], 1).key, list(ids)
    handle = both.model.model.layers[steering.layer].register_forward_hook(add)
    try:
        with torch.no_grad():
            for t in range(SAMPLED["max_gen_toks"]):
                log_p = both.model(torch.tensor([written])).logits[0, -1].double().log_softmax(-1)
                written.append(int((log_p + both.noise.gumbel([key], t, len(log_p))[0]).argmax()))
                if written[-1] in both.ends():
                    break
    finally:
        handle.remove()
    assert both.tok_decode(written[len(ids) :]) == found


def test_rows_that_are_measured_are_steered(both: Any) -> None:
    """``specdecode_invariance`` of a steered model: its answers, not the unsteered one's."""
    at(both)
    doc = {"concept_id": 5, "factor": 2.5}
    ways = {
        "invariance_drafters": ["ngram"],
        "invariance_gammas": [2],
        "invariance_batch_sizes": [1],
    }
    text, options = TURNS[2], {"until": [], "max_gen_toks": 12}
    rows = [
        Instance("generate_until", d | w, (text, options), 0, ("t", k, 1))
        for k, (d, w) in enumerate(((doc, ways), (doc, {}), ({}, {})))
    ]
    measured, plain, unsteered = both.generate_until(rows, disable_tqdm=True)
    assert str(measured) == str(plain) != str(unsteered)
    trace = trace_of(measured)
    assert (
        trace["concept_id"] == 5 and trace["invariance"]["decodings"][0]["first_difference"] is None
    )


# Steering and a teacher


def compared(doc: dict[str, Any]) -> list[Any]:
    return [
        Instance(
            "generate_until", doc | {"taid_teacher_answer": True}, (text, GREEDY), k, ("t", k, 1)
        )
        for k, text in enumerate(TURNS)
    ]


def texts(made: Sequence[Any]) -> list[str]:
    return list(map(str, made))


@pytest.mark.parametrize("name", ["hf-steered+distilled", "hf-distilled+speculative+steered"])
def test_student_and_teacher_answer_each_for_itself(
    name: str, of_student: Path, tmp_path: Path
) -> None:
    """With one response cache for both, filled and read again."""
    doc = {"concept_id": 3, "factor": 2.5}
    drafting = {"drafter": "ngram"} if "speculative" in name else {}
    steering = {"steering": str(of_student), "method": "diffmean"}

    def model(**more: Any) -> Any:
        given = {"teacher": "testbed:teacher", "teacher_dtype": "float64"} | steering | drafting
        return compose(name)("testbed:student", **given, **ARGUMENTS, **more)

    student = compose("hf-steered")("testbed:student", **steering, **ARGUMENTS)
    theirs = compose("hf-distilled")("testbed:teacher", **ARGUMENTS).generate_until(compared({}))
    own = student.generate_until(compared(doc))
    cache = str(tmp_path / "answers.jsonl")
    for _ in range(2):
        made = model(response_cache=cache).generate_until(compared(doc), disable_tqdm=True)
        assert texts(made) == texts(own) != texts(theirs)
        assert [trace_of(one)["teacher_answer"] for one in made] == texts(theirs)
        assert {trace_of(one)["concept_id"] for one in made} == {3}
        assert all(("speculation" in trace_of(one)) == bool(drafting) for one in made)
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2 * len(TURNS)


def test_fidelity_is_of_the_steered_student(of_student: Path) -> None:
    """KL of the teacher and the student whose states are shifted, computed by hand."""
    lm = compose("hf-distilled+steered")(
        "testbed:student",
        teacher="testbed:teacher",
        teacher_dtype="float64",
        steering=str(of_student),
        method="diffmean",
        **ARGUMENTS,
    )
    row = {
        "response": "The market is open.",
        "taid_along": ["reference", "student"],
        "taid_seed": 1,
    }
    steered = row | {"concept_id": 3, "factor": 2.0}
    options = {"max_gen_toks": 8}
    asked_ = [
        Instance("generate_until", d, (TURNS[0], options), k, ("taid_fidelity", k, 1))
        for k, d in enumerate((row, steered))
    ]
    plain, found = (trace_of(one) for one in lm.generate_until(asked_, disable_tqdm=True))
    assert found["concept_id"] == 3
    prompt, response = lm.encoded(TURNS[0], row["response"])
    steering = lm.plan.steering(3, 2.0)
    vector = steering.scale * lm.plan.found.weight("diffmean")[steering.place].double()

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output if isinstance(output, torch.Tensor) else output[0]
        return (
            hidden + vector if isinstance(output, torch.Tensor) else (hidden + vector, *output[1:])
        )

    ids = torch.tensor([prompt + response])
    with torch.no_grad():
        p = lm.pair.teacher(ids).logits[0, len(prompt) - 1 : -1, : lm.pair.width].log_softmax(-1)
        handle = lm.model.model.layers[steering.layer].register_forward_hook(add)
        q = lm.model(ids).logits[0, len(prompt) - 1 : -1, : lm.pair.width].log_softmax(-1)
        handle.remove()
    by_hand = (p.exp() * (p - q)).sum(-1)
    figures = found["fidelity"]["reference"]
    name = next(key for key in figures if "forward" in key or key == "kl")
    torch.testing.assert_close(
        torch.tensor(figures[name], dtype=torch.float64), by_hand, rtol=1e-6, atol=1e-8
    )
    assert figures[name] != plain["fidelity"]["reference"][name]
    assert found["fidelity"]["student"] != plain["fidelity"]["student"]


# Through lm-eval


def test_an_evaluation_names_its_parts(of_teacher: Path, tmp_path: Path) -> None:
    def evaluate(model: str, more: str = "") -> Any:
        return simple_evaluate(
            model=model,
            model_args=f"pretrained=testbed:teacher,dtype=float64,method=diffmean,"
            f"steering={of_teacher}{more}",
            tasks=["axbench_steer"],
            metadata={"data": "testbed", "axbench_concepts": [0, 3], "axbench_factors": [1.0, 2.5]},
            gen_kwargs="do_sample=False,max_gen_toks=12",
            apply_chat_template=True,
            batch_size=8,
            device="cpu",
            limit=12,
            bootstrap_iters=0,
            log_samples=True,
        )

    own = evaluate("hf-steered")
    fast = evaluate("hf-speculative+steered", ",drafter=testbed:student,gamma=3,adaptive=False")
    for one, other in zip(
        own["samples"]["axbench_steer"], fast["samples"]["axbench_steer"], strict=True
    ):
        assert one["resps"] == other["resps"]
    assert str(own["results"]) == str(fast["results"])  # nan is not itself
    config = fast["config"]
    assert config["parts"] == ["steered", "speculative"]
    assert config["method"] == "steered(diffmean) + speculative(testbed:student, γ 3)"
    assert config["method_args"]["speculative.gamma"] == 3
    assert config["method_args"]["steered.steering"] == str(of_teacher)
    assert config["speculation"]["accepted"] > 0 and config["artefact_hash"]


def test_a_part_without_effect_is_not_named(of_teacher: Path) -> None:
    """Rows that name no concept are the unsteered model's."""
    lm = compose("hf-steered+speculative")(
        "testbed:teacher", steering=str(of_teacher), method="diffmean", **ARGUMENTS
    )
    plain = [Instance("generate_until", {}, (TURNS[0], GREEDY), 0, ("plain", 0, 1))]
    lm.generate_until(plain, disable_tqdm=True)
    assert lm.get_model_info()["method"] == "speculative(none)"
    lm.generate_until(asked(GREEDY)[:1], disable_tqdm=True)
    info = lm.get_model_info()
    assert info["method"] == "steered(diffmean) + speculative(none)"
    assert info["method_by_task"] == {"plain": "speculative(none)"}


def test_parts_refuse_each_other_before_a_model_is_loaded() -> None:
    with pytest.raises(
        HarnessError, match=r"^model 'hf-steered\+steered': 'steered' is named twice"
    ):
        compose("hf-steered+steered")
    with pytest.raises(HarnessError, match=r"hf-fact-checker is a model by itself, and no part"):
        compose("hf-fact-checker+steered")
    with pytest.raises(HarnessError, match=r"no part 'distilled' for vllm \('distilled' is for hf"):
        compose("vllm-steered+distilled")


def test_positions_are_those_of_the_text() -> None:
    assert Positions.parse("2:5").span(4) == (2, 4)
    assert Positions.parse("4:").span(3) == (3, None)
