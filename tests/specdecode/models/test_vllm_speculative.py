"""vllm-speculative on real CPU engines, against hf-speculative and vLLM's own sampling."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
import torch
from lm_eval.api.instance import Instance
from scipy.stats import chisquare
from vllm_ways import started

from harness import compose
from harness.models.responses import Completion, trace_of
from specdecode.vllm_engines import (
    DRAWS,
    FEW,
    GREEDY,
    SAMPLED,
    SCORED,
    SEED,
    TEACHER,
    TEXTS,
    ask,
    generate,
    mixed,
    turn,
)
from specdecode.wide_student import wide_student

SpeculativeHF = compose("hf-speculative")

pytestmark = pytest.mark.vllm

DRAFTERS = ("none", "ngram", "model")


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return wide_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def engines(vllm, student, tmp_path_factory):
    """Answers of an engine without a drafter, one with a model, one with n-grams."""
    return answered(vllm, student, tmp_path_factory.mktemp("answers") / "answers.json")


def answered(vllm, student, answers, *ways):
    started(vllm, "specdecode.vllm_engines", str(student), str(answers), *ways)
    return {
        name: {kind: restored(value) for kind, value in found.items()}
        for name, found in json.loads(answers.read_text()).items()
    }


def restored(value):
    if isinstance(value, list) and isinstance(value[0], list) and isinstance(value[0][0], str):
        return [Completion(*row) for row in value]
    return value


WAYS = [
    ["asynchronous"],
    pytest.param(["v2"], marks=pytest.mark.slow),
    pytest.param(["v2", "asynchronous"], marks=pytest.mark.slow),
]


@pytest.mark.parametrize("ways", WAYS, ids="+".join)
def test_answers_do_not_depend_on_how_the_engine_runs(vllm, student, hf, tmp_path, ways):
    """The next step is laid out before the last one is known; or another model runner has it.

    The cache holds one text of the longest kind: some requests give way, and are computed again.
    """
    found = answered(vllm, student, tmp_path / "answers.json", *ways)
    for name in ("none", "model"):
        kind, is_asynchronous = found[name]["runner"]
        assert kind.endswith("cpu.model_runner") == ("v2" in ways)
        assert is_asynchronous == ("asynchronous" in ways)
        assert found[name]["preempted"] > 0
        for asked, count in (("sampled", len(FEW)), ("mixed", None), ("greedy", len(FEW))):
            bare = [answer.replace("<|user|>", "") for answer in found[name][asked]]
            assert bare == hf[asked][:count]
        assert [best for _, best in found[name]["scored"]] == [False]
    totals = found["model"]["info"]["speculation"]
    assert totals["accepted"] > 0.4 * totals["proposed"]  # drafts are coupled
    assert totals["target_calls"] < 0.6 * totals["tokens"]


@pytest.fixture(scope="module")
def hf():
    lm = SpeculativeHF(TEACHER, drafter="none", device="cpu", batch_size=16, seed=SEED)
    return {
        "lm": lm,
        "greedy": generate(lm, ask(GREEDY)),
        "sampled": generate(lm, ask(SAMPLED)),
        "mixed": [
            generate(lm, [row if "top_k" in row.args[1] else with_top_k(row)])[0] for row in mixed()
        ],
        "repeats": generate(lm, ask(SAMPLED, TEXTS[:1]) * 3),
    }


def with_top_k(row):
    """Transformers' default is 50, vLLM's none."""
    prompt, options = row.args
    return Instance("generate_until", {}, (prompt, options | {"top_k": 0}), 0, ("t", 0, 1))


@pytest.mark.parametrize("name", DRAFTERS)
def test_greedy_is_plain_vllms(engines, hf, name):
    expected = engines["none"]["plain greedy"]
    assert len(set(expected)) > len(TEXTS) // 2
    for kind in ("greedy", "plain greedy", "stock greedy"):
        assert engines[name][kind] == expected
    assert hf["greedy"] == expected


@pytest.mark.parametrize("name", DRAFTERS)
@pytest.mark.parametrize("kind", ["sampled", "mixed", "repeats"])
def test_invariant_answers_do_not_depend_on_the_drafter_and_are_hf_speculatives(
    engines, hf, name, kind
):
    found = engines[name][kind]
    assert found == engines["none"][kind]
    assert [answer.replace("<|user|>", "") for answer in found] == hf[kind]  # hf skips such tokens
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", DRAFTERS)
def test_nor_on_the_order_of_requests(engines, name):
    assert engines[name]["backwards"] == engines[name]["mixed"]


def test_without_it_vllm_draws_itself(engines):
    """Plain; with drafts its CPU engine would draw wrongly, and is not let."""
    assert len(set(engines["none"]["stock"])) == len(FEW)
    for name in ("ngram", "model"):
        assert engines[name]["refused"].startswith("on a CPU this vLLM draws wrongly from drafts")
    for name in DRAFTERS:
        assert engines[name]["unknown"].startswith("vLLM cannot answer: ")
        assert "magic" in engines[name]["unknown"]


@pytest.mark.parametrize("name", DRAFTERS)
def test_draws_are_distributed_as_the_targets(engines, hf, name):
    """Two tokens of four each, against the product of their probabilities."""
    expected = enumerated(hf["lm"], turn("Hi"))
    counts = engines[name]["draws"]
    assert set(counts) <= set(expected)
    rare = [text for text, p in expected.items() if p * DRAWS < 5]
    kept = [text for text in expected if text not in rare]
    seen = [counts[text] for text in kept] + [sum(counts[text] for text in rare)]
    wanted = [expected[text] * DRAWS for text in kept] + [sum(expected[t] * DRAWS for t in rare)]
    assert len(kept) > 5
    assert chisquare(seen[: None if rare else -1], wanted[: None if rare else -1]).pvalue > 1e-3
    assert counts == engines["none"]["draws"]


def enumerated(lm, prompt):
    """Probability of each text of two tokens."""

    def likely(ids):
        with torch.inference_mode():
            best = (lm.model(torch.tensor([ids])).logits[0, -1].double() / 1.2).topk(4)
        return zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True)

    ids, found = lm.tok_encode(prompt), Counter()
    for first, p in likely(ids):
        if first in lm.ends():
            found[lm.tok_decode([first])] += p
            continue
        for second, q in likely([*ids, first]):
            found[lm.tok_decode([first, second])] += p * q
    return found


def test_log_likelihoods_are_stock(engines, hf):
    rows = [Instance("loglikelihood", {}, args, 0, ("t", 0, 1)) for args in SCORED]
    expected = hf["lm"].loglikelihood(rows, disable_tqdm=True)
    for name in DRAFTERS:
        for (score, best), (wanted, wanted_best) in zip(
            engines[name]["scored"], expected, strict=True
        ):
            assert score == pytest.approx(wanted, abs=1e-3)
            assert best == wanted_best


@pytest.mark.parametrize("name", DRAFTERS)
def test_vllms_metrics_are_in_results_and_traces(engines, name):
    info = engines[name]["info"]
    totals = info["speculation"]
    assert (info["gamma"], info["invariant"], info["noise_seed"]) == (5, True, SEED)
    kinds = ("greedy", "sampled", "mixed", "backwards", "repeats")
    answers = [trace_of(a)["speculation"] for kind in kinds for a in engines[name][kind]]
    assert totals["answers"] == len(answers) + DRAWS
    assert totals["tokens"] > sum(t["tokens"] for t in answers)
    assert all(t["seconds"] > 0 and t["tokens"] > 0 for t in answers)
    assert sum(totals["accepted_at"]) == totals["accepted"] <= totals["proposed"]
    if name == "none":
        assert totals["proposed"] == totals["drafts"] == 0
        assert totals["target_calls"] >= totals["tokens"]
    else:
        assert 0 < totals["accepted"] < totals["proposed"] <= 5 * totals["drafts"]
        assert len(totals["accepted_at"]) == 5
        assert totals["target_calls"] + totals["accepted"] >= totals["tokens"]
    if name == "model":  # all passes but a prompt's last and those in a full step check a draft
        assert info["drafter_num_parameters"] < 500_000
        without = totals["target_calls"] - totals["answers"] - totals["drafts"]
        assert 0 <= without < 0.01 * totals["target_calls"]
    json.dumps(info)


def test_an_answers_shares_add_up_to_its_batch(engines):
    traces = [trace_of(a)["speculation"] for a in engines["model"]["sampled"]]
    tokens = sum(t["tokens"] for t in traces)
    assert {t["shares_of"] for t in traces} == {len(TEXTS)}
    for key in ("accepted", "proposed", "drafts", "target_calls"):
        total = sum(t[key] for t in traces)
        assert total == pytest.approx(round(total))
        for t in traces:
            assert t[key] == pytest.approx(total * t["tokens"] / tokens)
    assert sum(t["target_calls"] for t in traces) < 0.6 * tokens
    places = [sum(t["accepted_at"][j] for t in traces) for j in range(5)]
    assert all(a >= b for a, b in itertools.pairwise(places))
