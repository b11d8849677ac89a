"""BoW: bag of words and logistic regression, the baseline without a model.

Wu et al. 2025 (arXiv 2501.17148), appendix of baselines.

    P_c(y = 1 | x) = σ(v_c · counts(x) + b_c)

Words and counts are scikit-learn's ``CountVectorizer`` with its defaults, fitted for each concept
on its positives and the negatives of its genre; the regression is l2 with C = 100, lbfgs, 1,000
iterations. The text of a row is input, line break, output, without a chat template.

Deviations: the score is the log-odds v·counts + b instead of P: the same order, and no ties where P
rounds to 0 or 1. All concepts share one vocabulary in the artefact; a word that a concept has not
seen in training has the coefficient 0 there, which is what its own vocabulary would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from harness_axbench.data import ConceptData, whole_text
from harness_axbench.methods import TextMethod


class BagOfWords(TextMethod):
    """Sparse coefficients [concepts, words] over a shared vocabulary.

    Args:
        vocabulary: The words, in the order of the columns.
        coefficients: The coefficients. [concepts, words]
        intercepts: The intercepts. [concepts]
    """

    name: ClassVar[str] = "bow"

    def __init__(
        self, vocabulary: Sequence[str], coefficients: csr_matrix, intercepts: np.ndarray[Any, Any]
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.coefficients = coefficients
        self.intercepts = intercepts

    @classmethod
    def train(cls, data: ConceptData) -> BagOfWords:
        from tqdm import tqdm

        column: dict[str, int] = {}
        values: list[np.ndarray[Any, Any]] = []
        columns: list[np.ndarray[Any, Any]] = []
        starts, intercepts = [0], []
        for concept in tqdm(data.concepts, desc="bow", unit="concept"):
            positive, negative = data.positives(concept), data.negatives(concept.genre)
            counter = CountVectorizer()
            counts = counter.fit_transform([whole_text(row) for row in [*positive, *negative]])
            labels = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
            fitted = LogisticRegression(C=100, solver="lbfgs", max_iter=1000).fit(counts, labels)
            words = counter.get_feature_names_out()
            values.append(fitted.coef_[0])
            columns.append(np.array([column.setdefault(str(w), len(column)) for w in words]))
            starts.append(starts[-1] + len(words))
            intercepts.append(float(fitted.intercept_[0]))
        shape = (len(data.concepts), len(column))
        parts = (np.concatenate(values), np.concatenate(columns), np.array(starts))
        return cls(list(column), csr_matrix(parts, shape=shape), np.array(intercepts))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        arrays = {
            "values": self.coefficients.data,
            "columns": self.coefficients.indices.astype(np.int64),
            "starts": self.coefficients.indptr.astype(np.int64),
            "intercepts": self.intercepts,
        }
        return {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}, {
            "vocabulary": self.vocabulary
        }

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> BagOfWords:
        words = values["vocabulary"]
        parts = tuple(tensors[name].numpy() for name in ("values", "columns", "starts"))
        shape = (len(tensors["intercepts"]), len(words))
        return cls(words, csr_matrix(parts, shape=shape), tensors["intercepts"].numpy())

    def scores(self, texts: Sequence[str]) -> Tensor:
        counts = CountVectorizer(vocabulary=self.vocabulary).transform(texts)
        odds = (counts @ self.coefficients.T).toarray() + self.intercepts
        return torch.from_numpy(np.asarray(odds))
