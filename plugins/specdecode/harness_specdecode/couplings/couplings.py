r"""Couplings of two distributions: how often two parties that share only noise pick the same token.

Daliri, Musco and Suresh 2024, *Coupling without Communication and Drafter-Invariant Speculative
Decoding* (arXiv 2408.07978); weighted MinHash by darts is also Holenstein's protocol, its quick
form Ioffe 2010, *Improved Consistent Sampling, Weighted Minhash and L1 Sketching* (ICWS).

With m_j = min(p_j, q_j), M_j = max(p_j, q_j), d = TV(p, q) = ½ Σ|p_j − q_j|, so that Σm = 1 − d and
ΣM = 1 + d, the probability that both sides pick the same token is:

    optimal (sees both p and q)   1 − d
    Gumbel                        Σ_j 1 / Σ_i max(p_i/p_j, q_i/q_j)
    weighted MinHash by darts     Σ_j m_j (1 + |p_j − q_j|) / (1 + d)
    lower bound of both           (1 − d) / (1 + d)        no protocol does better on every pair

*Gumbel*: shared G_j; each side takes argmax_j ln p_j + G_j. The sum is O(V log V): with tokens in
descending order of r = p/q,  S_j = (Σ_{r_i ≥ r_j} p_i)/p_j + (Σ_{r_i < r_j} q_i)/q_j,  Σ_j 1/S_j.

*Darts*: shared darts u ~ U[0, V) with j = ⌊u⌋ and h = u − j; each side takes the j of the first
dart with h below its own p_j. The first dart below M_j hits j with probability M_j/(1 + d). Below
m_j as well, both stop there. Above it, the side that goes on ends in j with probability m_j.

*ICWS*: for each j, r, c ~ Γ(2, 1), β ~ U(0, 1), t = ⌊ln p_j/r + β⌋, ln y = r(t − β),
ln a = ln c − ln y − r; each side takes argmin_j a. It needs V draws at once and no loop.

Worked example, the pair on which the lower bound is tight: p uniform on n tokens but the first, q
on all but the second; d = 1/(n − 1), and the bound and Gumbel both give (n − 2)/n:

    >>> p, q = torch.tensor([[0.0, 1, 1, 1, 1], [1, 0, 1, 1, 1]], dtype=torch.float64) / 4
    >>> f"{agreement_gumbel(p, q):.3f} {lower_bound(p, q):.3f} {agreement_optimal(p, q):.3f}"
    '0.600 0.600 0.750'

Deliberate choices: closed forms are computed in float64 whatever the input; a sampled token is the
lowest id among equals; darts have 52 bits for the place and 53 for the height.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness_specdecode.couplings.inversion import inverse_sample
from harness_specdecode.couplings.noise import CONSISTENT, DARTS, Keys, Noise, Positions, as_uniform

_TOLERANCE = 1e-4
_DARTS_AT_ONCE = 1 << 20


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """Total variation distance ½ Σ|p − q|.

    Args:
        p: Probabilities [..., V].
        q: Probabilities of the same shape.

    Returns:
        float64 [...], from 0 to 1.

    Raises:
        ValueError: The shapes differ, or a row is no distribution. So for all closed forms.
    """
    p, q = _checked(p, q)
    return (p - q).abs().sum(-1) / 2


def agreement_optimal(p: Tensor, q: Tensor) -> Tensor:
    """1 − TV, which only a protocol that sees both distributions reaches; float64 [...]."""
    p, q = _checked(p, q)
    return torch.minimum(p, q).sum(-1)


def agreement_gumbel(p: Tensor, q: Tensor) -> Tensor:
    """Probability that argmax(ln p + G) = argmax(ln q + G) for shared Gumbel noise; float64 [...].

    O(V log V) time, O(V) memory a row.
    """
    p, q = _checked(p, q)
    order = (p / q).nan_to_num(nan=0.0, posinf=torch.inf).argsort(-1, descending=True)
    p, q = p.gather(-1, order), q.gather(-1, order)
    above = p.cumsum(-1)
    below = q.flip(-1).cumsum(-1).flip(-1) - q
    terms = 1 / (above / p + below / q)
    return torch.where((p > 0) & (q > 0), terms, 0.0).sum(-1)


def agreement_minhash(p: Tensor, q: Tensor) -> Tensor:
    """Probability that the first darts under p and under q lie on the same token; float64 [...]."""
    p, q = _checked(p, q)
    gap = (p - q).abs()
    return (torch.minimum(p, q) * (1 + gap)).sum(-1) / (1 + gap.sum(-1) / 2)


def lower_bound(p: Tensor, q: Tensor) -> Tensor:
    """(1 − TV)/(1 + TV), below the agreement of Gumbel and of MinHash on every pair."""
    distance = total_variation(p, q)
    return (1 - distance) / (1 + distance)


def gumbel_sample(log_p: Tensor, gumbel: Tensor) -> Tensor:
    """The token each row picks by shared Gumbel noise.

    Args:
        log_p: Log-probabilities or logits [..., V]; −∞ where a token is ruled out.
        gumbel: ``Noise.gumbel`` of the rows' keys and positions, [..., V].

    Returns:
        Ids [...], distributed as softmax(log_p); the lowest id among equals.
    """
    return (log_p + gumbel).argmax(-1)


def dart_minhash_sample(p: Tensor, noise: Noise, keys: Keys, positions: Positions) -> Tensor:
    """The token each row picks by weighted MinHash: the first dart below its own probability.

    V darts are expected; they are thrown in parts until every row has one.

    Args:
        p: Probabilities [B, V].
        noise: The shared field.
        keys: Request keys [B].
        positions: Output positions: one for all, or [B].

    Returns:
        Ids [B], distributed as p.

    Raises:
        ValueError: A row is no distribution.
    """
    p, _ = _checked(p, p)
    rows, n = p.shape
    keys, positions = _per_row(rows, noise, keys, positions)
    found = torch.full((rows,), -1, device=p.device)
    missing, thrown = torch.arange(rows, device=p.device), 0
    while len(missing):
        at_once = max(1, min(n // 2, _DARTS_AT_ONCE // len(missing)))
        counters = torch.arange(thrown, thrown + at_once, device=noise.device)
        places, heights = _darts(noise, keys[missing], positions[missing], counters, n)
        below = heights < p[missing.unsqueeze(-1), places]
        hit, first = below.any(-1), below.int().argmax(-1, keepdim=True)
        found[missing] = torch.where(hit, places.gather(-1, first).squeeze(-1), -1)
        missing, thrown = missing[~hit], thrown + at_once
    return found


def _darts(
    noise: Noise, keys: Tensor, positions: Tensor, counters: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """Darts [B, K]: the token each falls on, and its height in [0, 1)."""
    a, b, c, d = noise.words(DARTS, keys, positions, counters)
    place = ((a << 20) | (b >> 12)).double().mul_(2.0**-52 * n).long().clamp_(max=n - 1)
    return place, ((c << 21) | (d >> 11)).double().mul_(2.0**-53)


def icws_sample(log_p: Tensor, noise: Noise, keys: Keys, positions: Positions) -> Tensor:
    """The token each row picks by improved consistent weighted sampling, in logarithms.

    The sketch (j, t) of both sides is the same with probability (1 − d)/(1 + d) exactly; the token
    j alone at least as often.

    Args:
        log_p: Log-probabilities [B, V]; −∞ where a token is ruled out.
        noise: The shared field.
        keys: Request keys [B].
        positions: Output positions: one for all, or [B].

    Returns:
        Ids [B], distributed as exp(log_p).
    """
    return icws_sketch(log_p, noise, keys, positions)[0]


def icws_sketch(
    log_p: Tensor, noise: Noise, keys: Keys, positions: Positions
) -> tuple[Tensor, Tensor]:
    """The token each row picks and its level t, both [B]; arguments as for ``icws_sample``."""
    log_p, numbers = log_p.double(), _consistent(log_p, noise, keys, positions)
    level, log_a = _icws(log_p, *numbers)
    best = log_a.argmin(-1, keepdim=True)
    return best.squeeze(-1), level.gather(-1, best).squeeze(-1)


def icws_pick(
    log_p: Tensor, off: Tensor, noise: Noise, keys: Keys, positions: Positions
) -> tuple[Tensor, Tensor]:
    """The token each row picks, and whether it could be another for log-probabilities near by.

    ln a is a step function that falls with ln p, so that the extremes are where each ln p is
    highest, and that of the token picked lowest.

    Args:
        log_p: Log-probabilities [B, V].
        off: How far each may be off, at least 0 [B, V].
        noise: The shared field.
        keys: Request keys [B].
        positions: Output positions: one for all, or [B].

    Returns:
        Ids [B] and bool [B].
    """
    log_p, numbers = log_p.double(), _consistent(log_p, noise, keys, positions)
    best = _icws(log_p, *numbers)[1].argmin(-1, keepdim=True)
    lowest = _icws(log_p + off, *numbers)[1].scatter(-1, best, torch.inf)
    highest = _icws(log_p - off, *numbers)[1].gather(-1, best)
    return best.squeeze(-1), (lowest <= highest).any(-1)


def _consistent(
    log_p: Tensor, noise: Noise, keys: Keys, positions: Positions
) -> tuple[Tensor, Tensor, Tensor]:
    """r, ln c and β of each token, float64 [B, V]."""
    keys, positions = _per_row(log_p.shape[0], noise, keys, positions)
    ids = 2 * torch.arange(log_p.shape[-1], device=noise.device)
    u = [as_uniform(w) for w in noise.words(CONSISTENT, keys, positions, ids)]
    beta = as_uniform(noise.words(CONSISTENT, keys, positions, ids + 1)[0])
    return -(u[0] * u[1]).log(), (-(u[2] * u[3]).log()).log(), beta


def _icws(log_p: Tensor, r: Tensor, log_c: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Level t and ln a of each token [B, V]; ∞ where a token is ruled out."""
    level = (log_p / r + beta).floor()
    log_a = log_c - r * (level - beta) - r
    return level, log_a.where(log_p > -torch.inf, torch.inf)


def maximal_coupling_sample(p: Tensor, q: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """A pair that agrees with probability 1 − TV; whoever samples it must know both sides.

    With probability 1 − d both are one token of min(p, q)/(1 − d); otherwise one is from
    (p − q)⁺/d and the other from (q − p)⁺/d.

    Args:
        p: Probabilities [B, V].
        q: Probabilities of the same shape.
        u: Three independent uniform numbers on (0, 1) a row, float64 [B, 3].

    Returns:
        Ids [B] distributed as p, and ids [B] distributed as q.

    Raises:
        ValueError: The shapes differ, or a row is no distribution.
    """
    p, q = _checked(p, q)
    common = torch.minimum(p, q)
    together = u[:, 0] < common.sum(-1)
    shared = inverse_sample(common, u[:, 1])
    first, second = (inverse_sample(side - common, u[:, k]) for side, k in ((p, 1), (q, 2)))
    return torch.where(together, shared, first), torch.where(together, shared, second)


def _per_row(rows: int, noise: Noise, keys: Keys, positions: Positions) -> tuple[Tensor, Tensor]:
    """Keys [B] as int64 bits and positions [B]."""
    return noise.rows(keys, torch.as_tensor(positions).expand(rows))


def _checked(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64.

    Raises:
        ValueError: The shapes differ, or a row is no distribution.
    """
    if p.shape != q.shape:
        raise ValueError(f"p has shape {tuple(p.shape)}, q has {tuple(q.shape)}: make them equal")
    p, q = p.double(), q.double()
    for name, side in (("p", p), ("q", q)):
        off = (side.sum(-1) - 1).abs() > _TOLERANCE
        if not bool(((side >= 0).all(-1) & ~off).all()):
            raise ValueError(f"{name} is no distribution: a row has negative entries or sum not 1")
    return p, q
