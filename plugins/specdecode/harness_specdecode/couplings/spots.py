"""Output positions of rows: their noise is made once, and serves the draft and the check."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness_specdecode.couplings.noise import Noise

_AT_ONCE = 1 << 16  # numbers: noise for all positions costs little more than for one


@dataclass
class Spot:
    """Output positions of each row; noise made for the draft serves the check as well.

    Args:
        keys: Request keys [n].
        positions: Output positions, one [n] or several [n, m] of each row.
    """

    keys: Tensor
    positions: Tensor
    _gumbel: Tensor | None = None
    _columns: dict[int, Spot] = field(default_factory=dict)
    _of: tuple[Spot, int | slice] | None = None

    def column(self, j: int) -> Spot:
        """The j-th position of each row."""
        if j not in self._columns:
            self._columns[j] = Spot(self.keys, self.positions[:, j], _of=(self, j))
        return self._columns[j]

    def first(self, m: int) -> Spot:
        """The first m positions of each row."""
        return Spot(self.keys, self.positions[:, :m], _of=(self, slice(m)))

    def and_of(self, places: Tensor) -> Spot:
        """These positions, and some of them again [n, L]."""
        positions = torch.cat([self.positions, self.positions.gather(1, places)], 1)
        return Branched(self.keys, positions, chain=self, places=places)

    def gumbel(self, noise: Noise, vocabulary: int) -> Tensor:
        """Shared Gumbel noise [n, V] or [n, m, V]."""
        if self._gumbel is None or self._gumbel.shape[-1] != vocabulary:
            self._gumbel = self._made(noise, vocabulary)
        return self._gumbel

    def _made(self, noise: Noise, vocabulary: int) -> Tensor:
        if self._of is not None:
            whole, which = self._of
            drafting = isinstance(which, int)
            at_once = drafting and whole.positions.numel() * vocabulary <= _AT_ONCE
            if at_once or whole._gumbel is not None:
                return whole.gumbel(noise, vocabulary)[:, which]
            if not drafting and whole._columns:
                columns = [whole.column(j) for j in range(self.positions.shape[1])]
                return torch.stack([column.gumbel(noise, vocabulary) for column in columns], 1)
        return noise.gumbel(self.keys, self.positions, vocabulary)


@dataclass
class Branched(Spot):
    """Positions of a chain, and of tokens beside it, which have the chain's noise."""

    chain: Spot = field(kw_only=True)
    places: Tensor = field(kw_only=True)

    def _made(self, noise: Noise, vocabulary: int) -> Tensor:
        whole = self.chain.gumbel(noise, vocabulary)
        rows = torch.arange(len(whole), device=whole.device).unsqueeze(-1)
        return torch.cat([whole, whole[rows, self.places]], 1)
