"""What a run says of judging: ``--metadata judge=…, judge_strict=…, judge_max_unscored=…``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness.data.options import keyed, read_options
from harness.errors import JudgeError

MAX_UNSCORED = 0.5
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


@dataclass(frozen=True, kw_only=True, config=keyed("judge", shared=("judge",)))
class JudgeOptions:
    """A run's options of judging.

    Attributes:
        judge: A model's name, an object, or a list of these; None or ``none`` to judge later;
            ``SILENT`` where the run does not say.
        strict: Whether a response without a valid rating counts as the lowest.
        max_unscored: The largest share of responses that may stay without a rating.
    """

    judge: Any = SILENT
    strict: Annotated[bool, BeforeValidator(_strict)] = False
    max_unscored: Annotated[float, BeforeValidator(_share)] = MAX_UNSCORED


def judge_options(metadata: Mapping[str, Any]) -> JudgeOptions:
    """The options of judging among a run's metadata.

    Raises:
        JudgeError: A value is none of its kind.
        DataError: A key is misspelt.
    """
    return read_options(JudgeOptions, metadata)
