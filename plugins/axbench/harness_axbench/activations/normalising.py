"""States put on one scale before directions are learnt from them and read off them.

In some models a few tokens' states are many times as long as the others', or a few of their
dimensions many times as wide; then these decide what a difference of means, a component or a
probe finds, and which token of a text scores highest.

    none         x = h                       the paper's
    unit         x = r·h / ‖h‖               r = mean ‖h‖
    standardise  x = (h − m) / s             m and s: mean and standard deviation, per dimension

r, m and s are of the tokens that a concept is learnt from, its positives' and its negatives' behind
the prefix, so that they depend on no other concept. A dimension that does not vary there has x = 0.

A direction w of length one, learnt from x, scores a token by z = x·w, which is

    unit         z = r·(h·w) / ‖h‖
    standardise  z = h·e + b,   e = w/s,   b = −m·e

and is written so that x moves along w: h + c·w, and h + c·v with v = s∘w. Adding c·v raises the
standardised score by c, as adding c·w raises the paper's. Of DiffMean v is the paper's direction up
to its length: w is along (μ⁺ − μ⁻)/s, so that v is along μ⁺ − μ⁻.

Worked example: tokens (0, 1), (2, 1), (4, 1) and (6, 1) have m = (3, 1) and s = (√5, 0). h = (5, 9)
is x = (2/√5, 0). w = (1, 0) reads e = (1/√5, 0) and b = −3/√5: z = 2/√5; it writes v = (√5, 0).

Means and squares are summed text by text in fp64 and put together with the update of Chan, Golub &
LeVeque 1979 (Stanford STAN-CS-79-773), which does not cancel where means are large:

    m = Σ n_t m_t / n,   n s² = Σ [n_t s_t² + n_t (m_t − m)²]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

NONE, UNIT, STANDARDISE = "none", "unit", "standardise"
NORMALISATIONS = (NONE, UNIT, STANDARDISE)
_SHORTEST = 1e-12
_STILL = 1e-6  # of the widest dimension's spread: what is below does not vary but for rounding


def length(hidden: Tensor) -> Tensor:
    """‖h‖ of states [..., hidden], to divide by: [..., 1]."""
    found: Tensor = hidden.norm(dim=-1, keepdim=True)
    return found.clamp_min(_SHORTEST)


@dataclass(frozen=True)
class Moments:
    """Of each of some texts' tokens: how many, their mean, and squares about it; in fp64.

    Attributes:
        count: [texts]
        mean: [texts, hidden]
        squares: Summed over the text's tokens. [texts, hidden]
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, texts: Sequence[Tensor]) -> Moments:
        """Of texts' tokens, [tokens, hidden] each."""
        means, squares = [], []
        for tokens in texts:
            own = tokens.double()
            means.append(own.mean(0))
            squares.append((own - means[-1]).square().sum(0))
        count = torch.tensor([len(tokens) for tokens in texts], dtype=torch.float64)
        return cls(count, torch.stack(means).cpu(), torch.stack(squares).cpu())

    def together(self, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of all tokens of the texts at these places: [hidden] each."""
        at = torch.tensor(places)
        count = self.count[at].unsqueeze(1)
        mean = (count * self.mean[at]).sum(0) / count.sum()
        squares = self.squares[at] + count * (self.mean[at] - mean).square()
        return mean, (squares.sum(0) / count.sum()).sqrt()


@dataclass(frozen=True)
class Scaling:
    """How states are put on one scale, and directions brought back from there.

    Attributes:
        kind: One of ``NORMALISATIONS``.
        mean: m. [hidden]
        spread: s. [hidden]
        norm: r.
    """

    kind: str
    mean: Tensor
    spread: Tensor
    norm: float

    @property
    def inverse(self) -> Tensor:
        """1/s [hidden], and 0 where there is no spread."""
        varies = self.spread > _STILL * self.spread.max()
        return torch.where(varies, 1 / self.spread, 0.0)

    def to(self, device: torch.device | str) -> Scaling:
        """The same scaling elsewhere, in fp32."""
        return replace(
            self, mean=self.mean.to(device).float(), spread=self.spread.to(device).float()
        )

    def apply(self, hidden: Tensor) -> Tensor:
        """States h [..., hidden] on one scale: x, in fp32."""
        hidden = hidden.float()
        if self.kind == UNIT:
            return hidden * (self.norm / length(hidden))
        if self.kind == STANDARDISE:
            return (hidden - self.mean) * self.inverse
        return hidden


UNSCALED = Scaling(NONE, torch.zeros(0), torch.zeros(0), 1.0)


def directions(weight: Tensor, scalings: Sequence[Scaling]) -> dict[str, Tensor]:
    """What reads and writes directions that were learnt from scaled states.

    Args:
        weight: w of each concept, of length one. [concepts, hidden]
        scalings: Each concept's, all of one kind.

    Returns:
        In fp32, as a dictionary holds them: ``weight``, which is added; of ``standardise`` also
        ``encoder`` and ``bias``, with the ``mean`` and ``spread`` that they follow from; of
        ``unit`` also ``norm``.
    """
    kind = scalings[0].kind
    if kind == UNIT:
        return {"weight": weight, "norm": torch.tensor([own.norm for own in scalings])}
    if kind == NONE:
        return {"weight": weight}
    mean = torch.stack([own.mean for own in scalings])
    spread = torch.stack([own.spread for own in scalings])
    encoder = weight.double() * torch.stack([own.inverse for own in scalings])
    found = {
        "weight": weight * spread,
        "encoder": encoder,
        "bias": -(encoder * mean).sum(1),
        "mean": mean,
        "spread": spread,
    }
    return {name: own.float() for name, own in found.items()}
