"""Interventions: how a block's output is edited, row by row.

Every intervention adds a multiple of the concept's direction w, h ← h + c·w. With z the direction's
score of that very activation and s = factor · max_act:

    add        c = s                      Wu et al. 2025 (arXiv 2501.17148), Eq. 6
    clamp      c = s − z                  ibid., SAE clamping: the score becomes s
    min_clamp  c = max(s, z) − z          the score becomes at least s
    null_out   c = −ReLU(h·w + b)/‖w‖²    the direction is taken out (RePS, arXiv 2505.20809)

Worked example: w = (1, 0), h = (3, 5), s = 2, linear score z = 3. add → (5, 5); clamp → (2, 5);
min_clamp → (3, 5); null_out → (0, 5).

Deviations: rows of different kind, factor and concept share a batch, each by its own numbers (the
reference's clamp gives all rows of a batch one factor). The paper clamps sparse autoencoders alone,
as here. The reference's code also clamps vectors, by h − ReLU(h·w)·w + s·w behind the prefix, and
leaves the prefix as it is. Here that is the clamp of ReFT-r1 and SSV with ``positions=P:``, P being
the prefix's length. Of linear methods (DiffMean, PCA, LAT, LinearProbe) the clamp takes out a
negative h·w too, so that the score becomes s whatever it was, as in lm-eval's own ``steered``:
where h·w < 0 it moves further than the reference's, by −h·w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness_axbench.dictionary.directions import Directions, activate
from harness_axbench.steering.steering import CLAMP, KINDS, MIN_CLAMP, NULL_OUT

if TYPE_CHECKING:
    from harness_axbench.steering.steering import Steering


@dataclass(frozen=True)
class RowEdits:
    """How each row is edited; a row that is left alone adds 0.

    Attributes:
        weight: [rows, hidden]
        encoder: [rows, hidden]
        bias: [rows]
        threshold: [rows]
        scale: s of each row. [rows]
        kind: Place in ``KINDS``. [rows]
        activation: As in ``Directions``.
        plain: Whether every row adds, so that no score is needed.
    """

    weight: Tensor
    encoder: Tensor
    bias: Tensor
    threshold: Tensor
    scale: Tensor
    kind: Tensor
    activation: str
    plain: bool

    @classmethod
    def of(cls, directions: Directions, rows: Sequence[Steering | None]) -> RowEdits:
        """The edits of a batch whose row i is steered by ``rows[i]``."""
        places = torch.tensor([0 if row is None else row.place for row in rows])
        kinds = [0 if row is None else KINDS.index(row.intervention) for row in rows]
        device = directions.weight.device
        index = places.to(device)
        scale = torch.tensor([0.0 if row is None else row.scale for row in rows])
        return cls(
            weight=directions.weight[index],
            encoder=directions.encoder[index],
            bias=directions.bias[index],
            threshold=directions.threshold[index],
            scale=scale.to(device, directions.weight.dtype),
            kind=torch.tensor(kinds, device=device),
            activation=directions.activation,
            plain=not any(kinds),
        )

    def select(self, index: Tensor) -> RowEdits:
        """The edits of other rows: ``index`` [n] says which of these each is."""
        return replace(
            self,
            weight=self.weight[index],
            encoder=self.encoder[index],
            bias=self.bias[index],
            threshold=self.threshold[index],
            scale=self.scale[index],
            kind=self.kind[index],
        )

    def coefficients(self, hidden: Tensor) -> Tensor:
        """The multiple c for every activation.

        Args:
            hidden: [rows, tokens, hidden], or [rows, hidden] with a row a token.

        Returns:
            [rows, tokens] or [rows].
        """

        def spread(values: Tensor) -> Tensor:
            return values.unsqueeze(-1) if hidden.dim() == 3 else values

        def along(vectors: Tensor) -> Tensor:
            if hidden.dim() == 3:
                return (hidden @ vectors.unsqueeze(-1)).squeeze(-1)
            return (hidden * vectors).sum(-1)

        scale = spread(self.scale)
        if self.plain:
            return scale.expand(hidden.shape[:-1])
        bias, kind = spread(self.bias), spread(self.kind)
        z = activate(along(self.encoder) + bias, spread(self.threshold), self.activation)
        length = spread(self.weight.square().sum(-1)).clamp_min(torch.finfo(hidden.dtype).tiny)
        removed = -(along(self.weight) + bias).clamp_min(0) / length
        found = torch.where(kind == KINDS.index(CLAMP), scale - z, scale)
        found = torch.where(kind == KINDS.index(MIN_CLAMP), torch.maximum(scale, z) - z, found)
        return torch.where(kind == KINDS.index(NULL_OUT), removed, found)

    def apply(self, hidden: Tensor, where: Tensor | None = None) -> Tensor:
        """The edited activations.

        Args:
            hidden: As for ``coefficients``.
            where: Which tokens are edited, of the shape of the coefficients; None for all.
        """
        read = hidden if self.plain else hidden.to(self.weight.dtype)
        c = self.coefficients(read).unsqueeze(-1)
        if where is not None:
            c = c * where.unsqueeze(-1)
        weight = self.weight.unsqueeze(1) if hidden.dim() == 3 else self.weight
        return hidden + (c * weight).to(hidden.dtype)
