"""Directions: what a vector method leaves for each concept, and how it reads a token.

A concept's direction is written with w and read with e, which is w unless the method has an encoder
of its own (a sparse autoencoder has). The score of a token's activation h:

    x = h·e + b
    linear    z = x                    DiffMean, PCA, LAT, LinearProbe, Random
    relu      z = max(x, 0)            SSV, ReFT-r1, RePS
    jumprelu  z = x where x > θ, else 0   SAE (Rajamanoharan et al. 2024, arXiv 2407.14435)

Where it was learnt from states of one length (``activations.normalising``), h·e becomes
r·(h·e)/‖h‖.

Worked example: e = (1, 0), b = −1, θ = 2: h = (4, 9) has x = 3, so z = 3 under all three;
h = (2, 0) has x = 1: 1 under linear and relu, 0 under jumprelu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness import ArtefactError
from harness_axbench.activations.normalising import UNIT, length

if TYPE_CHECKING:
    from harness_axbench.dictionary.folder import Dictionary

LINEAR, RELU, JUMPRELU = "linear", "relu", "jumprelu"
ACTIVATIONS = (LINEAR, RELU, JUMPRELU)


def activate(x: Tensor, threshold: Tensor, activation: str) -> Tensor:
    """The score z of x = h·e + b; ``threshold`` broadcasts against x."""
    if activation == LINEAR:
        return x
    if activation == RELU:
        return x.clamp_min(0)
    return torch.where(x > threshold, x.clamp_min(0), torch.zeros_like(x))


@dataclass(frozen=True)
class Directions:
    """One direction a concept.

    Attributes:
        weight: What is added. [concepts, hidden]
        encoder: What is read. [concepts, hidden]
        bias: [concepts]
        threshold: θ of ``jumprelu``. [concepts]
        activation: ``linear``, ``relu`` or ``jumprelu``.
        norm: The length r that states are scaled to before they are read; None for their own.
            [concepts]
    """

    weight: Tensor
    encoder: Tensor
    bias: Tensor
    threshold: Tensor
    activation: str = LINEAR
    norm: Tensor | None = None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], activation: str) -> Directions:
        """From stored tensors: ``weight``, and where present ``encoder``, ``bias`` and so on.

        Raises:
            ArtefactError: A shape does not go with the weight's, a value is not finite, or the
                activation is unknown.
        """
        if activation not in ACTIVATIONS:
            raise ArtefactError(
                f"activation {activation!r} is unknown; there are {', '.join(ACTIVATIONS)}"
            )
        weight = tensors["weight"].float()
        zero = torch.zeros(len(weight))
        found = cls(
            weight=weight,
            encoder=tensors.get("encoder", weight).float(),
            bias=tensors.get("bias", zero).float(),
            threshold=tensors.get("threshold", zero).float(),
            activation=activation,
            norm=tensors["norm"].float() if "norm" in tensors else None,
        )
        shapes = {"encoder": weight.shape, "bias": zero.shape, "threshold": zero.shape}
        shapes |= {} if found.norm is None else {"norm": zero.shape}
        for name, shape in shapes.items():
            own = getattr(found, name)
            if own.shape != shape:
                raise ArtefactError(f"'{name}' has the shape {list(own.shape)}, not {list(shape)}")
        for name in ("weight", *shapes):
            if not bool(torch.isfinite(getattr(found, name)).all()):
                raise ArtefactError(f"'{name}' holds values that are not finite")
        return found

    @classmethod
    def load(cls, found: Dictionary, method: str) -> Directions:
        """A dictionary's directions.

        Raises:
            ArtefactError: The method has none, or its file is damaged or of another shape.
        """
        tensors, facts = found.vectors(method), found.facts(method)
        try:
            made = cls.of(tensors, facts.get("activation", LINEAR))
            if (made.norm is not None) != (facts.get("normalise") == UNIT):
                raise ArtefactError("a tensor 'norm' goes with 'normalise': 'unit' in the manifest")
        except ArtefactError as cause:
            raise ArtefactError(f"{found.folder}: {method}: {cause}") from cause
        return made

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Directions:
        """The same directions elsewhere."""
        return replace(
            self,
            weight=self.weight.to(device, dtype),
            encoder=self.encoder.to(device, dtype),
            bias=self.bias.to(device, dtype),
            threshold=self.threshold.to(device, dtype),
            norm=None if self.norm is None else self.norm.to(device, dtype),
        )

    def scores(self, hidden: Tensor) -> Tensor:
        """Token scores z [..., concepts] of activations [..., hidden]."""
        along = hidden @ self.encoder.T
        if self.norm is not None:
            along = along * (self.norm / length(hidden))
        return activate(along + self.bias, self.threshold, self.activation)
