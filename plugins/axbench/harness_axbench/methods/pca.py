"""PCA: the first principal component of a concept's positives.

Wu et al. 2025 (arXiv 2501.17148), §4; as a way to a concept's direction Marks & Tegmark 2023
(arXiv 2310.06824).

    w_c = argmax_{‖w‖ = 1} Σ_t ((h_t − h̄)·w)²,   h_t ∈ H⁺_c

H⁺ are the activations of all tokens of the concept's positives, h̄ their mean. Worked example:
tokens (3, 1), (1, 1) and (−1, 1) have the mean (1, 1) and the component (±1, 0).

The component is the largest eigenvector of XᵀX, X the centred tokens, found by ARPACK's Lanczos
iteration, which needs nothing but products with X: XᵀX is never formed. Products are in fp32,
the iteration is in fp64.

The sign of a component is arbitrary. By default it is the one that detects the concept better in
the texts it is learnt from: the AUROC of largest token scores, positives against the negatives of
the genre. A score that falls where the concept is present would measure the toss of a coin. This
one bit is what the method takes from the negatives. Under ``pca.sign=means`` positives score at
least as high as negatives on average over tokens instead, which may steer better and detect worse;
``pca.sign=largest`` makes the entry of largest magnitude positive and looks at no negative.

Deviations: the reference takes scikit-learn's sign, which is ``largest``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh  # type: ignore[import-untyped]
from torch import Tensor

from harness import DataError, HarnessError
from harness_axbench.activations.corpus import Corpus
from harness_axbench.activations.normalising import Scaling
from harness_axbench.dictionary.directions import Directions
from harness_axbench.methods.base import Lesson, Method, Stored, unit
from harness_axbench.methods.diffmean import differences

SIGNS = ("auroc", "means", "largest")
_TOLERANCE = 1e-9
_EQUAL = 1e-5  # of the largest score: rounding, where texts share the token that scores highest


@dataclass(frozen=True)
class ComponentSettings:
    """Settings of methods whose direction is a principal component.

    Attributes:
        sign: ``auroc``: the one that detects the training texts better; ``means``: positives score
            at least as high as negatives on average; ``largest``: the entry of largest magnitude is
            positive.

    Raises:
        HarnessError: It is neither.
    """

    sign: str = "auroc"

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise HarnessError(f"setting sign={self.sign} is not one of {', '.join(SIGNS)}")


class PCA(Method):
    """First principal components of positives."""

    name: ClassVar[str] = "pca"
    normalises: ClassVar[bool] = True
    settings: ClassVar[type] = ComponentSettings

    @classmethod
    def points(cls, corpus: Corpus, places: Sequence[int], scaling: Scaling, seed: int) -> Tensor:
        """The vectors [n, hidden] whose component is taken, of a concept's positives."""
        return scaling.apply(corpus.tokens(places))

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        from tqdm import tqdm

        corpus = lesson.texts
        rows = []
        concepts = list(zip(lesson.concepts, corpus.positive, lesson.scalings, strict=True))
        for concept, places, scaling in tqdm(concepts, desc=cls.name, unit="concept"):
            found = first_component(cls.points(corpus, places, scaling, lesson.seed))
            if found is None:
                raise DataError(
                    f"{cls.name}: the positives of concept {concept.id} ({concept.text!r}) do not "
                    f"vary, so they have no principal component; give it more texts"
                )
            rows.append(found)
        weight = torch.stack(rows)
        weight = weight * weight.gather(1, weight.abs().argmax(1, keepdim=True)).sign()
        if lesson.settings.sign == "auroc":
            read = Directions.of(lesson.stored(unit(weight)).tensors, cls.activation)
            flipped = detects_reversed(corpus, read)
            weight = torch.where(flipped.unsqueeze(1), -weight, weight)
        elif lesson.settings.sign == "means":
            higher = differences(lesson).cpu().double()
            weight = torch.where((weight * higher).sum(1, keepdim=True) < 0, -weight, weight)
        return lesson.stored(unit(weight))


def detects_reversed(corpus: Corpus, read: Directions) -> Tensor:
    """Whether −w tells a concept's positives from its negatives better than w does.

    Args:
        corpus: The texts, with negatives.
        read: A direction a concept.

    Returns:
        [concepts]
    """
    placed = read.to(corpus.device)
    behind = [placed.scores(corpus.states(at).float()) for at in range(len(corpus.texts))]
    forwards = torch.stack([scores.amax(0) for scores in behind])
    backwards = torch.stack([-scores.amin(0) for scores in behind])
    found = []
    pairs = zip(corpus.positive, corpus.negative, strict=True)
    for concept, (positive, negative) in enumerate(pairs):
        along, against = (
            _pairs_won(own[list(positive), concept], own[list(negative), concept])
            for own in (forwards, backwards)
        )
        found.append(against > along)
    return torch.tensor(found)


def _pairs_won(positive: Tensor, negative: Tensor) -> int:
    """In how many more pairs the positive scores higher than lower: AUROC, but for its scale."""
    difference = positive.unsqueeze(1) - negative
    least = _EQUAL * float(torch.cat([positive, negative]).abs().max())
    return int((difference > least).sum() - (difference < -least).sum())


def first_component(points: Tensor) -> Tensor | None:
    """The first principal component, of either sign.

    Args:
        points: Vectors. [n, hidden]

    Returns:
        A vector of length one in fp64 [hidden]; None where there is none, all points being equal.
    """
    if bool((points == points[:1]).all()):
        return None
    centred = points.float() - points.mean(0, dtype=torch.float64).float()
    width = centred.shape[1]

    def times(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        own = torch.from_numpy(vector.ravel()).to(centred.device, torch.float32)
        product: np.ndarray[Any, Any] = (centred.T @ (centred @ own)).double().cpu().numpy()
        return product

    start = np.random.default_rng(0).standard_normal(width)
    operator = LinearOperator((width, width), matvec=times, dtype=np.float64)
    _, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=_TOLERANCE)
    return torch.from_numpy(vectors[:, 0])
