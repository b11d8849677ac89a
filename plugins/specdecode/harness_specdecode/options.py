"""A run's options, read once from ``--metadata`` and ``--model_args``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness import DataError, Source, choose, keyed, read_options
from harness_specdecode.requests import BATCH_SIZES, DRAFTERS, DRAWS, GAMMAS, OWN

HUB = "https://raw.githubusercontent.com/hemingkx/Spec-Bench/main/data/spec_bench/question.jsonl"
PLUGIN = "specbench"
DEFAULT_DRAWS = 100


def _draws(value: object) -> object:
    if not isinstance(value, int) or value < 2:
        raise DataError(f"{DRAWS}={value}: give a whole number of at least 2")
    return value


def _listed(key: str, read: Callable[[Any], Any], wanted: str) -> BeforeValidator:
    """Reads a list, given as JSON or with + between the values; each value once."""

    def listed(value: Any) -> tuple[Any, ...]:
        given = value.split("+") if isinstance(value, str) else value
        parts = given if isinstance(given, list | tuple) else [given]
        try:
            found = tuple(dict.fromkeys(read(part) for part in parts))
        except (TypeError, ValueError):
            found = ()
        if not found:
            raise DataError(f"{key}={value}: give {wanted}")
        return found

    return BeforeValidator(listed)


def _count(value: Any) -> int:
    number = int(value)
    if number < 1 or str(number) != str(value).strip():
        raise ValueError
    return number


def _drafter(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


_WHOLE = "whole numbers of at least 1, as in "
_PREFIXES = ("invariance_", "coupling_", f"{PLUGIN}_")
_KEYS = (DRAFTERS, GAMMAS, BATCH_SIZES, DRAWS)


@dataclass(frozen=True, kw_only=True, config=keyed(PLUGIN, shared=_KEYS))
class RunOptions:
    """What a run says to the tasks of speculative decoding.

    Attributes:
        invariance_drafters: What ``specdecode_invariance`` decodes with.
        invariance_gammas: Tokens a round, at most.
        invariance_batch_sizes: Rows decoded together.
        coupling_draws: How often ``specdecode_coupling`` samples each coupling at each position.
        data: Where the prompts come from: ``specbench_data`` or ``data``.
    """

    invariance_drafters: Annotated[
        tuple[str, ...], _listed(DRAFTERS, _drafter, "names, as in own+ngram+early:1")
    ] = (OWN, "ngram", "early:1")
    invariance_gammas: Annotated[tuple[int, ...], _listed(GAMMAS, _count, f"{_WHOLE}1+3+8")] = (
        1,
        3,
        5,
        8,
    )
    invariance_batch_sizes: Annotated[
        tuple[int, ...], _listed(BATCH_SIZES, _count, f"{_WHOLE}1+8")
    ] = (1, 8)
    coupling_draws: Annotated[int, BeforeValidator(_draws)] = DEFAULT_DRAWS
    data: Source


def run_options(metadata: Mapping[str, Any]) -> RunOptions:
    """The options of speculative decoding among a run's metadata.

    Raises:
        DataError: The source is not there, a value is none of its kind, or a key is misspelt.
    """
    source = choose(metadata, plugin=PLUGIN, hub=HUB)
    return read_options(RunOptions, {**metadata, f"{PLUGIN}_data": source}, prefix=_PREFIXES)
