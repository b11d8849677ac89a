from __future__ import annotations

import inspect
import json

import pytest
import torch
from harness_specdecode.data import prompts as data
from harness_specdecode.decoding.rounds import Answer, Request
from harness_specdecode.measuring.comparing import Decoding
from harness_specdecode.measuring.invariance import decodings, difference
from harness_specdecode.metrics import invariance
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from harness import compose
from harness.errors import DataError, HarnessError
from harness.host.task_files import task_folder
from harness.testbed import model_path

pytestmark = pytest.mark.long

SpeculativeHF = compose("hf-speculative")

WAYS = {data.DRAFTERS: ["own", "ngram"], data.GAMMAS: [1, 4], data.BATCH_SIZES: [1, 3]}
FEW = {data.DRAFTERS: ["own"], data.GAMMAS: [4], data.BATCH_SIZES: [1, 3]}
SAMPLED = {"until": [], "max_gen_toks": 10, "do_sample": True, "temperature": 1.0}
TEXTS = ("What is the theater like?", "Hi", "Give me some facts about the workshop.")


def opened(**options):
    return SpeculativeHF(
        "testbed:teacher", **{"drafter": "testbed:student", "device": "cpu"} | options
    )


@pytest.fixture(scope="module")
def model():
    return opened()


def evaluate(model, **metadata):
    manager = TaskManager(
        include_path=str(task_folder("specdecode")),
        include_defaults=False,
        metadata={"data": "testbed"} | metadata,
    )
    return simple_evaluate(
        model=model, tasks=["specdecode_invariance"], task_manager=manager, limit=3,
        bootstrap_iters=100, gen_kwargs="max_gen_toks=10", apply_chat_template=True,
    )  # fmt: skip


def ask(options=SAMPLED, ways=FEW):
    turns = [f"<|user|>\n{text}\n<|assistant|>\n" for text in TEXTS]
    return [
        Instance("generate_until", dict(ways), (text, dict(options)), k, ("t", k, 1))
        for k, text in enumerate(turns)
    ]


def traces(model, asked):
    answers = model.generate_until(asked, disable_tqdm=True)
    return answers, [answer.trace["invariance"] for answer in answers]


# Metrics


def compared(at=None, near=None, name="ngram γ1 b1"):
    return {"decoding": name, "first_difference": at, "near_tie": near}


def test_the_worked_example():
    trace = {"tokens": 10, "near_ties": 1}
    trace["decodings"] = [compared(), compared(3, near=True), compared(), compared(7, near=False)]
    items = invariance.items(trace)
    assert invariance.identical_outputs([items["identical_outputs"]]) == 0.5
    prefix = invariance.identical_prefix([items["identical_prefix"]])
    assert prefix == pytest.approx(0.75)
    assert invariance.near_tie_share([items["near_tie_share"]]) == 0.1
    unexplained = invariance.unexplained_differences([items["unexplained_differences"]])
    assert unexplained == 0.25
    assert invariance.differences([trace["decodings"]])["differences"] == {
        "answers": 4, "differing": 2, "identical_outputs": 0.5, "first_difference": 5.0,
        "at_near_ties": 0.5,
    }  # fmt: skip


def test_each_decoding_by_hand():
    prompts = [
        [compared(2, near=True), compared(name="early:1 γ1 b8")],
        [compared(4, near=True), compared(name="early:1 γ1 b8")],
        [compared(), compared(name="early:1 γ1 b8")],
    ]
    assert invariance.differences(prompts)["by_decoding"] == {
        "ngram γ1 b1": {
            "answers": 3, "differing": 2, "identical_outputs": 0.3333, "first_difference": 3.0,
            "at_near_ties": 1.0,
        },
        "early:1 γ1 b8": {
            "answers": 3, "differing": 0, "identical_outputs": 1.0, "first_difference": None,
            "at_near_ties": None,
        },
    }  # fmt: skip


def test_near_ties_that_nobody_counted_are_left_out():
    trace = {"tokens": 4, "near_ties": None, "decodings": [compared(1), compared()]}
    assert set(invariance.items(trace)) == {"identical_outputs", "identical_prefix"}
    assert invariance.differences([trace["decodings"]])["differences"] == {
        "answers": 2, "differing": 1, "identical_outputs": 0.5, "first_difference": 1.0,
        "at_near_ties": None,
    }  # fmt: skip


def test_where_answers_part():
    def answer(*tokens, near=()):
        return Answer(Request([1], 0, 9), list(tokens), near_tie_at=list(near))

    one = answer(5, 6, 7, near=[1])
    assert difference(one, answer(5, 6, 7)) == {"first_difference": None, "near_tie": None}
    assert difference(one, answer(5, 8, 7)) == {"first_difference": 1, "near_tie": True}
    assert difference(one, answer(5, 6, 8)) == {"first_difference": 2, "near_tie": False}
    assert difference(one, answer(5, 6, 8, near=[2]))["near_tie"] is True
    assert difference(one, answer(5, 6)) == {"first_difference": 2, "near_tie": False}
    assert difference(one, answer(4), counted=False) == {"first_difference": 0, "near_tie": None}


# Decodings


def test_the_ways_that_are_compared():
    own = Decoding(drafter="early:2", gamma=7, scheme="minhash", batch_size=5)
    assert [way.name for way in decodings(own, WAYS)] == [
        "early:2 γ1 minhash b1", "early:2 γ4 minhash b1", "ngram γ1 minhash b1",
        "ngram γ4 minhash b1", "none minhash b3", "early:2 γ1 minhash b3",
        "early:2 γ4 minhash b3", "ngram γ1 minhash b3", "ngram γ4 minhash b3",
    ]  # fmt: skip
    drafterless = {data.DRAFTERS: ["own", "none", "ngram"], data.GAMMAS: [2], data.BATCH_SIZES: [1]}
    assert [way.name for way in decodings(Decoding(), drafterless)] == ["ngram γ2 b1"]
    with pytest.raises(HarnessError, match="drafter=none, and invariance_drafters names no other"):
        next(decodings(Decoding(), WAYS | {data.DRAFTERS: ["own"]}))


def test_a_run_with_the_stock_flow(model):
    keys = {"invariance_drafters": "own+early:1", "invariance_gammas": 2}
    results = evaluate(model, **keys, invariance_batch_sizes="1+3")
    figures = results["results"]["specdecode_invariance"]
    assert figures["identical_outputs,none"] == figures["identical_prefix,none"] == 1
    assert figures["identical_outputs_ci95,none"] == [0.4385, 1]  # Wilson's of 3 prompts
    assert figures["unexplained_differences,none"] == 0
    assert figures["near_tie_share,none"] == 0
    noted = results["configs"]["specdecode_invariance"]["metadata"]
    assert (noted["scheme"], noted["invariant"]) == ("gumbel", True)
    assert noted["invariance_drafters"] == ["own", "early:1"]
    assert list(noted["by_decoding"]) == [
        "testbed:student γ2 b1", "early:1 γ2 b1", "none b3", "testbed:student γ2 b3",
        "early:1 γ2 b3",
    ]  # fmt: skip
    assert noted["differences"]["answers"] == 15
    for sample in results["samples"]["specdecode_invariance"]:
        assert len(sample["identical_outputs"]["decodings"]) == 5
    json.dumps(results["samples"], default=str)


def test_leviathan_is_measured_and_differs(caplog):
    answers, found = traces(opened(scheme="leviathan"), ask())
    assert "scheme=leviathan is not drafter-invariant" in caplog.text
    assert all(trace["invariant"] is False and trace["near_ties"] is None for trace in found)
    table = invariance.differences([trace["decodings"] for trace in found])
    assert table["by_decoding"]["testbed:student γ4 leviathan b1"]["identical_outputs"] < 1
    assert table["by_decoding"]["none leviathan b3"]["identical_outputs"] == 1
    assert all(answers)


def test_at_temperature_0_leviathan_is_invariant_too():
    greedy = {"until": [], "max_gen_toks": 10, "do_sample": False}
    _, found = traces(opened(scheme="leviathan"), ask(greedy))
    assert all(trace["invariant"] is True and trace["near_ties"] == 0 for trace in found)
    assert all(c["first_difference"] is None for t in found for c in t["decodings"])


def test_a_target_that_wavers_is_caught(model, monkeypatch):
    """Rounding made large: wider passes see other logits."""
    step = model.model.forward

    def wavering(*args, input_ids, **kwargs):
        found = step(*args, input_ids=input_ids, **kwargs)
        if input_ids.shape[1] > 2:
            noise = torch.randn(found.logits.shape, generator=torch.Generator().manual_seed(0))
            found.logits = found.logits + 3 * noise
        return found

    asked = ask(ways=FEW | {data.GAMMAS: [1, 4], data.BATCH_SIZES: [1]})
    _, before = traces(model, asked)
    wavering.__signature__ = inspect.signature(step)
    monkeypatch.setattr(model.model, "forward", wavering)
    _, after = traces(model, asked)
    first = [c["first_difference"] for trace in before for c in trace["decodings"]]
    assert first == [None] * 6
    by_name = invariance.differences([t["decodings"] for t in after])["by_decoding"]
    assert by_name["testbed:student γ4 b1"]["identical_outputs"] < 1
    assert by_name["testbed:student γ4 b1"]["at_near_ties"] == 0


def test_answers_are_those_of_plain_decoding(model):
    answers, _ = traces(model, ask())
    plain = [
        Instance("generate_until", {}, each.args, k, ("other", k, 1))
        for k, each in enumerate(ask())
    ]
    assert answers == model.generate_until(plain, disable_tqdm=True)


def test_what_cannot_be_opened_fails_before_anything_is_decoded(model, monkeypatch):
    monkeypatch.setattr("harness_specdecode.measuring.invariance.decode", None)
    with pytest.raises(HarnessError, match="early:9: give 1 to 3 layers of 4"):
        traces(model, ask(ways=FEW | {data.DRAFTERS: ["early:9"]}))


def test_a_stock_model_is_told_what_to_run():
    with pytest.raises(HarnessError, match="specdecode_invariance measures a model's answers"):
        evaluate(HFLM(str(model_path("student")), device="cpu"))


# Keys


def test_lists_of_the_metadata():
    found = data.invariance_prompts(
        data="testbed", invariance_gammas="8+1+8", invariance_batch_sizes=4,
        invariance_drafters=["early:2", "ngram"],
    )  # fmt: skip
    assert found.rows[0][data.GAMMAS] == [8, 1]
    assert found.rows[0][data.BATCH_SIZES] == [4]
    assert found.rows[0][data.DRAFTERS] == ["early:2", "ngram"]
    usual = data.invariance_prompts(data="testbed").notes
    assert usual == {
        data.DRAFTERS: ["own", "ngram", "early:1"], data.GAMMAS: [1, 3, 5, 8],
        data.BATCH_SIZES: [1, 8],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"invariance_gammas": 0}, "invariance_gammas=0: give whole numbers of at least 1"),
        ({"invariance_gammas": "1+x"}, r"invariance_gammas=1\+x: give whole numbers"),
        ({"invariance_gammas": 2.5}, "invariance_gammas=2.5: give whole numbers"),
        ({"invariance_gammas": True}, "invariance_gammas=True: give whole numbers"),
        ({"invariance_batch_sizes": []}, r"invariance_batch_sizes=\[\]: give whole numbers"),
        ({"invariance_drafters": None}, "invariance_drafters=None: give names"),
        ({"invariance_drafters": "own++ngram"}, "give names, as in own"),
        ({"invariance_gamma": 3}, "invariance_gamma=…: there is no such key; did you mean inv"),
        ({"invarience_drafters": 3}, "did you mean invariance_drafters"),
        ({"invariance_seed": 3}, "no such key; there are invariance_drafters, invariance_ga"),
    ],
)
def test_bad_keys_are_refused(metadata, words):
    with pytest.raises(DataError, match=words):
        data.invariance_prompts(data="testbed", **metadata)
