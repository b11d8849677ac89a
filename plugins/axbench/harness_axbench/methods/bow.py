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

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from harness import ArtefactError
from harness.artefacts.reading import fitting
from harness_axbench.data.concepts import whole_text
from harness_axbench.methods.base import Lesson, Stored, TextMethod


@dataclass(frozen=True)
class _Values:
    vocabulary: list[str]


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
    def train(cls, lesson: Lesson) -> Stored:
        from tqdm import tqdm

        rows: list[dict[str, float]] = []
        intercepts = []
        for concept in tqdm(lesson.concepts, desc="bow", unit="concept"):
            positive = lesson.data.positives(concept)
            negative = lesson.data.negatives(concept.genre)
            counter = CountVectorizer()
            counts = counter.fit_transform([whole_text(row) for row in [*positive, *negative]])
            labels = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
            fitted = LogisticRegression(C=100, solver="lbfgs", max_iter=1000).fit(counts, labels)
            words = map(str, counter.get_feature_names_out())
            rows.append(dict(zip(words, fitted.coef_[0].tolist(), strict=True)))
            intercepts.append(float(fitted.intercept_[0]))
        return cls._stored(rows, intercepts)

    @classmethod
    def join(cls, parts: Sequence[Stored]) -> Stored:
        rows: list[dict[str, float]] = []
        for part in parts:
            words = part.values["vocabulary"]
            values, columns = part.tensors["values"].tolist(), part.tensors["columns"].tolist()
            starts = part.tensors["starts"].tolist()
            for start, end in itertools.pairwise(starts):
                own = zip(columns[start:end], values[start:end], strict=True)
                rows.append({words[column]: value for column, value in own})
        return cls._stored(rows, torch.cat([part.tensors["intercepts"] for part in parts]).tolist())

    @classmethod
    def _stored(cls, rows: Sequence[Mapping[str, float]], intercepts: Sequence[float]) -> Stored:
        column: dict[str, int] = {}
        columns = [column.setdefault(word, len(column)) for row in rows for word in row]
        values = [value for row in rows for value in row.values()]
        starts = np.cumsum([0, *map(len, rows)])
        tensors = {
            "values": torch.tensor(values, dtype=torch.float64),
            "columns": torch.tensor(columns, dtype=torch.int64),
            "starts": torch.from_numpy(starts.astype(np.int64)),
            "intercepts": torch.tensor(intercepts, dtype=torch.float64),
        }
        return Stored(tensors=tensors, values={"vocabulary": list(column)})

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> BagOfWords:
        words = fitting(_Values, values, "the vocabulary", ArtefactError).vocabulary
        if len(set(words)) < len(words) or not words:
            raise ArtefactError("the vocabulary is empty, or has a word twice")
        kinds = dict.fromkeys(("values", "intercepts"), torch.float64)
        for name, kind in (kinds | dict.fromkeys(("columns", "starts"), torch.int64)).items():
            if name not in tensors or tensors[name].dim() != 1 or tensors[name].dtype != kind:
                raise ArtefactError(f"a tensor '{name}' of one dimension and {kind} is needed")
        parts = tuple(tensors[name].numpy() for name in ("values", "columns", "starts"))
        found, _, starts = parts  # scipy looks at these in fewer cases than it goes by them
        whole = len(starts) == len(tensors["intercepts"]) + 1 and starts[0] == 0
        if not whole or starts[-1] != len(found) or (np.diff(starts) < 0).any():
            raise ArtefactError("the rows of the coefficients do not begin where others end")
        shape = (len(tensors["intercepts"]), len(words))
        try:
            coefficients = csr_matrix(parts, shape=shape)
            coefficients.check_format(full_check=True)
        except ValueError as cause:
            raise ArtefactError(f"the coefficients do not go together: {cause}") from cause
        return cls(words, coefficients, tensors["intercepts"].numpy())

    def scores(self, texts: Sequence[str]) -> Tensor:
        counts = CountVectorizer(vocabulary=self.vocabulary).transform(texts)
        odds = (counts @ self.coefficients.T).toarray() + self.intercepts
        return torch.from_numpy(np.asarray(odds))
