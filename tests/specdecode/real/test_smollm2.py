"""SmolLM2 with drafters: greedy answers are transformers' own, sampled ones no drafter's."""

from __future__ import annotations

import pytest
import torch
from harness_specdecode.measuring.comparing import Decoding, Run, decode

from harness import compose

pytestmark = pytest.mark.real

QUESTIONS = (
    "Why is the sky blue?",
    "Repeat after me, twice: the quick brown fox jumps over the lazy dog.",
)
TOKENS = 20


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return compose("hf-speculative")("testbed:smollm2", dtype="float32", device="cpu", seed=3)


@pytest.fixture(scope="module")
def asked(model):
    turns = ([{"role": "user", "content": text}] for text in QUESTIONS)
    return [model.request(model.apply_chat_template(turn), TOKENS) for turn in turns]


def answers(
    model, asked, drafter: str, *, temperature: float = 0.0, gamma: int = 5, adaptive: bool = False
) -> Run:
    settings = model.settings({"max_gen_toks": TOKENS, "until": [], "temperature": temperature})
    way = Decoding(drafter=drafter, gamma=gamma, batch_size=2, adaptive=adaptive)
    return decode(model, way, asked, settings)


def tokens(run: Run) -> list[list[int]]:
    return [answer.tokens for answer in run.answers]


def test_greedy_answers_are_those_of_transformers(model, asked) -> None:
    """In float32, where no two tokens of these answers are within rounding of each other."""
    expected = []
    for request in asked:
        ids = torch.tensor([request.prompt])
        made = model.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS
        )
        expected.append(made[0, ids.shape[1] :].tolist())
    for drafter in ("none", "ngram", "early:4"):
        run = answers(model, asked, drafter, adaptive=drafter != "none")
        assert tokens(run) == expected, drafter
        assert sum(answer.near_ties for answer in run.answers) == 0


def test_a_repetition_is_looked_up(model, asked) -> None:
    answer = answers(model, asked, "ngram").answers[1]
    assert answer.accepted > 3
    assert answer.target_calls < len(answer.tokens)


def test_sampled_answers_are_no_drafters(model, asked) -> None:
    plain = answers(model, asked, "none", temperature=1.0)
    for drafter, gamma in (("ngram", 5), ("early:25", 3)):
        run = answers(model, asked, drafter, temperature=1.0, gamma=gamma)
        assert tokens(run) == tokens(plain), drafter
        assert sum(answer.proposed for answer in run.answers) > 5, drafter
    assert tokens(plain) != tokens(answers(model, asked, "none"))
