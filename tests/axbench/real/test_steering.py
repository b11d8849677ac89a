"""hf-steered on a pretrained model: a row's answer is its own, in whatever batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from harness import compose
from harness.testbed import resolve

pytestmark = pytest.mark.real

MODEL, LAYER = "testbed:smollm2", 15
LOADING = {"device": "cpu", "dtype": "float32", "batch_size": 6}
GREEDY = {"until": [], "max_gen_toks": 8, "do_sample": False}
PROMPTS = ("What is a mobile phone?", "Name a sport that two people can play on a table at home.")
ROWS = [(c, f, prompt) for c in (0, 1, 2) for f, prompt in zip((0.5, 2.0), PROMPTS, strict=True)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory, make_dictionary: Callable) -> Path:
    """DiffMean of three concepts, each known by five words, from texts of nonsense."""
    out = tmp_path_factory.mktemp("real") / "smollm2"
    return make_dictionary(
        out, model=MODEL, layer=LAYER, methods=("diffmean",), max_act_from="train"
    )


@pytest.fixture(scope="module")
def stock() -> HFLM:
    return HFLM(resolve(MODEL), **LOADING)


@pytest.fixture(scope="module")
def steered(stock: HFLM, dictionary: Path) -> Any:
    return compose("hf-steered")(
        stock.model, tokenizer=stock.tokenizer, steering=str(dictionary), **LOADING
    )


def generation(lm: HFLM, concept: int, factor: float, prompt: str) -> Any:
    doc = {"concept_id": concept, "factor": factor}
    text = lm.apply_chat_template([{"role": "user", "content": prompt}])
    return Instance("generate_until", doc, (text, GREEDY), 0, ("axbench_steer", 0, 1))


def choice(concept: int, factor: float, context: str, answer: str) -> Any:
    doc = {"concept_id": concept, "factor": factor}
    return Instance("loglikelihood", doc, (context, answer), 0, ("other", 0, 1))


def test_a_mixed_batch_equals_one_row_at_a_time(steered: Any) -> None:
    rows = [generation(steered, *row) for row in ROWS]
    together = steered.generate_until(rows)
    assert together == [steered.generate_until([row])[0] for row in rows]
    assert len(set(together)) > len(PROMPTS)  # the concepts make a difference


def test_factor_zero_is_the_stock_model(steered: Any, stock: HFLM) -> None:
    rows = [generation(steered, 0, 0.0, prompt) for prompt in PROMPTS]
    asked = [choice(1, 0.0, "The people walked along the", word) for word in (" shore", " wall")]
    assert steered.generate_until(rows) == stock.generate_until(rows)
    found, expected = steered.loglikelihood(asked), stock.loglikelihood(asked)
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_loglikelihoods_of_one_batch_equal_those_alone(steered: Any) -> None:
    rows = [
        choice(concept, factor, "We looked at the", answer)
        for concept, factor in ((0, 0.5), (1, 2.0), (2, 1.0))
        for answer in (" ocean", " flour and the yeast")
    ]
    together = [nats for nats, _ in steered.loglikelihood(rows)]
    alone = [steered.loglikelihood([row])[0][0] for row in rows]
    assert together == pytest.approx(alone, abs=2e-3)
    assert len({round(nats, 2) for nats in together}) == len(rows)


def test_a_concepts_words_become_likelier(steered: Any) -> None:
    """Steered towards the sea or towards baking, the model expects the words of each."""
    words = {0: (" ocean", " reef", " tide"), 1: (" bread", " flour", " yeast")}

    def likely(concept: int, factor: float, about: int) -> float:
        rows = [choice(concept, factor, "We looked at the", word) for word in words[about]]
        return sum(nats for nats, _ in steered.loglikelihood(rows))

    for about in words:
        other = 1 - about
        assert likely(about, 1.0, about) > likely(about, 0.0, about)
        assert likely(about, 1.0, about) > likely(other, 1.0, about)
