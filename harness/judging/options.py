"""What a run says of judging: ``--metadata judge=…, judge_strict=…, judge_scope=…``, and so on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness.data.options import keyed, read_options
from harness.errors import JudgeError

MAX_UNSCORED = 0.5
ALL, SCORE, RACE = "all", "score", "race"
SCOPES = (ALL, SCORE, RACE)
SILENT = object()


def _strict(value: object) -> bool:
    if value not in (None, "reference"):
        raise JudgeError(f"judge_strict={value}: the only rule is judge_strict=reference")
    return value == "reference"


def _share(value: object) -> float:
    try:
        share = float(str(value))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise JudgeError(f"judge_max_unscored={value} is not a share between 0 and 1")
    return share


def _scope(value: object) -> str:
    if value not in SCOPES:
        raise JudgeError(f"judge_scope={value}: choose one of {', '.join(SCOPES)}")
    return str(value)


@dataclass(frozen=True, kw_only=True, config=keyed("judge", shared=("judge",)))
class JudgeOptions:
    """A run's options of judging.

    Attributes:
        judge: A model's name, an object, or a list of these; None or ``none`` to judge later;
            ``SILENT`` where the run does not say.
        strict: Whether a response without a valid rating counts as the lowest.
        max_unscored: The largest share of responses that may stay without a rating, of those that
            the judge is asked about.
        scope: Which responses are judged: ``all``; ``score``, those that the score depends on; or
            ``race``, fewer than that, with an error. What it means, and whether, a task says.
    """

    judge: Any = SILENT
    strict: Annotated[bool, BeforeValidator(_strict)] = False
    max_unscored: Annotated[float, BeforeValidator(_share)] = MAX_UNSCORED
    scope: Annotated[str, BeforeValidator(_scope)] = ALL


def judge_options(metadata: Mapping[str, Any]) -> JudgeOptions:
    """The options of judging among a run's metadata.

    Raises:
        JudgeError: A value is none of its kind.
        DataError: A key is misspelt.
    """
    return read_options(JudgeOptions, metadata)
