r"""How drafted tokens are drawn and checked.

A draft is y_t … y_{t+m−1}; the target's scores ℓ are known at t … t + m. G(k, s, v) and the other
noise are functions of request, position and token alone (``noise``).

*Match verification* (Daliri, Musco and Suresh 2024, arXiv 2408.07978): the target picks its own
token at each position, whatever was drafted,

    x̂_s = argmax_v ℓ_s(v) + G(k, s, v)          ``gumbel``
    x̂_s = the token of improved consistent weighted sampling of softmax(ℓ_s)    ``minhash``
    x̂_s = argmax_v ℓ_s(v)                       temperature 0

and x̂_t … x̂_{t+n} are written, n the longest prefix with x̂ = y. As x̂_s does not depend on y, the
text is a function of target, seed and prompt alone. Drafts are picked in the same way from the
drafter's scores, so that they agree often; and there may be several guesses at a position, the best
perturbed tokens of the drafter (``course``): where x̂ is one of those beside the draft, the pick
behind it is written too.

*Ratio test* (Leviathan, Kalman and Matias 2023, arXiv 2211.17192; Chen et al. 2023): ``leviathan``
draws y_s ~ q_s, accepts it if u < p_s(y)/q_s(y), and draws from (p_s − q_s)⁺ where it stops, or
from p_s behind the last. It accepts more often, and the text depends on the drafter.

**The two must not be mixed**: with y from shared noise, what is drawn after a rejection must not
use that noise again, or the result is not distributed as p. ``leviathan`` has uniform numbers of
its own for draft, test and correction. They may be indexed by position alone: a position drafted
again was never looked at before, as all that precedes it was decided at an earlier position.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from harness import HarnessError
from harness.errors import meant
from harness_specdecode.couplings.couplings import icws_pick
from harness_specdecode.couplings.inversion import inverse_is_near, inverse_sample
from harness_specdecode.couplings.noise import PRIVATE, Noise
from harness_specdecode.couplings.spots import Spot
from harness_specdecode.decoding.shares import GUESSES

GUMBEL, MINHASH, LEVIATHAN = "gumbel", "minhash", "leviathan"
NAMES = (GUMBEL, MINHASH, LEVIATHAN)

_ROUNDINGS = 2  # one for each of the two that are compared
_FEW = 8
_SMALL = 1 << 14  # ids: noise for all of them costs no more than a call for some


class Drawn(NamedTuple):
    """A drafter's tokens at one position of each row.

    Attributes:
        tokens: Ids [n].
        distribution: What they were drawn from [n, V], if ``verify`` needs it.
        guesses: The best ids [n, k], the drawn one first, where there is an order.
        scores: Their perturbed scores [n, k].
    """

    tokens: Tensor
    distribution: Tensor | None = None
    guesses: Tensor | None = None
    scores: Tensor | None = None


@dataclass
class Draft:
    """What a drafter proposes for the rows of a batch.

    Args:
        tokens: Ids [n, m]; of row i the first ``counts[i]`` count.
        counts: Tokens drafted in each row.
        distributions: What they were drawn from, m tensors [n, V], where the scheme asks for it;
            none means that each token was certain.
        beside: For each row other guesses: the place in the draft that they guess, and the token.
    """

    tokens: Tensor
    counts: list[int]
    distributions: list[Tensor] = field(default_factory=list)
    beside: list[list[tuple[int, int]]] = field(default_factory=list)

    @property
    def branches(self) -> int:
        """Guesses beside the draft, of the row that has most."""
        return max(map(len, self.beside), default=0)

    def padded_beside(self) -> tuple[Tensor, Tensor]:
        """Places and ids of the guesses [n, L]; rows are filled up with guesses of no use."""
        rows = [[*row, *[(0, 0)] * (self.branches - len(row))] for row in self.beside]
        places, ids = torch.tensor(rows, device=self.tokens.device).unbind(-1)
        return places, ids


@dataclass
class Verdict:
    """What is written.

    Args:
        tokens: Ids [n, m + 1]; of row i the first ``accepted[i] + 1`` are written.
        accepted: Drafted tokens that were right, a row.
        near_ties: Whether a pick was within rounding of another token, bool [n, m + 1].
        taken: The guess beside its draft that was right, the last one accepted, of those rows that
            had one.
    """

    tokens: Tensor
    accepted: list[int]
    near_ties: Tensor
    taken: dict[int, int] = field(default_factory=dict)


class Scheme(ABC):
    """A way to draw and to check; stateless.

    Args:
        noise: The shared field.
    """

    invariant = True

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    @abstractmethod
    def draw(self, scores: Tensor, spot: Spot) -> Drawn:
        """A drafter's tokens at one position of each row.

        Args:
            scores: The drafter's processed scores [n, V].
            spot: The position.
        """

    @abstractmethod
    def verify(self, scores: Tensor, draft: Draft, spot: Spot, precision: float) -> Verdict:
        """What the target writes.

        Args:
            scores: The target's processed scores [n, m + 1 + L, V].
            draft: The draft of m tokens at most, and L guesses beside it.
            spot: The m + 1 positions, and those behind the guesses.
            precision: Rounding of the model's numbers, relative (``torch.finfo(dtype).eps``).
        """


class Match(Scheme):
    """Match verification; temperature 0."""

    def draw(self, scores: Tensor, spot: Spot) -> Drawn:
        values, ids = self.perturbed(scores, spot)
        first = values.max(-1, keepdim=True).indices  # the lowest of equals, which topk is not
        best, places = values.topk(min(GUESSES, values.shape[-1]), -1)
        others = places.where(places != first, places[:, :1])[:, 1:]
        places = torch.cat([first, others], -1)
        guesses = places if ids is None else ids.gather(-1, places)
        return Drawn(guesses[:, 0], None, guesses, best)

    def verify(self, scores: Tensor, draft: Draft, spot: Spot, precision: float) -> Verdict:
        tokens, near = self.pick(scores, spot, precision)
        m = draft.tokens.shape[1]
        right = tokens[:, :m] == draft.tokens
        found = Verdict(tokens[:, : m + 1], _prefixes(right, draft.counts), near[:, : m + 1])
        picked = tokens.tolist() if draft.branches else []
        for row, guesses in enumerate(draft.beside if picked else []):
            end = found.accepted[row]
            written = end, picked[row][end]
            if written in guesses:
                found.taken[row] = guesses.index(written)
                behind = m + 1 + found.taken[row]
                found.accepted[row] += 1
                found.tokens[row, end + 1] = tokens[row, behind]
                found.near_ties[row, end + 1] = near[row, behind]
        return found

    def perturbed(self, scores: Tensor, spot: Spot) -> tuple[Tensor, Tensor | None]:
        """What is compared, [n, V] or [n, m, V]; where it is of some ids only, those ids."""
        return scores, None

    def pick(self, scores: Tensor, spot: Spot, precision: float) -> tuple[Tensor, Tensor]:
        """Ids, and whether they are near-ties (not looked at with ``precision`` 0).

        Args:
            scores: Processed scores [n, V] or [n, m, V].
            spot: The positions, one or m.
            precision: As for ``verify``.

        Returns:
            Two tensors [n] or [n, m].
        """
        values, ids = self.perturbed(scores, spot)
        best, near = _best(values, precision)
        return best if ids is None else ids.gather(-1, best.unsqueeze(-1)).squeeze(-1), near


class Gumbel(Match):
    """Shared Gumbel noise."""

    def perturbed(self, scores: Tensor, spot: Spot) -> tuple[Tensor, Tensor | None]:
        vocabulary = scores.shape[-1]
        possible = vocabulary
        if len(scores) * vocabulary > _SMALL and scores.amin() == -torch.inf:
            possible = int((scores > -torch.inf).sum(-1).max())
        if possible > vocabulary // _FEW:
            return scores + spot.gumbel(self.noise, vocabulary), None
        ids = scores.topk(possible).indices.sort(-1).values
        return scores.gather(-1, ids) + self.noise.gumbel(spot.keys, spot.positions, ids), ids


class MinHash(Match):
    """Weighted MinHash by improved consistent weighted sampling.

    A near-tie: with each log-probability moved by rounding, another token could be picked.
    """

    def draw(self, scores: Tensor, spot: Spot) -> Drawn:
        return Drawn(self.pick(scores, spot, 0)[0])

    def pick(self, scores: Tensor, spot: Spot, precision: float) -> tuple[Tensor, Tensor]:
        keys, positions = self.noise.rows(spot.keys, spot.positions)
        flat = scores.double().flatten(0, -2)
        off = _ROUNDINGS * precision * flat.abs().clamp(min=1)
        ids, near = icws_pick(
            flat.log_softmax(-1), off, self.noise, keys.flatten(), positions.flatten()
        )
        return ids.reshape(scores.shape[:-1]), near.reshape(scores.shape[:-1])


class Leviathan(Scheme):
    """The ratio test.

    A near-tie: with each probability moved by rounding, the test of a token could end otherwise, or
    another one could be drawn for draft or correction. Draws by inversion are seldom clear in few
    bits: each number of the running sum is moved by all that precede it.
    """

    invariant = False

    def draw(self, scores: Tensor, spot: Spot) -> Drawn:
        q = scores.double().softmax(-1)
        return Drawn(inverse_sample(q, self.uniforms(spot)[0]), q)

    def verify(self, scores: Tensor, draft: Draft, spot: Spot, precision: float) -> Verdict:
        p = scores.double().softmax(-1)
        off = _ROUNDINGS * precision * scores.double().amax(-1).abs().clamp(min=1)
        drawn, tested, _ = self.uniforms(spot)
        m, near = draft.tokens.shape[1], torch.zeros_like(off, dtype=torch.bool)
        right = torch.zeros_like(draft.tokens, dtype=torch.bool)
        for j in range(m):
            y = draft.tokens[:, j : j + 1]
            q = draft.distributions[j].gather(-1, y) if draft.distributions else torch.ones(())
            level, p_y = tested[:, j] * q.to(p).squeeze(-1), p[:, j].gather(-1, y).squeeze(-1)
            right[:, j] = level < p_y
            near[:, j] = (level - p_y).abs() <= off[:, j] * p_y
            if draft.distributions:
                near[:, j] |= inverse_is_near(draft.distributions[j], drawn[:, j], off[:, j])
        accepted = _prefixes(right, draft.counts)
        at = torch.tensor(accepted, device=p.device)
        rows = torch.arange(len(p), device=p.device)
        weights = self._left(p[rows, at], draft, accepted)
        end = Spot(spot.keys, spot.positions[rows, at])
        tokens = torch.nn.functional.pad(draft.tokens, (0, 1)).to(p.device)
        tokens[rows, at] = self.correction(weights, end)
        refused = at < torch.tensor(draft.counts, device=p.device)
        drawn_near = inverse_is_near(weights, self.uniforms(end)[2], off[rows, at])
        near[rows, at] = drawn_near | (near[rows, at] & refused)
        return Verdict(tokens, accepted, near)

    def correction(self, weights: Tensor, spot: Spot) -> Tensor:
        """Ids [n] drawn from weights [n, V] where a draft ends."""
        return inverse_sample(weights, self.uniforms(spot)[2])

    def uniforms(self, spot: Spot) -> list[Tensor]:
        """Uniform numbers of 52 bits for draft, test and correction, float64, each as positions."""
        words = self.noise.words(PRIVATE, spot.keys, spot.positions, torch.tensor([1, 2]))
        high, low = torch.cat([words[0], words[2]], -1), torch.cat([words[1], words[3]], -1)
        numbers = ((high << 20) | (low >> 12)).double().add_(0.5).mul_(2.0**-52)
        return [part.reshape(spot.positions.shape) for part in numbers[:, :3].unbind(-1)]

    @staticmethod
    def _left(p: Tensor, draft: Draft, accepted: Sequence[int]) -> Tensor:
        """(p − q)⁺ where a drafted token was refused, p behind a draft that was all right."""
        refused = [k for k, count in enumerate(draft.counts) if accepted[k] < count]
        if not refused:
            return p
        left = p[refused]
        if draft.distributions:
            left -= torch.stack([draft.distributions[accepted[k]][k] for k in refused])
            left.clamp_(min=0)
        else:
            y = torch.stack([draft.tokens[k, accepted[k]] for k in refused])
            left.scatter_(-1, y.unsqueeze(-1), 0.0)
        some = left.sum(-1, keepdim=True) > 0  # rounding alone can refuse where p = q
        return p.index_copy(0, torch.tensor(refused, device=p.device), left.where(some, p[refused]))


def scheme_for(name: str, noise: Noise, *, greedy: bool) -> Scheme:
    """The scheme of a name; at temperature 0 all are the same.

    Raises:
        HarnessError: There is none of this name.
    """
    if name not in NAMES:
        raise HarnessError(f"scheme={name}: {meant(name, NAMES)}")
    if greedy:
        return Match(noise)
    return {GUMBEL: Gumbel, MINHASH: MinHash, LEVIATHAN: Leviathan}[name](noise)


def _best(values: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    """Argmax, the lowest id among equals, and whether the next is within rounding."""
    best, ids = values.max(-1)
    if not precision:
        return ids, torch.zeros_like(ids, dtype=torch.bool)
    least = best - _ROUNDINGS * precision * best.abs().clamp(min=1)
    return ids, (values >= least.unsqueeze(-1)).sum(-1) > 1


def _prefixes(right: Tensor, counts: Sequence[int]) -> list[int]:
    """Length of each row's prefix of right drafts."""
    lengths = right.int().cumprod(-1).sum(-1).tolist() if right.shape[1] else [0] * len(right)
    return [min(length, count) for length, count in zip(lengths, counts, strict=True)]
