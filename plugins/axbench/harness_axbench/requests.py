"""Keys of rows and notes: what a request asks of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STEERING = "steering"
"""The note of a prompt that says how it is steered; None where it is not."""


def wants_detection(request: Any) -> bool:
    """Whether a request asks for a concept's score of a text, instead of for words."""
    return isinstance(request.doc, Mapping) and bool(request.doc.get("detect"))


def names_concept(request: Any) -> bool:
    """Whether a request's row says itself which concept it is for."""
    return isinstance(request.doc, Mapping) and request.doc.get("concept_id") is not None
