"""A run's options, read once from ``--metadata``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness import DataError, keyed, read_options
from harness.errors import meant

SPLITS = ("test", "dev")


def _split(key: str) -> BeforeValidator:
    def split(value: object) -> str:
        if str(value) not in SPLITS:
            raise DataError(f"{key}={value}: {meant(value, SPLITS)}")
        return str(value)

    return BeforeValidator(split)


_SOURCES = ("data", "aggrefact_data", "core_data", "fact_check_data")
_KEYED = keyed("factcg", shared=(*_SOURCES, "aggrefact_split", "core_split", "core_threshold"))
TUNED = "tuned"


def _threshold(value: Any) -> float | str:
    try:
        given = TUNED if value == TUNED else float(value)
    except (TypeError, ValueError):
        given = -1.0
    if given != TUNED and not 0 < float(given) < 1:
        raise DataError(f"core_threshold={value}: a number between 0 and 1, or {TUNED}")
    return given


@dataclass(frozen=True, kw_only=True, config=_KEYED)
class RunOptions:
    """What a run says to the tasks of FactCG.

    Attributes:
        data: Where rows come from: hub, testbed, or a folder or file.
        aggrefact_data: The same for LLM-AggreFact alone.
        core_data: For ``factcg_core`` alone.
        fact_check_data: For ``fact_check`` alone.
        aggrefact_split: Of LLM-AggreFact, test or dev; None where the run does not say.
        core_split: Of WiCE.
        core_threshold: The score above which CoRe's answers are yes, or ``tuned``: the best one on
            LLM-AggreFact's dev claims of WiCE.
    """

    data: Any = None
    aggrefact_data: Any = None
    core_data: Any = None
    fact_check_data: Any = None
    aggrefact_split: Annotated[str | None, _split("aggrefact_split")] = None
    core_split: Annotated[str, _split("core_split")] = SPLITS[0]
    core_threshold: Annotated[float | str, BeforeValidator(_threshold)] = 0.5

    def sources(self) -> dict[str, Any]:
        """The switches of data that the run sets, for ``harness.choose``."""
        given = {name: getattr(self, name) for name in _SOURCES}
        return {name: value for name, value in given.items() if value is not None}


def run_options(metadata: Mapping[str, Any]) -> RunOptions:
    """The options of FactCG among a run's metadata.

    Raises:
        DataError: A value is none of its kind, or a key is misspelt.
    """
    return read_options(RunOptions, metadata)
