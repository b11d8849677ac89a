"""SAE and SAE-A: a feature of a sparse autoencoder as the concept's direction.

Wu et al. 2025 (arXiv 2501.17148), §4 and appendix; the autoencoders are described in
``autoencoder``.

    z_f(h) = x where x = h·w_enc,f + b_f > θ_f, else 0      scores a token
    h ← h + factor · max_act · w_dec,f                      steers

    SAE    f is the feature whose description the concept is: the data's ``ref`` or ``sae_id``
    SAE-A  f = argmax_f AUROC(max_t z_f) over the concept's training texts

AUROC is the share of pairs of a positive and a negative in which the positive's score is higher,
ties counting one half. Worked example: positives with 0 and 3, negatives with 0 and 1: of four
pairs two are in order, one is tied, one is not: 5/8.

With ``intervention=clamp`` or ``min_clamp`` the same directions are clamped as in the paper.
Decoder rows are used as published, without scaling. Of equally good features SAE-A takes the first.
max_act comes from the data, as for the other methods; Neuronpedia's is not asked for.

Deviation: SAE-A counts ranks for all features at once, by sorting and bisecting, in slices of the
features, so that memory is bounded for wide autoencoders.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness import ArtefactError, DataError
from harness_axbench.activations.corpus import Corpus
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.directions import JUMPRELU
from harness_axbench.methods import autoencoder
from harness_axbench.methods.autoencoder import Autoencoder
from harness_axbench.methods.base import Lesson, Method, Stored

_SLICE = 16_384
_FEATURE = re.compile(r"(?:^|/)(\d+)/?$")


@dataclass(frozen=True)
class SaeSettings:
    """Which autoencoder: ``path``, or ``release`` and ``id``.

    Attributes:
        path: ``params.npz`` or safetensors, or a folder with one.
        release: SAELens's name of a release, such as ``gemma-scope-2b-pt-res-canonical``.
        id: SAELens's name of one in it, such as ``layer_20/width_16k/canonical``.
    """

    path: str = ""
    release: str = ""
    id: str = ""


class SAE(Method):
    """The features whose descriptions the concepts are."""

    name: ClassVar[str] = "sae"
    uses_outputs: ClassVar[bool] = False
    activation: ClassVar[str] = JUMPRELU
    settings: ClassVar[type] = SaeSettings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        own = opened(lesson)
        features = [feature_of(concept, own.n_features) for concept in lesson.concepts]
        chosen = torch.tensor(features)
        return Stored(tensors=own.directions(chosen), each={"feature": features})


class SaeByAuroc(Method):
    """The features that tell the training texts apart best."""

    name: ClassVar[str] = "sae_a"
    activation: ClassVar[str] = JUMPRELU
    settings: ClassVar[type] = SaeSettings

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        own, corpus = opened(lesson), lesson.texts
        best = torch.full((len(lesson.concepts),), -1.0)
        features = torch.zeros(len(lesson.concepts), dtype=torch.long)
        placed = own.to(corpus.device)
        for start in range(0, own.n_features, _SLICE):
            pooled = _largest(placed, corpus, slice(start, start + _SLICE))
            pairs = zip(corpus.positive, corpus.negative, strict=True)
            for place, (positive, negative) in enumerate(pairs):
                value, found = aurocs(pooled[list(positive)], pooled[list(negative)]).max(0)
                if float(value) > float(best[place]):
                    best[place], features[place] = float(value), start + int(found)
        each = {"feature": features.tolist(), "train_auroc": best.tolist()}
        return Stored(tensors=own.directions(features), each=each)


def opened(lesson: Lesson) -> Autoencoder:
    """The autoencoder that the settings name.

    Raises:
        HarnessError: They name none, or it cannot be loaded.
        ArtefactError: It is for a model of another width.
    """
    settings = lesson.settings
    found = autoencoder.load(settings.path, settings.release, settings.id)
    if found.encoder.shape[0] != lesson.hidden_size:
        raise ArtefactError(
            f"the sparse autoencoder {settings.path or settings.release} is for hidden size "
            f"{found.encoder.shape[0]}; this model's is {lesson.hidden_size}"
        )
    return found


def feature_of(concept: Concept, n_features: int) -> int:
    """The number of the feature whose description a concept is.

    Raises:
        DataError: The data do not say, or there is no such feature.
    """
    found = _FEATURE.search(concept.ref)
    if found is None:
        raise DataError(
            f"sae: concept {concept.id} ({concept.text!r}) names no feature (ref: "
            f"{concept.ref!r}); the data need `ref` in metadata.jsonl or `sae_id` in "
            f"latent_eval_data, or use sae_a"
        )
    feature = int(found[1])
    if feature >= n_features:
        raise DataError(
            f"sae: concept {concept.id} is feature {feature}; this autoencoder has {n_features}"
        )
    return feature


def _largest(own: Autoencoder, corpus: Corpus, features: slice) -> Tensor:
    """Each text's largest z of some features: [texts, features]."""
    from tqdm import tqdm

    places = tqdm(range(len(corpus.texts)), desc="sae_a", unit="text")
    return torch.stack([own.encode(corpus.tokens([at]), features).amax(0) for at in places])


def aurocs(positive: Tensor, negative: Tensor) -> Tensor:
    """AUROC of many scores at once, ties one half.

    Args:
        positive: Scores of positives. [positives, scores]
        negative: Scores of negatives. [negatives, scores]

    Returns:
        In fp64. [scores]
    """
    ordered = negative.T.contiguous().sort(dim=1).values
    sought = positive.T.contiguous()
    below = torch.searchsorted(ordered, sought)
    not_above = torch.searchsorted(ordered, sought, right=True)
    pairs = positive.shape[0] * negative.shape[0]
    return (below + not_above).sum(1).double() / (2 * pairs)
