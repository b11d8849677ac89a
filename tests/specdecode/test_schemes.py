"""Each scheme's law against the enumerated law of the target, token triple by token triple."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from harness_specdecode.cache import SlotModel
from harness_specdecode.couplings import agreement_gumbel, agreement_optimal, gumbel_sample
from harness_specdecode.decoding import Decoder, Request
from harness_specdecode.drafters import Drafter, ModelDrafter, NGramDrafter, certain
from harness_specdecode.noise import Noise, request_key
from harness_specdecode.sampling import Sampling
from harness_specdecode.schemes import Leviathan, Scheme, Spot, scheme_for
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM

from harness.errors import HarnessError

from .tiny import decoder, written

V, LENGTH, DRAWS = 5, 3, 10_000
PROMPT = [1, 3, 2, 1, 3]
SAMPLING = Sampling(temperature=0.9, top_p=0.97, repetition_penalty=1.2)


def small(seed):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=V, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=1, max_position_embeddings=32,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.5)
    return model.double().eval().requires_grad_(False)


TARGET, DRAFTER = small(0), small(1)


def law():
    """Probability of each of the V³ answers, by one full pass for each."""
    answers = list(itertools.product(range(V), repeat=LENGTH))
    ids = torch.tensor([[*PROMPT, *answer] for answer in answers])
    logits = TARGET(ids).logits
    probability = torch.ones(len(answers), dtype=torch.float64)
    for t in range(LENGTH):
        end = len(PROMPT) + t
        seen = torch.zeros(len(answers), V, dtype=torch.bool).scatter_(1, ids[:, :end], True)
        p = SAMPLING.scores(logits[:, end - 1], seen).softmax(-1)
        probability *= p.gather(-1, ids[:, end : end + 1]).squeeze(-1)
    return probability.numpy()


LAW = law()


class Fixed(Drafter):
    """The same guess each time."""

    def propose(self, current):
        return certain([[0, 3, 2][:count] for count in current.counts])


def drafted(scheme, kind, draws=DRAWS, seed=11, length=LENGTH):
    options = {"rows": 500, "capacity": 20}
    made = {
        "model": lambda: ModelDrafter(SlotModel(DRAFTER, **options), 0.5),
        "ngram": NGramDrafter,
        "fixed": Fixed,
    }[kind]()
    ready = Decoder(SlotModel(TARGET, **options), made, scheme, SAMPLING, gamma=2)
    asked = [Request(PROMPT, request_key(seed, PROMPT, r), length) for r in range(draws)]
    return dict(ready.run(asked))


def p_value(answers):
    counts = np.zeros(V**LENGTH)
    for answer in answers.values():
        a, b, c = answer.tokens
        counts[(a * V + b) * V + c] += 1
    assert counts[LAW == 0].sum() == 0
    expected = LAW * counts.sum()
    order = np.argsort(expected)
    rare = order[: np.searchsorted(np.cumsum(expected[order]), 10) + 1]  # one cell of at least 10
    often = np.setdiff1d(np.arange(len(LAW)), rare)
    often = often[expected[often] >= 5] if (expected[often] < 5).any() else often
    rest = np.setdiff1d(np.arange(len(LAW)), often)
    observed = [*counts[often], counts[rest].sum()]
    wanted = [*expected[often], expected[rest].sum()]
    return stats.chisquare(observed, wanted).pvalue


def test_the_law_is_one():
    assert LAW.sum() == pytest.approx(1)
    assert (LAW == 0).any(), "top-p rules something out"
    assert (LAW * DRAWS > 5).sum() > 30


@pytest.mark.parametrize("kind", ["model", "ngram", "fixed"])
@pytest.mark.parametrize("name", ["gumbel", "leviathan", "minhash"])
def test_each_scheme_has_the_targets_law(name, kind):
    answers = drafted(scheme_for(name, Noise(11), greedy=False), kind)
    assert sum(answer.accepted for answer in answers.values()) > DRAWS / 20
    assert p_value(answers) > 1e-3


class Biased(Leviathan):
    """The trap: drafts by shared noise, the ratio test, and shared noise after a rejection."""

    def draw(self, scores, spot):
        return gumbel_sample(scores, spot.gumbel(self.noise, V)), scores.double().softmax(-1)

    def correction(self, weights, spot):
        return gumbel_sample(weights.log(), spot.gumbel(self.noise, V))


def test_shared_noise_with_the_ratio_test_fails():
    assert p_value(drafted(Biased(Noise(11)), "model")) < 1e-12


def test_acceptance_of_the_first_token_is_the_couplings_agreement():
    """1 − TV by the ratio test, the Gumbel sum by match verification, within 3 standard errors."""
    logits = [model(torch.tensor([PROMPT])).logits[0, -1] for model in (TARGET, DRAFTER)]
    seen = torch.zeros(V, dtype=torch.bool)
    seen[torch.tensor(PROMPT)] = True
    p, q = (SAMPLING.scores(row, seen).softmax(-1) for row in logits)
    for name, closed in (("leviathan", agreement_optimal), ("gumbel", agreement_gumbel)):
        # of two tokens only the first is ever drafted
        answers = drafted(scheme_for(name, Noise(5), greedy=False), "model", seed=5, length=2)
        share = np.mean([answer.accepted for answer in answers.values()])
        wanted = closed(p, q).item()
        assert 0.1 < wanted < 0.9
        assert abs(share - wanted) < 3 * np.sqrt(wanted * (1 - wanted) / DRAWS), name


def test_match_verification_ignores_the_draft_and_the_ratio_test_does_not():
    for name, same in (("gumbel", True), ("minhash", True), ("leviathan", False)):
        scheme = scheme_for(name, Noise(11), greedy=False)
        assert scheme.invariant is same
        one, two = (drafted(scheme, kind, draws=200) for kind in ("model", "fixed"))
        assert all(one[k].tokens == two[k].tokens for k in one) is same


def test_uniform_numbers_of_the_ratio_test_are_independent_of_one_another():
    keys, positions = Noise(2).rows([request_key(0, [k]) for k in range(5000)], 7)
    found = Leviathan(Noise(2)).uniforms(Spot(keys, positions))
    for numbers in found:
        assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-3
    matrix = np.corrcoef(np.stack([*found, Noise(2).uniform(keys, positions, 1)[:, 0]]))
    assert np.abs(matrix - np.eye(4)).max() < 4 / np.sqrt(5000)


def test_survivors_alone_get_the_same_token():
    """With few tokens left, noise is made for these only."""
    scheme: Scheme = scheme_for("gumbel", Noise(1), greedy=False)
    torch.manual_seed(0)
    scores = torch.randn(64, 400)
    scores[:, torch.randperm(400)[:370]] = -torch.inf
    scores[0, 5:] = -torch.inf
    scores[0, 3] = 0.0
    keys, positions = Noise(1).rows([request_key(1, [k]) for k in range(64)], 3)
    whole = gumbel_sample(scores, Noise(1).gumbel(keys, positions, 400))
    assert torch.equal(scheme.draw(scores, Spot(keys, positions))[0], whole)


def test_near_ties_are_counted():
    from harness_specdecode.schemes import _best

    values = torch.tensor([[4.0, 4.0, 1.0], [4.0, 4.0 - 5e-7, 1.0], [4.0, 3.95, 1.0]])
    ids, near = _best(values, torch.finfo(torch.float32).eps)
    assert ids.tolist() == [0, 0, 0]
    assert near.tolist() == [True, True, False]
    assert _best(values, torch.finfo(torch.bfloat16).eps)[1].tolist() == [True, True, True]
    assert _best(values, 0)[1].tolist() == [False] * 3


def test_unknown_schemes_are_refused():
    with pytest.raises(HarnessError, match="scheme=best: give one of gumbel, minhash, leviathan"):
        scheme_for("best", Noise(0), greedy=False)


@pytest.mark.parametrize("name", ["leviathan", "minhash"])
def test_a_twin_is_always_accepted(name):
    from .tiny import requests, tiny

    model = tiny("llama")
    made = decoder(model, "model", other=model, scheme=name, rows=3)
    for _, answer in made.run(requests(4)):
        assert answer.accepted == answer.proposed > 0
    plain = decoder(model, scheme=name, rows=1)
    assert (written(plain, requests(4)) == written(made, requests(4))) is (name == "minhash")
