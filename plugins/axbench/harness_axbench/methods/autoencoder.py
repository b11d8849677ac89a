"""Sparse autoencoders: read from a file or through SAELens, and what their features say of a token.

Rajamanoharan et al. 2024 (JumpReLU, arXiv 2407.14435), as published by GemmaScope (Lieberum et al.
2024, arXiv 2408.05147):

    x = h·W_enc + b_enc,   z = x where x > θ, else 0,   ĥ = z·W_dec + b_dec

A plain ReLU autoencoder is the case θ = 0. Files are ``params.npz`` as GemmaScope has them, with
W_enc [hidden, features], W_dec [features, hidden], b_enc, threshold [features] and b_dec [hidden],
or safetensors of the same names; a ``cfg.json`` beside it, as SAELens writes it, is minded. Some
autoencoders encode h − b_dec instead of h: their bias is b_enc − b_dec·W_enc here.

Decoder rows are taken as they are published, of whatever length: GemmaScope's have length one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from harness import ArtefactError, HarnessError
from harness.artefacts.reading import fitting, read_json
from harness.errors import one_line
from harness_axbench.dictionary.directions import JUMPRELU, activate
from harness_axbench.dictionary.tensor_files import arrays, check_finite

_NAMES = {name.lower(): name for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")}
_FILES = ("params.npz", "sae_weights.safetensors")
_KNOWN = ("jumprelu", "standard")
_ADVICE = "give one of: sae.path=FILE (params.npz or safetensors), sae.release=… with sae.id=…"


@dataclass(frozen=True)
class Config:
    """What ``cfg.json`` says of an autoencoder; further entries are let pass."""

    architecture: str = _KNOWN[0]
    apply_b_dec_to_input: bool = False
    normalize_activations: str | None = "none"

    @classmethod
    def of(cls, given: object, where: object) -> Config:
        """From what was read.

        Raises:
            ArtefactError: An entry is of a wrong type, or the kind is not supported.
        """
        found = fitting(cls, given, where, ArtefactError)
        if found.architecture not in _KNOWN or found.normalize_activations not in (None, "none"):
            raise ArtefactError(
                f"{where}: architecture {found.architecture!r} with normalize_activations "
                f"{found.normalize_activations!r} is not supported; JumpReLU and ReLU autoencoders "
                f"of plain activations are"
            )
        return found


@dataclass(frozen=True)
class Autoencoder:
    """A sparse autoencoder, in fp32.

    Attributes:
        encoder: [hidden, features]
        decoder: [features, hidden]
        bias: What is added to h·encoder, b_dec's part included. [features]
        threshold: θ. [features]
    """

    encoder: Tensor
    decoder: Tensor
    bias: Tensor
    threshold: Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], config: object, name: str) -> Autoencoder:
        """From published tensors.

        Args:
            tensors: By GemmaScope's names; ``b_dec`` and ``threshold`` may be missing.
            config: What ``Config`` is of.
            name: For messages.

        Raises:
            ArtefactError: A tensor is missing, has another shape or values that are not finite, or
                the kind is not supported.
        """
        told = Config.of(config, name)
        width, features = _sizes({key: tuple(own.shape) for key, own in tensors.items()}, name)
        own = {_NAMES[key.lower()]: v.float() for key, v in tensors.items() if _known(key)}
        check_finite(own, name)
        bias = own["b_enc"]
        own.setdefault("threshold", torch.zeros(features))
        if told.apply_b_dec_to_input:
            bias = bias - own.get("b_dec", torch.zeros(width)) @ own["W_enc"]
        return cls(own["W_enc"], own["W_dec"], bias, own["threshold"])

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return len(self.bias)

    def encode(self, hidden: Tensor, features: slice = slice(None)) -> Tensor:
        """Features z [..., features] of activations [..., hidden]."""
        x = hidden @ self.encoder[:, features] + self.bias[features]
        return activate(x, self.threshold[features], JUMPRELU)

    def directions(self, features: Tensor) -> dict[str, Tensor]:
        """What a dictionary stores of these features [n]: see ``directions``."""
        return {
            "weight": self.decoder[features].contiguous(),
            "encoder": self.encoder.T[features].contiguous(),
            "bias": self.bias[features],
            "threshold": self.threshold[features],
        }

    def to(self, device: torch.device) -> Autoencoder:
        """The same autoencoder elsewhere."""
        parts = (self.encoder, self.decoder, self.bias, self.threshold)
        return Autoencoder(*(part.to(device) for part in parts))


@lru_cache(maxsize=1)
def load(path: str, release: str, sae_id: str) -> Autoencoder:
    """The autoencoder of a file or folder, or of a release that SAELens knows.

    Raises:
        HarnessError: Neither or both are named, or SAELens is not installed.
        ArtefactError: The file is missing or damaged, or its kind is not supported.
    """
    if bool(path) == bool(release and sae_id) or bool(release) != bool(sae_id):
        raise HarnessError(f"a sparse autoencoder is needed: {_ADVICE}")
    return _from_file(Path(path).expanduser()) if path else _from_sae_lens(release, sae_id)


def _from_file(path: Path) -> Autoencoder:
    inside = [path / name for name in _FILES if (path / name).is_file()]
    file = inside[0] if inside else path
    if not file.is_file():
        raise ArtefactError(f"{path}: no sparse autoencoder there; {_ADVICE}")
    beside = file.with_name("cfg.json")
    config = read_json(beside) if beside.is_file() else {}
    with arrays(file) as found:
        _sizes({key: own.shape for key, own in found.items()}, str(file))
        tensors = {key: own.load() for key, own in found.items() if _known(key)}
        return Autoencoder.of(tensors, config, str(file))


def _known(name: str) -> bool:
    return name.lower() in _NAMES


def _sizes(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, int]:
    """Width and number of features, which all shapes go with.

    Raises:
        ArtefactError: A tensor is missing, or has another shape.
    """
    own = {_NAMES[key.lower()]: shape for key, shape in shapes.items() if _known(key)}
    missing = [key for key in ("W_enc", "W_dec", "b_enc") if key not in own]
    if missing:
        there = one_line(", ".join(shapes), 200)
        raise ArtefactError(f"{name} lacks {', '.join(missing)}; it has {there}")
    width, features = (*own["W_enc"], 0, 0)[:2]
    expected = {
        "W_enc": (width, features),
        "W_dec": (features, width),
        "b_enc": (features,),
        "threshold": (features,),
        "b_dec": (width,),
    }
    for key, shape in own.items():
        if shape != expected[key] or 0 in shape:
            raise ArtefactError(
                f"{name}: {key} has the shape {list(shape)}, not {list(expected[key])}"
            )
    return width, features


def _from_sae_lens(release: str, sae_id: str) -> Autoencoder:
    try:
        from sae_lens import SAE
    except ImportError as cause:
        raise HarnessError(
            "sae.release= needs SAELens: pip install sae-lens; or give sae.path=FILE"
        ) from cause
    try:
        found = SAE.from_pretrained(release, sae_id, device="cpu")
    except (OSError, ValueError, KeyError) as cause:
        raise ArtefactError(f"SAELens: {release}, {sae_id} cannot be loaded: {cause}") from cause
    return Autoencoder.of(found.state_dict(), found.cfg.to_dict(), f"{release}/{sae_id}")
