"""PCA: the first principal component of a concept's positives.

Wu et al. 2025 (arXiv 2501.17148), §4; as a way to a concept's direction Marks & Tegmark 2023
(arXiv 2310.06824).

    w_c = argmax_{‖w‖ = 1} Σ_t ((h_t − h̄)·w)²,   h_t ∈ H⁺_c

H⁺ are the activations of all tokens of the concept's positives, h̄ their mean. Worked example:
tokens (3, 1), (1, 1) and (−1, 1) have the mean (1, 1) and the component (±1, 0).

The component is the largest eigenvector of XᵀX, X the centred tokens, found by ARPACK's Lanczos
iteration, which needs nothing but products with X: XᵀX is never formed. Products are in fp32,
the iteration is in fp64.

The sign of a component is arbitrary. By default it is the one under which the concept's positives
score, on average over tokens, at least as high as the negatives of its genre; a score that
falls where the concept is present would measure the toss of a coin. This one bit is what the method
takes from the negatives. ``pca.sign=largest`` makes the entry of largest magnitude positive
instead, as scikit-learn's PCA does; it looks at no negative.
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
from harness_axbench.methods.base import Lesson, Method, Stored, unit
from harness_axbench.methods.diffmean import DiffMean

SIGNS = ("negatives", "largest")
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ComponentSettings:
    """Settings of methods whose direction is a principal component.

    Attributes:
        sign: ``negatives``: positives score at least as high as they do on average; ``largest``:
            the entry of largest magnitude is positive.

    Raises:
        HarnessError: It is neither.
    """

    sign: str = "negatives"

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise HarnessError(f"setting sign={self.sign} is not one of {', '.join(SIGNS)}")


class PCA(Method):
    """First principal components of positives."""

    name: ClassVar[str] = "pca"
    settings: ClassVar[type] = ComponentSettings

    @classmethod
    def points(cls, corpus: Corpus, places: Sequence[int], seed: int) -> Tensor:
        """The vectors [n, hidden] whose component is taken, of a concept's positives."""
        return corpus.tokens(places)

    @classmethod
    def train(cls, lesson: Lesson) -> Stored:
        from tqdm import tqdm

        corpus = lesson.texts
        rows = []
        concepts = list(zip(lesson.concepts, corpus.positive, strict=True))
        for concept, places in tqdm(concepts, desc=cls.name, unit="concept"):
            found = first_component(cls.points(corpus, places, lesson.seed))
            if found is None:
                raise DataError(
                    f"{cls.name}: the positives of concept {concept.id} ({concept.text!r}) do not "
                    f"vary, so they have no principal component; give it more texts"
                )
            rows.append(found)
        weight = torch.stack(rows)
        if lesson.settings.sign == "largest":
            towards = weight.gather(1, weight.abs().argmax(1, keepdim=True))
        else:
            higher = DiffMean.train(lesson).tensors["weight"].double()
            towards = (weight * higher).sum(1, keepdim=True)
        return Stored(tensors={"weight": unit(torch.where(towards < 0, -weight, weight))})


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
