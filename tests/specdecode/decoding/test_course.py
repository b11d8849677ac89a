"""What is drafted on the way, and guesses beside a draft: by hand, and against plain decoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness_specdecode.couplings.noise import Noise
from harness_specdecode.couplings.spots import Spot
from harness_specdecode.decoding.course import WIDEST, Course
from harness_specdecode.decoding.pace import Pace
from harness_specdecode.decoding.schemes import Draft, Drawn, Match, Verdict
from harness_specdecode.decoding.shares import GUESSES, STEPS, Shares, steps_of
from harness_specdecode.decoding.slots import SlotModel

from specdecode.tiny import CONFIGS, V, decoder, requests, student, tiny, written

pytestmark = pytest.mark.long

ASKED = requests()


class Priced(Pace):
    """Rounds of known prices: a pass takes 1 + wide (w − 1), a step of the drafter ``draft``."""

    def __init__(self, gamma: int = 5, *, wide: float = 0.01, draft: float = 0.01) -> None:
        super().__init__(gamma, draft)
        self._wide = wide

    def begun(self, rows: int) -> bool:
        return True

    def checks(self, rows: int, widest: int) -> np.ndarray:
        return 1 + self._wide * np.arange(widest)

    def step(self, rows: int) -> float:
        return self._cost

    def tried(self, rows: int, length: int, loss: float) -> int:
        return 0

    def rate(self, rows: int) -> float:
        return float(rows)


def drawn(*scores: float) -> Drawn:
    """Guesses 0, 1, 2, … of one row."""
    return Drawn(torch.tensor([0]), None, torch.arange(len(scores))[None], torch.tensor([scores]))


def test_the_first_guess_is_the_lowest_of_equals() -> None:
    scheme = Match(Noise(0))
    spot = Spot(torch.tensor([1, 2]), torch.tensor([0, 0]))
    scores = torch.zeros(2, 500)
    scores[1, 400], scores[1, 20], scores[1, 7] = 3.0, 3.0, 1.0
    found = scheme.draw(scores, spot)
    assert found.tokens.tolist() == [0, 20]
    assert found.guesses is not None
    assert found.guesses[1].tolist() == [20, 400, 7]
    assert len(set(found.guesses[0].tolist())) == GUESSES


def test_steps_by_hand() -> None:
    """Gaps of .05 and 7, and of .3: below .1, above 6.4, and between .2 and .4."""
    found = steps_of(np.array([[1.0, 0.95, -6.0], [2.0, 1.7, 1.7]]))
    assert found.tolist() == [[0, 0, STEPS - 1], [2, 2, 2]]


def test_shares_are_counts_of_hits() -> None:
    shares, steps = Shares(), np.array([1, 1, 3])
    before = shares.of(steps[None])[0]
    for _ in range(300):
        shares.saw(steps, 1)
    first, second, third = shares.of(steps[None])[0]
    assert first < 0.02 < 0.98 < second < 1
    assert third < 0.02
    assert shares.of(np.array([[2, 2, 2]]))[0] == pytest.approx(before)


def test_another_token_is_drafted_while_it_pays() -> None:
    """α = .5, a step and its place in the pass take .3: .5 > .3, and .25 < .3 after one unsure."""
    pace = Priced(wide=0.1, draft=0.2)
    course = Course(pace, [0.5], [5], branches=True)
    assert course.more()
    for _ in range(300):
        pace.shares.saw(np.array([0, 0, 0]), None)
    course.drew(drawn(1.0, 0.95, 0.9))
    assert not course.more(), "the first was a toss-up, and those have always been wrong"
    course = Course(pace, [0.5], [5], branches=True)
    course.drew(drawn(9.0, 0.95, 0.9))
    assert course.more(), "the first is sure"


def test_guesses_stand_where_the_draft_is_unsure() -> None:
    pace = Priced(wide=0.15)
    for _ in range(300):
        pace.shares.saw(np.array([0, 0, 5]), 1)  # of two that are close, the second is right
        pace.shares.saw(np.array([7, 7, 7]), 0)  # one far ahead is
    course = Course(pace, [0.9], [2], branches=True)
    course.drew(drawn(9.0, 1.0, 0.0))
    course.drew(drawn(1.0, 0.95, -1.0))
    assert course.beside() == [[(1, 1)]]
    assert Course(pace, [0.9], [2], branches=False).beside() == [[]]


def test_a_match_is_cut_to_what_is_worth_reading() -> None:
    pace = Priced(wide=0.1)
    course = Course(pace, [0.8], [5], branches=False)
    assert course.length_of([5], [3]) == 5
    nothing = Draft(torch.zeros(1, 5, dtype=torch.int64), [5])
    wrong = Verdict(torch.ones(1, 6, dtype=torch.int64), [0], torch.zeros(1, 6, dtype=torch.bool))
    for _ in range(300):
        course.learn(nothing, wrong)
    assert course.length_of([5], [3]) == 0
    assert course.length_of([5], [1]) == 2, ".2 and .14 are worth .1, .098 is not"
    assert course.length_of([0], [0]) == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_a_token_beside_the_chain_is_read_as_if_it_followed(name: str) -> None:
    """Logits of chain and guesses, and what follows after one was taken, against full passes."""
    model, prompts = tiny(name), [[3, 4, 5, 6, 7, 8, 9], [9, 1, 2]]
    slots = SlotModel(model, rows=2, capacity=30)
    slots.prefill(range(2), [prompt[:-1] for prompt in prompts])
    chain, guesses, places = [[11, 12, 13]] * 2, [[21, 22], [23, 24]], [[0, 2], [1, 1]]
    ids = torch.tensor([[p[-1], *c, *g] for p, c, g in zip(prompts, chain, guesses, strict=True)])
    found = slots.step(ids, [len(prompt) - 1 for prompt in prompts], torch.tensor(places))
    for row, prompt in enumerate(prompts):
        whole = model(torch.tensor([prompt + chain[row]])).logits[0, -4:]
        torch.testing.assert_close(found[row, :4], whole, rtol=1e-9, atol=1e-9)
        for k, (place, guess) in enumerate(zip(places[row], guesses[row], strict=True)):
            alone = model(torch.tensor([prompt + chain[row][:place] + [guess]])).logits[0, -1]
            torch.testing.assert_close(found[row, 4 + k], alone, rtol=1e-9, atol=1e-9)
    texts = [prompt + c[:p[1]] + [g[1]] for prompt, c, p, g in
             zip(prompts, chain, places, guesses, strict=True)]  # fmt: skip
    slots.settle([0, 1], [len(p) - 1 + 5 for p in prompts], [len(text) - 1 for text in texts])
    again = slots.step(torch.tensor([[30], [31]]), [len(text) for text in texts])
    for row, text in enumerate(texts):
        whole = model(torch.tensor([[*text, 30 + row]])).logits[0, -1]
        torch.testing.assert_close(again[row, 0], whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen2", "gpt2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_guesses_beside_the_draft_change_no_token(name: str, temperature: float) -> None:
    model = tiny(name)
    near, options = student(model, size=0.05), {"temperature": temperature}
    expected = written(decoder(model, rows=1, **options), ASKED)
    for rows in (1, 3):
        made = decoder(model, "model", other=near, rows=rows, pace=Priced(), **options)
        answers = dict(made.run(ASKED))
        assert [answers[k].tokens for k in range(len(ASKED))] == expected
        assert sum(answer.beside for answer in answers.values()) > 3
        chain = decoder(model, "model", other=near, rows=rows, gamma=5, **options)
        passes = sum(answer.target_calls for _, answer in chain.run(ASKED))
        assert sum(answer.target_calls for answer in answers.values()) < passes


def test_a_penalty_sees_the_guess_it_stands_behind() -> None:
    model = tiny("llama")
    options = {"repetition_penalty": 1.7, "top_k": 20}
    expected = written(decoder(model, rows=1, **options), ASKED)
    made = decoder(model, "model", other=student(model), pace=Priced(), **options)
    answers = dict(made.run(ASKED))
    assert [answers[k].tokens for k in range(len(ASKED))] == expected
    assert any(answer.beside for answer in answers.values())


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.3}])
def test_few_possible_tokens_leave_few_guesses(options: dict[str, float]) -> None:
    model = tiny("llama")
    near = student(model, size=0.05)
    expected = written(decoder(model, rows=1, **options), ASKED)
    for rows in (1, 3):
        made = decoder(model, "model", other=near, rows=rows, pace=Priced(), **options)
        assert written(made, ASKED) == expected


@pytest.mark.parametrize("scheme", ["minhash", "gumbel"])
@pytest.mark.parametrize("kind", ["ngram", "early", "random"])
def test_no_other_drafter_or_scheme_changes_a_token(scheme: str, kind: str) -> None:
    model = tiny("llama")
    expected = written(decoder(model, rows=1, scheme=scheme), ASKED)
    made = decoder(model, kind, scheme=scheme, rows=3, pace=Priced())
    assert written(made, ASKED) == expected


def test_one_shape_for_all_passes_leaves_no_room_beside() -> None:
    model = tiny("llama")
    made = decoder(
        model, "model", other=student(model), fixed_width=9, gamma=5, pace=Priced(), rows=4
    )
    answers = dict(made.run(ASKED)).values()
    assert not any(answer.beside for answer in answers)
    assert sum(answer.accepted for answer in answers) > 20


def test_a_pass_is_never_wider_than_its_slots() -> None:
    model = tiny("llama")
    made = decoder(model, "model", other=student(model), gamma=12, pace=Priced(gamma=12), rows=1)
    widths = []
    step = made.target.step
    made.target.step = lambda ids, *rest: (widths.append(ids.shape[1]), step(ids, *rest))[1]
    assert written(made, ASKED) == written(decoder(model, rows=1), ASKED)
    assert max(widths) <= WIDEST
    assert GUESSES < V
