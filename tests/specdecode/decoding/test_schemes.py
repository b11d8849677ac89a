"""Each scheme's law against the enumerated law of the target, token triple by token triple."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from harness_specdecode.couplings.couplings import (
    agreement_gumbel,
    agreement_optimal,
    gumbel_sample,
    icws_pick,
    icws_sample,
)
from harness_specdecode.couplings.inversion import inverse_is_near, inverse_sample
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.couplings.spots import Spot
from harness_specdecode.decoding.decoder import Decoder
from harness_specdecode.decoding.drafters import Drafter, ModelDrafter, NGramDrafter, certain
from harness_specdecode.decoding.rounds import Request
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.decoding.schemes import Draft, Drawn, Leviathan, Scheme, scheme_for
from harness_specdecode.decoding.slots import SlotModel
from scipy import stats
from transformers import LlamaConfig, LlamaForCausalLM

from harness.errors import HarnessError
from specdecode.tiny import decoder, written

pytestmark = pytest.mark.long

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
        drawn = gumbel_sample(scores, spot.gumbel(self.noise, V))
        return Drawn(drawn, scores.double().softmax(-1))

    def correction(self, weights, spot):
        return gumbel_sample(weights.log(), spot.gumbel(self.noise, V))


def test_shared_noise_with_the_ratio_test_fails():
    assert p_value(drafted(Biased(Noise(11)), "model")) < 1e-12


def after(text):
    """The target's and the drafter's distributions."""
    logits = [model(torch.tensor([text])).logits[0, -1] for model in (TARGET, DRAFTER)]
    seen = torch.zeros(V, dtype=torch.bool)
    seen[torch.tensor(text)] = True
    return [SAMPLING.scores(row, seen).softmax(-1) for row in logits]


def test_acceptance_of_a_draft_is_the_couplings_agreement():
    """1 − TV by the ratio test, the Gumbel sum by match verification, within 3 standard errors."""
    first = after(PROMPT)[0]
    for name, closed in (("leviathan", agreement_optimal), ("gumbel", agreement_gumbel)):
        # of three tokens only the second is ever drafted
        answers = drafted(scheme_for(name, Noise(5), greedy=False), "model", seed=5, length=3)
        share = np.mean([answer.accepted for answer in answers.values()])
        wanted = sum(
            p * closed(*after([*PROMPT, token])).item()
            for token, p in enumerate(first.tolist())
            if p
        )
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
    from harness_specdecode.decoding.schemes import _best

    values = torch.tensor([[4.0, 4.0, 1.0], [4.0, 4.0 - 5e-7, 1.0], [4.0, 3.95, 1.0]])
    ids, near = _best(values, torch.finfo(torch.float32).eps)
    assert ids.tolist() == [0, 0, 0]
    assert near.tolist() == [True, True, False]
    assert _best(values, torch.finfo(torch.bfloat16).eps)[1].tolist() == [True, True, True]
    assert _best(values, 0)[1].tolist() == [False] * 3


def test_near_ties_of_minhash_are_where_rounding_can_change_the_pick():
    """No move within rounding changes a pick that is none; the extreme one changes all that are."""
    generator = torch.Generator().manual_seed(2)
    log_p = torch.randn(2000, 30, generator=generator).double().log_softmax(-1)
    log_p[0, 3:] = -torch.inf
    noise = Noise(4)
    keys, off = torch.arange(len(log_p)), torch.full_like(log_p, 0.02)
    ids, near = icws_pick(log_p, off, noise, keys, 5)
    assert torch.equal(ids, icws_sample(log_p, noise, keys, 5))
    assert 0.01 < near.double().mean() < 0.2
    changed = torch.zeros_like(near)
    for _ in range(20):
        moved = log_p + off * (2 * torch.rand(log_p.shape, generator=generator) - 1)
        changed |= icws_sample(moved, noise, keys, 5) != ids
    assert changed.any()
    assert not (changed & ~near).any()
    extreme = (log_p + off).scatter(-1, ids[:, None], log_p.gather(-1, ids[:, None]) - 0.02)
    assert torch.equal(icws_sample(extreme, noise, keys, 5) != ids, near)
    assert not icws_pick(log_p, 0 * off, noise, keys, 5)[1].any()


def test_draws_by_inversion_are_near_at_a_boundary():
    """Running sums 0.2, 0.7, 1: u = 0.7 ± 0.3 off; u = 0.2 ± 0.2 off."""
    weights = torch.tensor([[2.0, 5.0, 3.0]] * 6, dtype=torch.float64)
    u = torch.tensor([0.702, 0.704, 0.698, 0.199, 0.197, 0.9999], dtype=torch.float64)
    found = inverse_is_near(weights, u, torch.full((6,), 0.01, dtype=torch.float64))
    assert found.tolist() == [True, False, True, True, False, False]
    ids = inverse_sample(weights, u)
    assert ids.tolist() == [2, 2, 1, 0, 0, 2]


def test_what_has_no_weight_is_not_drawn():
    weights = torch.tensor([[0.0, 1e-3, 0.0, 0.1, 0.0]], dtype=torch.float64)
    for u, wanted in ((0.0, 1), (0.009, 1), (0.01, 3), (1 - 2**-53, 3), (1.0, 3)):
        assert inverse_sample(weights, torch.tensor([u], dtype=torch.float64)).item() == wanted


def test_near_ties_of_the_ratio_test():
    """The test at u q = p (1 ± 2 · 0.01), and the draw of the correction."""
    scheme, keys = Leviathan(Noise(3)), torch.arange(400)
    spot = Spot(keys, torch.tensor([[4, 5]]).expand(400, 2))
    _, tested, last = scheme.uniforms(spot)
    p, precision = torch.tensor([0.55, 0.3, 0.15], dtype=torch.float64), 0.01
    scores = p.log().expand(400, 2, 3)
    draft = Draft(torch.zeros(400, 1, dtype=torch.int64), [1] * 400)  # certain: q = 1
    verdict = scheme.verify(scores, draft, spot, precision)
    u = tested[:, 0]
    test_near = (u - 0.55).abs() <= 2 * precision * 0.55
    right = u < 0.55
    assert verdict.accepted == right.int().tolist()
    assert torch.equal(verdict.near_ties[right, 0], test_near[right])
    second = last[right, 1]  # behind an accepted draft: sums 0.55, 0.85, 1
    ends = torch.tensor([0.55, 0.85])
    reach = 2 * precision * torch.minimum(second, 1 - second)
    boundary = ((second[:, None] - ends).abs() < reach[:, None]).any(-1)
    assert torch.equal(verdict.near_ties[right, 1], boundary)
    first = last[~right, 0]  # in its place: 0.3 and 0.15, the sum at 2/3
    reach = 2 * precision * torch.minimum(first, 1 - first)
    boundary = (first - 2 / 3).abs() < reach
    assert torch.equal(verdict.near_ties[~right, 0], boundary | test_near[~right])
    assert 0 < verdict.near_ties.double().mean() < 0.2
    assert not scheme.verify(scores, draft, spot, 0.0).near_ties.any()


def test_near_ties_are_few_in_fp64_and_more_in_fewer_bits():
    from specdecode.tiny import requests, tiny

    for name in ("gumbel", "minhash", "leviathan"):
        shares = []
        for dtype in (torch.float64, torch.bfloat16):
            model = tiny("llama", dtype=dtype)
            made = decoder(model, "model", other=model, scheme=name, rows=3)
            answers = [answer for _, answer in made.run(requests(6))]
            tokens = sum(len(answer.tokens) for answer in answers)
            shares.append(sum(answer.near_ties for answer in answers) / tokens)
        assert shares[0] == 0, name
        assert 0 < shares[1] <= 1, name


def test_noise_of_a_round_is_made_once_for_draft_and_check(monkeypatch):
    asked = []
    gumbel = Noise.gumbel

    def counted(self, keys, positions, vocabulary):
        asked.append(tuple(positions.shape))
        return gumbel(self, keys, positions, vocabulary)

    monkeypatch.setattr(Noise, "gumbel", counted)
    from specdecode.tiny import requests, tiny

    model = tiny("llama")
    for kind, shape in (("model", (1, 5)), ("none", (1, 1))):
        made = decoder(model, kind, other=model, rows=1, gamma=4)
        dict(made.run(requests(1, limit=11)))
        assert asked == [(1, 1), *[shape] * (made.target.calls - 1)]
        asked.clear()


def test_unknown_schemes_are_refused():
    with pytest.raises(HarnessError, match="scheme=best: use one of gumbel, minhash, leviathan"):
        scheme_for("best", Noise(0), greedy=False)


@pytest.mark.parametrize("name", ["leviathan", "minhash"])
def test_a_twin_is_always_accepted(name):
    from specdecode.tiny import requests, tiny

    model = tiny("llama")
    made = decoder(model, "model", other=model, scheme=name, rows=3)
    for _, answer in made.run(requests(4)):
        assert answer.accepted == answer.proposed > 0
    plain = decoder(model, scheme=name, rows=1)
    assert (written(plain, requests(4)) == written(made, requests(4))) is (name == "minhash")
