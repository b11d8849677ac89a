"""Scores of texts by a dictionary's method: one pass over unique texts, for all their concepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from harness_axbench.activations import Reader
from harness_axbench.data import whole_text
from harness_axbench.methods import VectorMethod, find, sequence_scores
from harness_axbench.steering import Plan

TextAndConcept = tuple[str, str, int]
"""Input, output, concept id."""


def concept_scores(
    plan: Plan,
    docs: Sequence[Mapping[str, Any]],
    *,
    weight: Tensor | None,
    reader: Callable[[], Reader],
) -> dict[TextAndConcept, float]:
    """The score of every text for every concept it is asked for.

    Args:
        plan: The dictionary and the method.
        docs: Rows with ``input``, ``output`` and ``concept_id``.
        weight: The method's vectors [concepts, hidden]; None if it scores words.
        reader: Makes what reads activations; called if the method needs them.

    Raises:
        ArtefactError: The dictionary lacks a concept.
    """
    texts: dict[tuple[str, str], Mapping[str, Any]] = {}
    wanted: dict[tuple[str, str], dict[int, int]] = {}
    for doc in docs:
        text, number = (doc["input"], doc["output"]), int(doc["concept_id"])
        texts[text] = doc
        wanted.setdefault(text, {})[number] = plan.found.place(number)
    rows = list(texts.values())
    found: dict[TextAndConcept, float] = {}

    def take(row: Mapping[str, Any], scores: Tensor) -> None:
        for number, place in wanted[row["input"], row["output"]].items():
            found[row["input"], row["output"], number] = float(scores[place])

    if weight is None:
        words = plan.found.text_method(plan.method)
        for row, scores in zip(rows, words.scores([whole_text(r) for r in rows]), strict=True):
            take(row, scores)
        return found
    kind = find(plan.method)
    assert issubclass(kind, VectorMethod)
    for batch in reader().stream(rows, "texts to score"):
        tokens = kind.token_scores(batch.hidden, weight.to(batch.hidden.device))
        pooled = sequence_scores(tokens, batch.counted).cpu()
        for place, own in zip(batch.texts, pooled, strict=True):
            take(rows[place], own)
    return found
