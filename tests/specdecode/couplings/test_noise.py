from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from harness_specdecode.couplings.noise import (
    CONSISTENT,
    DARTS,
    PRIVATE,
    Noise,
    philox,
    request_key,
)
from scipy import stats

from harness.errors import HarnessError

# Random123's known answers for philox4x32-10: counter, key, result
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip

KEYS = [request_key(0, [5, 17, 42], repeat) for repeat in range(8)]


def numbers(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    words = philox(tuple(torch.tensor([n]) for n in numbers(counter)), tuple(numbers(key)))
    assert [int(word) for word in words] == numbers(result)


def by_hand(seed, key, position, token):
    """Philox in Python's own integers, word by word."""
    mask = 2**32 - 1
    c = [token // 4, position, key & mask, key >> 32]
    k = [seed & mask, seed >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(second >> 32) ^ c[1] ^ k[0], second & mask, (first >> 32) ^ c[3] ^ k[1], first & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c[token % 4]


@pytest.mark.parametrize(
    ("seed", "key"), [(2**63 + 12345, 2**64 - 7), (7 << 32, 0x0123456789ABCDEF)]
)
def test_field_is_the_documented_function(seed, key):
    uniform = Noise(seed).uniform([key], 9, 11)
    for token in range(11):
        assert uniform[0, token].item() == (by_hand(seed, key, 9, token) + 0.5) / 2**32


def test_exponential_and_gumbel_are_of_the_same_uniform():
    field = Noise(3)
    uniform = field.uniform(KEYS, 2, 1000).numpy()
    exponential, gumbel = field.exponential(KEYS, 2, 1000), field.gumbel(KEYS, 2, 1000)
    assert exponential.dtype == gumbel.dtype == torch.float32
    np.testing.assert_array_equal(exponential, (-np.log(uniform)).astype(np.float32))
    np.testing.assert_array_equal(gumbel, (-np.log(-np.log(uniform))).astype(np.float32))


def test_the_ends_are_finite_and_full():
    """fp32 uniforms would end at G = 16.6, and U = 1 would give infinity."""
    from harness_specdecode.couplings import noise

    extreme = torch.tensor([0, 1, 2**31, 2**32 - 2, 2**32 - 1])
    uniform = noise.as_uniform(extreme)
    assert 0 < uniform[0] < uniform[1] < 0.5 < uniform[2] < uniform[3] < uniform[4] < 1
    gumbel = noise._gumbel(extreme)
    assert gumbel[4].item() == pytest.approx(33 * math.log(2), abs=1e-6)
    assert gumbel[0].item() == pytest.approx(-math.log(33 * math.log(2)), abs=1e-6)


def test_any_shape_order_and_subset_gives_the_same_numbers():
    field, n, rng = Noise(7), 1003, np.random.default_rng(0)
    positions = torch.arange(6)
    grid = field.gumbel(KEYS, positions.expand(8, 6), n)
    assert grid.shape == (8, 6, n)
    assert len({float(x) for x in grid.flatten()[:2000]}) > 1990
    order = rng.permutation(8)
    shuffled = field.gumbel([KEYS[i] for i in order], torch.full((8,), 4), n)
    assert torch.equal(shuffled, grid[order, 4])
    for row, t in ((0, 0), (5, 3)):
        assert torch.equal(field.gumbel([KEYS[row]], t, n)[0], grid[row, t])
        assert torch.equal(Noise(7).gumbel([KEYS[row]], t, 50)[0], grid[row, t, :50])
    ids = torch.tensor(rng.choice(n, size=37, replace=False))
    assert torch.equal(field.gumbel(KEYS, positions.expand(8, 6), ids), grid[..., ids])
    own = torch.tensor(rng.integers(0, n, size=(8, 6, 5)))
    assert torch.equal(field.gumbel(KEYS, positions.expand(8, 6), own), grid.gather(-1, own))
    assert field.gumbel(KEYS, 0, torch.tensor([], dtype=torch.int64)).shape == (8, 0)


def test_parts_do_not_matter(monkeypatch):
    field = Noise(7)
    whole = field.gumbel(KEYS, 3, 999), field.gumbel(KEYS, 3, torch.arange(0, 999, 7))
    monkeypatch.setattr("harness_specdecode.couplings.noise._CHUNK", {"cpu": 10})
    assert torch.equal(field.gumbel(KEYS, 3, 999), whole[0])
    assert torch.equal(field.gumbel(KEYS, 3, torch.arange(0, 999, 7)), whole[1])


def test_uniform_by_chi_square_and_kolmogorov_smirnov():
    sample = Noise(1).uniform(KEYS, torch.arange(8).expand(8, 8), 3000).flatten().numpy()
    counts = np.bincount((sample * 256).astype(int), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.kstest(sample, "uniform").pvalue > 1e-3
    low = np.floor(sample * 2**32).astype(np.uint64)
    for shift in (0, 12, 24):  # every byte of a word, not the highest alone
        found = np.bincount((low >> np.uint64(shift)).astype(int) & 255, minlength=256)
        assert stats.chisquare(found).pvalue > 1e-3


def test_tails_by_kolmogorov_smirnov():
    field, shape = Noise(2), torch.arange(8).expand(8, 8)
    assert stats.kstest(field.exponential(KEYS, shape, 3000).flatten(), "expon").pvalue > 1e-3
    assert stats.kstest(field.gumbel(KEYS, shape, 3000).flatten(), "gumbel_r").pvalue > 1e-3


@pytest.mark.parametrize("along", ["request", "repeat", "position", "token", "seed", "stream"])
def test_neighbours_are_independent(along):
    """χ² of 16 × 16 cells of (u, neighbour's u), and the correlation."""
    field, n = Noise(4), 60_000
    here = field.uniform([KEYS[0]], 5, n)[0]
    there = {
        "request": lambda: field.uniform([request_key(0, [5, 17, 43])], 5, n)[0],
        "repeat": lambda: field.uniform([KEYS[1]], 5, n)[0],
        "position": lambda: field.uniform([KEYS[0]], 6, n)[0],
        "token": lambda: field.uniform([KEYS[0]], 5, n + 1)[0, 1:],
        "seed": lambda: Noise(5).uniform([KEYS[0]], 5, n)[0],
        "stream": lambda: (
            (
                torch.stack(field.words(DARTS, [KEYS[0]], 5, torch.arange(n // 4)), -1).flatten()
                + 0.5
            )
            / 2**32
        ),
    }[along]()
    pairs = ((here * 16).long() * 16 + (there * 16).long()).numpy()
    assert stats.chisquare(np.bincount(pairs, minlength=256)).pvalue > 1e-3
    assert abs(np.corrcoef(here, there)[0, 1]) < 4 / math.sqrt(n)


def test_streams_share_no_block():
    field, counters = Noise(0), torch.arange(100)
    words = [field.words(s, [KEYS[0]], 0, counters)[0] for s in (DARTS, CONSISTENT, PRIVATE)]
    words.append((field.uniform([KEYS[0]], 0, 400)[:, ::4] * 2**32).long())
    assert len({int(w) for w in torch.cat(words).flatten()}) == 400


def test_request_key_depends_on_all_its_parts():
    key = request_key(0, [5, 17, 42])
    assert key == 0x1035877047106DA7
    others = [(1, [5, 17, 42], 0), (0, [5, 17], 0), (0, [17, 5, 42], 0), (0, [5, 17, 42], 1)]
    others.append((2**64 - 1, [5, 17, 42], 0))
    keys = {request_key(*other) for other in others} | {key}
    assert len(keys) == 6
    assert all(0 <= k < 2**64 for k in keys)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(HarnessError, match="out of range: give one from 0"):
        Noise(seed)


@pytest.mark.gpu
def test_the_field_is_the_same_on_a_gpu():
    here, there = Noise(7), Noise(7, "cuda")
    positions = torch.arange(4).expand(8, 4)
    ids = torch.arange(0, 5000, 3)
    for vocabulary in (5001, ids):
        ours, theirs = (f.uniform(KEYS, positions, vocabulary).cpu() for f in (here, there))
        assert torch.equal(ours, theirs)
        ours, theirs = (f.gumbel(KEYS, positions, vocabulary).cpu() for f in (here, there))
        assert torch.allclose(ours, theirs, rtol=2e-7, atol=1e-9)
        assert (ours != theirs).double().mean() < 1e-4
