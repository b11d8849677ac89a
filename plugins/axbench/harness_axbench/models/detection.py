"""Scores of texts by a dictionary's method: one pass over unique texts, for all their concepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from harness import ArtefactError, HarnessError
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import whole_text
from harness_axbench.dictionary.directions import Directions
from harness_axbench.dictionary.folder import Dictionary
from harness_axbench.dictionary.kinds import TEXTS, VECTORS
from harness_axbench.methods import find
from harness_axbench.methods.base import HeadMethod, TextMethod, sequence_scores
from harness_axbench.steering.plan import Plan

TextAndConcept = tuple[str, str, int]
"""Input, output, concept id."""


def concept_scores(
    plan: Plan, docs: Sequence[Mapping[str, Any]], reader: Callable[[], Reader]
) -> dict[TextAndConcept, float]:
    """The score of every text for every concept it is asked for.

    Args:
        plan: The dictionary and the method.
        docs: Rows with ``input``, ``output`` and ``concept_id``.
        reader: Makes what reads activations; called if the method needs them.

    Raises:
        ArtefactError: The dictionary lacks a concept.
        HarnessError: The method scores nothing.
    """
    texts: dict[tuple[str, str], Mapping[str, Any]] = {}
    wanted: dict[tuple[str, str], dict[int, int]] = {}
    for doc in docs:
        text, number = (doc["input"], doc["output"]), int(doc["concept_id"])
        texts[text] = doc
        wanted.setdefault(text, {})[number] = plan.found.place(number)
    rows = [dict(row) for row in texts.values()]
    places = [list(own.values()) for own in wanted.values()]
    scores = _scores(plan, rows, places, reader)
    return {
        (*text, number): score
        for (text, own), found in zip(wanted.items(), scores, strict=True)
        for number, score in zip(own, found, strict=True)
    }


def _scores(
    plan: Plan,
    rows: list[dict[str, Any]],
    places: list[list[int]],
    reader: Callable[[], Reader],
) -> list[list[float]]:
    """For each row the scores for the concepts at these places of the dictionary."""
    if plan.kind == VECTORS:
        return _by_directions(Directions.load(plan.found, plan.method), rows, places, reader())
    if plan.kind == TEXTS:
        scores = text_method(plan.found, plan.method).scores([whole_text(row) for row in rows])
        if scores.shape[1] != len(plan.found.concepts):
            raise ArtefactError(
                f"{plan.found.folder}: {plan.method} scores {scores.shape[1]} concepts, not "
                f"{len(plan.found.concepts)} as the manifest says"
            )
        return [own[at].tolist() for own, at in zip(scores, places, strict=True)]
    kind = find(plan.method)
    if not issubclass(kind, HeadMethod):
        raise HarnessError(f"method={plan.method} edits the model and scores no text")
    tensors, facts = plan.found.tensors(plan.method), plan.found.facts(plan.method)
    return kind.scores(tensors, facts, reader(), rows, places)


def _by_directions(
    directions: Directions, rows: list[dict[str, Any]], places: list[list[int]], reader: Reader
) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in rows]
    placed = directions.to(next(reader.model.parameters()).device)
    for batch in reader.stream(rows, "texts to score"):
        pooled: Tensor = sequence_scores(placed.scores(batch.hidden), batch.counted).cpu()
        for text, own in zip(batch.texts, pooled, strict=True):
            found[text] = own[places[text]].tolist()
    return found


def text_method(found: Dictionary, method: str) -> TextMethod:
    """A dictionary's method that scores texts.

    Raises:
        ArtefactError: It does not, or a file of it is missing or damaged.
    """
    kind = find(method)
    if not issubclass(kind, TextMethod):
        raise ArtefactError(f"{found.folder}: {method} is said to score texts alone; it does not")
    try:
        return kind.load(found.tensors(method), found.values(method))
    except ArtefactError as cause:
        raise ArtefactError(f"{found.folder}: {method}: {cause}") from cause
