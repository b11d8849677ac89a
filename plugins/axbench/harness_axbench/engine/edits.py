"""How one request is edited, as it travels with it to vLLM's workers.

A request may have several edits. They are made one after another, each on what the one before has
left, so that additions commute and the rest does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import HarnessError
from harness_axbench.steering.positions import Positions
from harness_axbench.steering.steering import ADD, Steering

KEY = "steering"  # of SamplingParams.extra_args
MOST = 8
"""Edits of one request, at most; a step's tables have as many columns."""


@dataclass(frozen=True)
class Edit:
    """One edit of a request.

    Attributes:
        place: Row of its concept among the directions.
        scale: s of the intervention.
        intervention: As in ``interventions``.
        begin: First position that is edited, counted from the prompt's first token.
        end: First position behind it that is not; None for no end.
    """

    place: int
    scale: float
    intervention: str
    begin: int
    end: int | None


def edit_of(steering: Steering | None, positions: Positions, prompt: int) -> Edit | None:
    """What is done to a request; None where it is nothing.

    Args:
        steering: How the request is steered.
        positions: Where.
        prompt: Number of the prompt's tokens.
    """
    if steering is None or (steering.intervention == ADD and steering.scale == 0):
        return None
    begin, end = positions.span(prompt)
    return Edit(steering.place, steering.scale, steering.intervention, begin, end)


def message_of(edits: Sequence[Edit]) -> tuple[str, list[dict[str, Any]]]:
    """Key and value in ``SamplingParams.extra_args``.

    Raises:
        HarnessError: They are too many.
    """
    if len(edits) > MOST:
        raise HarnessError(f"{len(edits)} edits of one request; {MOST} at most")
    return KEY, [asdict(edit) for edit in edits]


def edits_in(extra_args: Mapping[str, Any] | None) -> tuple[Edit, ...]:
    """From a request's ``SamplingParams.extra_args``; none where it is not steered."""
    return tuple(Edit(**one) for one in (extra_args or {}).get(KEY, ()))


def salt_of(dictionary: str, method: str, edits: Sequence[Edit]) -> str:
    """What keeps a request's computed prefixes apart from those that are edited otherwise.

    Args:
        dictionary: The dictionary's SHA-256.
        method: Of its methods.
        edits: The request's.
    """
    return f"{dictionary}:{method}:{tuple(edits)}"
