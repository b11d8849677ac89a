from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from harness_specdecode.couplings.agreement import closed_forms, sampled_hits
from harness_specdecode.couplings.couplings import (
    agreement_gumbel,
    agreement_minhash,
    agreement_optimal,
    dart_minhash_sample,
    gumbel_sample,
    icws_sample,
    icws_sketch,
    lower_bound,
    maximal_coupling_sample,
    total_variation,
)
from harness_specdecode.couplings.noise import Noise, request_key
from scipy import optimize, stats

from specdecode.pairs import random_pair, real_pair, tight_pair, zipf_pair

ALL = (agreement_optimal, agreement_gumbel, agreement_minhash, lower_bound)


def keys(n):
    return [request_key(0, [1, 2, 3], repeat) for repeat in range(n)]


def by_fractions(p, q):
    """The Gumbel sum term by term, in exact arithmetic."""
    p, q = ([Fraction(x) for x in side.tolist()] for side in (p, q))
    both = [j for j in range(len(p)) if p[j] and q[j]]
    ratios = {j: [max(a / p[j], b / q[j]) for a, b in zip(p, q, strict=True)] for j in both}
    return float(sum(1 / sum(ratios[j]) for j in both))


def by_markov_chain(p, q, levels):
    """Darts on a grid of V × levels cells, as an absorbing chain solved by linear algebra.

    States: 0 both go on; 1 + j the first side has taken j; 1 + V + j the second has. ``agree`` is
    the probability of ending on the same token, from each state.
    """
    heights_p, heights_q = (np.rint(side.numpy() * levels).astype(int) for side in (p, q))
    n = len(heights_p)
    step, win = np.zeros((1 + 2 * n, 1 + 2 * n)), np.zeros(1 + 2 * n)
    for j in range(n):
        for h in range(levels):
            under_p, under_q, chance = h < heights_p[j], h < heights_q[j], 1 / (n * levels)
            if under_p and under_q:
                win[0] += chance
            else:
                step[0, 1 + j if under_p else 1 + n + j if under_q else 0] += chance
            for taken in range(n):
                if under_q:
                    win[1 + taken] += chance * (j == taken)
                else:
                    step[1 + taken, 1 + taken] += chance
                if under_p:
                    win[1 + n + taken] += chance * (j == taken)
                else:
                    step[1 + n + taken, 1 + n + taken] += chance
    return np.linalg.solve(np.eye(len(win)) - step, win)[0]


def by_linear_programme(p, q):
    """The largest diagonal of a joint distribution with these margins."""
    n = len(p)
    rows, columns = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    margins = np.concatenate([p.numpy(), q.numpy()])
    found = optimize.linprog(-np.eye(n).ravel(), A_eq=np.vstack([rows, columns]), b_eq=margins)
    return -found.fun


def test_by_hand():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25])
    assert total_variation(p, q).item() == 0.25
    assert agreement_optimal(p, q).item() == 0.75
    assert lower_bound(p, q).item() == pytest.approx(0.6)
    # token 0: 1/(1 + max(1, 1/3)) = 1/2;  token 1: 1/(max(1, 3) + 1) = 1/4
    assert agreement_gumbel(p, q).item() == pytest.approx(0.75)
    # (0.5 · 1.25 + 0.25 · 1.25) / 1.25
    assert agreement_minhash(p, q).item() == pytest.approx(0.75)


@pytest.mark.parametrize("seed", range(5))
def test_closed_forms_against_exact_computation(seed):
    rng = np.random.default_rng(seed)
    p, q = (torch.from_numpy(rng.multinomial(20, rng.dirichlet(np.ones(5))) / 20) for _ in "pq")
    assert agreement_gumbel(p, q).item() == pytest.approx(by_fractions(p, q), abs=1e-14)
    assert agreement_minhash(p, q).item() == pytest.approx(by_markov_chain(p, q, 20), abs=1e-12)
    assert agreement_optimal(p, q).item() == pytest.approx(by_linear_programme(p, q), abs=1e-9)


@pytest.mark.parametrize("pair", [random_pair(90), zipf_pair(90), tight_pair(30)])
def test_sorted_sum_against_all_terms(pair):
    assert agreement_gumbel(*pair).item() == pytest.approx(by_fractions(*pair), rel=1e-12)


def test_extremes():
    p, q = random_pair()
    for agreement in ALL:
        assert agreement(p, p).item() == pytest.approx(1)
        assert agreement(p, q).item() == pytest.approx(agreement(q, p).item())
    half = torch.cat([torch.ones(4), torch.zeros(4)]) / 4
    for agreement in ALL:
        assert agreement(half, half.flip(0)).item() == 0
    tiny = torch.tensor([1 - 1e-300, 1e-300], dtype=torch.float64)
    assert agreement_gumbel(tiny, tiny.flip(0)).item() == pytest.approx(0, abs=1e-290)


@pytest.mark.parametrize("n", [3, 10, 1000])
def test_the_pair_on_which_the_bound_is_tight(n):
    p, q = tight_pair(n)
    assert total_variation(p, q).item() == pytest.approx(1 / (n - 1))
    for agreement in (lower_bound, agreement_gumbel, agreement_minhash):
        assert agreement(p, q).item() == pytest.approx((n - 2) / n)


def test_order_on_a_hundred_thousand_pairs():
    """1 − d ≥ Gumbel ≥ MinHash ≥ (1 − d)/(1 + d), whatever the size and concentration."""
    rng, seen = np.random.default_rng(0), 0
    for n, concentration in ((2, 1.0), (3, 0.3), (5, 1.0), (12, 0.1), (20, 3.0), (50, 0.05)):
        shape = (17_000, n)
        p, q = (rng.gamma(concentration, size=shape) + 1e-300 for _ in "pq")
        q = np.where(rng.random(shape) < 0.1, p, q)  # equal ratios
        p[rng.random(shape) < 0.1] = 0
        p[:, 0] += 1e-3
        p, q = (torch.from_numpy(side / side.sum(-1, keepdims=True)) for side in (p, q))
        best, gumbel, minhash, bound = (agreement(p, q) for agreement in ALL)
        assert (best - gumbel).min() > -1e-12
        assert (gumbel - minhash).min() > -1e-12
        assert (minhash - bound).min() > -1e-12
        assert (gumbel - minhash).max() > 0.01 or n == 2
        seen += len(p)
    assert seen > 100_000


PAIRS = {
    "random": (random_pair, 20_000),
    "zipf": (zipf_pair, 20_000),
    "tight": (lambda: tight_pair(12), 20_000),
    "testbed": (real_pair, 2_500),
}


@pytest.mark.parametrize("name", PAIRS)
def test_sampled_agreement_is_the_closed_form(name):
    make, draws = PAIRS[name]
    p, q = make()
    closed = closed_forms(p[None], q[None])[0]
    assert 0.02 < closed["total_variation"] < 0.9
    hits = sampled_hits(p, q, Noise(11), keys(draws), 6)
    for coupling in ("optimal", "gumbel", "minhash"):
        expected = closed[f"agreement_{coupling}"]
        error = math.sqrt(expected * (1 - expected) / draws)
        assert abs(hits[coupling] / draws - expected) < 3 * error, coupling


def test_icws_agrees_with_jaccard():
    draws = 20_000
    p, q = random_pair(20)
    sides = [icws_sketch(side.log().expand(draws, -1), Noise(1), keys(draws), 0) for side in (p, q)]
    same_token = sides[0][0] == sides[1][0]
    same = (same_token & (sides[0][1] == sides[1][1])).double().mean().item()
    jaccard = lower_bound(p, q).item()
    assert abs(same - jaccard) < 3 * math.sqrt(jaccard * (1 - jaccard) / draws)
    assert same_token.double().mean().item() >= same


def optimal_sides(p, q, n):
    u = torch.rand(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return maximal_coupling_sample(p.expand(n, -1), q.expand(n, -1), u)


SAMPLERS = {
    "gumbel": lambda p, n: gumbel_sample(p.log(), Noise(2).gumbel(keys(n), 3, len(p))),
    "darts": lambda p, n: dart_minhash_sample(p.expand(n, -1), Noise(2), keys(n), 3),
    "icws": lambda p, n: icws_sample(p.log().expand(n, -1), Noise(2), keys(n), 3),
    "optimal, first": lambda p, n: optimal_sides(p, p.flip(0), n)[0],
    "optimal, second": lambda p, n: optimal_sides(p.flip(0), p, n)[1],
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_has_the_distribution(name):
    p, draws = torch.tensor([0.4, 0.0, 0.25, 0.2, 0.1, 0.04, 0.01], dtype=torch.float64), 20_000
    counts = torch.bincount(SAMPLERS[name](p, draws), minlength=len(p)).numpy()
    possible = p.numpy() > 0
    assert counts[~possible].sum() == 0
    expected = p.numpy()[possible] * draws
    assert stats.chisquare(counts[possible], expected).pvalue > 1e-3


def test_ties_and_impossible_tokens():
    log_p = torch.tensor([-math.inf, 0.0, 0.0, -math.inf])
    none = torch.zeros(4)
    assert gumbel_sample(log_p, none).item() == 1


def test_a_row_alone_is_the_row_in_a_batch():
    p = torch.stack([random_pair(40, seed)[0] for seed in range(6)])
    for sample in (
        dart_minhash_sample,
        lambda side, *rest: icws_sample(side.log(), *rest),
    ):
        batch = sample(p, Noise(3), keys(6), torch.arange(6))
        alone = [sample(p[k : k + 1], Noise(3), keys(6)[k : k + 1], k).item() for k in range(6)]
        assert batch.tolist() == alone


def test_a_real_vocabulary():
    """152 k ids: the samplers end, and a token of probability ½ is picked about half the time."""
    n, draws = 152_000, 12
    p = torch.full((n,), 0.5 / (n - 1), dtype=torch.float64)
    p[n - 1] = 0.5
    darts = dart_minhash_sample(p.expand(draws, -1), Noise(0), keys(draws), 0)
    sketches = icws_sample(p.log().expand(4, -1), Noise(0), keys(4), 0)
    assert 2 <= int((darts == n - 1).sum()) <= 10
    assert set(sketches.tolist()) <= set(range(n)) and n - 1 in sketches
    assert agreement_gumbel(p, p.flip(0)).item() > lower_bound(p, p.flip(0)).item()


@pytest.mark.parametrize(
    ("p", "q", "words"),
    [
        ([0.5, 0.5], [0.5, 0.4, 0.1], "p has shape"),
        ([0.5, 0.5], [0.7, 0.7], "q is no distribution"),
        ([1.5, -0.5], [0.5, 0.5], "p is no distribution"),
        ([math.nan, 1.0], [0.5, 0.5], "p is no distribution"),
    ],
)
def test_what_is_no_distribution_is_refused(p, q, words):
    for function in (total_variation, *ALL):
        with pytest.raises(ValueError, match=words):
            function(torch.tensor(p), torch.tensor(q))


def test_worked_examples():
    import doctest

    from harness_specdecode.couplings import couplings, inversion, noise

    for module in (couplings, inversion, noise):
        done = doctest.testmod(module)
        assert done.attempted == 2
        assert done.failed == 0
