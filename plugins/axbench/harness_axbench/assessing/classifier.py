"""Whether a text has a concept, by a classifier on words and letters.

    z_c(x) = v_c · tfidf(x) + b_c          P_c(y = 1 | x) = σ(z_c(x))

Features are words, pairs of words and 3 to 5 letters within words, each weighted by (1 + log count)
· idf; the regression is scikit-learn's, l2 with C = 1, classes weighted alike. Each concept is
fitted on the responses of its training positives and of the negatives of its genre. The log-odds z
become a rating by a scale (``scale``): 0 at the upper quartile of the negatives, 2 at the lower
quartile of the positives, both as four classifiers see them that have each not learnt a quarter of
the rows. A concept whose quartiles do not lie in this order has no rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness import DataError
from harness_axbench.assessing.scale import Scale
from harness_axbench.data.concepts import ConceptData

_FOLDS = 4


class ConceptClassifiers:
    """One classifier a concept, fitted when it is first asked.

    Args:
        data: Has the training rows.
    """

    def __init__(self, data: ConceptData) -> None:
        self._data = data
        self._concepts = {concept.text: concept for concept in reversed(data.concepts)}
        self._fitted: dict[str, tuple[Any, Scale | None]] = {}

    def ratings(self, concept: str, texts: Sequence[str]) -> list[float | None]:
        """How far each text has the concept, from 0 to 2; None where its rows teach nothing.

        Args:
            concept: The concept's description.
            texts: The texts.

        Raises:
            DataError: The data know no such concept.
        """
        if concept not in self._fitted:
            self._fitted[concept] = self._fit(concept)
        classifier, scale = self._fitted[concept]
        if scale is None:
            return [None] * len(texts)
        return [scale.rating(float(odds)) for odds in classifier.decision_function(list(texts))]

    def _fit(self, text: str) -> tuple[Any, Scale | None]:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline, make_union

        if text not in self._concepts:
            raise DataError(
                f"judge 'proxy': {self._data.source} has no concept {text!r}, so there is nothing "
                'to learn it from; name the data of the run as "data" among its model_args'
            )
        concept = self._concepts[text]
        positive = [row["output"] for row in self._data.positives(concept)]
        negative = [row["output"] for row in self._data.negatives(concept.genre)]
        if min(len(positive), len(negative)) < _FOLDS:
            return None, None
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
        letters = TfidfVectorizer(sublinear_tf=True, ngram_range=(3, 5), analyzer="char_wb")
        regression = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced")
        model = make_pipeline(make_union(words, letters), regression)
        texts, labels = positive + negative, np.repeat([1, 0], [len(positive), len(negative)])
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
        odds = cross_val_predict(model, texts, labels, cv=folds, method="decision_function")
        scale = Scale.between(odds[labels == 0], odds[labels == 1])
        return model.fit(texts, labels), scale
