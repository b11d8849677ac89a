"""A run's options, read once from ``--metadata`` and ``--model_args``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness import DataError, Source, choose, keyed, read_options
from harness.errors import meant
from harness_taid.requests import REFERENCE, TEXTS

HUB = "HuggingFaceH4/ultrachat_200k"
ROWS = 500


def _rows(value: object) -> object:
    if not isinstance(value, int) or value < 1:
        raise DataError(f"rows={value}: give a whole number of at least 1")
    return value


def _along(value: object) -> str:
    if str(value) not in TEXTS:
        raise DataError(f"along={value}: {meant(value, TEXTS)}")
    return str(value)


def _seed(value: object) -> object:
    if not isinstance(value, int):
        raise DataError(f"sample_seed={value}: give a whole number")
    return value


@dataclass(
    frozen=True,
    kw_only=True,
    config=keyed("taid", shared=("rows", "along", "sample_seed")),
)
class RunOptions:
    """What a run says to the tasks of TAID.

    Attributes:
        data: Where held-out rows come from: ``taid_data`` or ``data``.
        rows: Rows that are read at most.
        along: The texts along which the models are compared: reference, student or teacher.
        sample_seed: Of the student's samples.
    """

    data: Source
    rows: Annotated[int, BeforeValidator(_rows)] = ROWS
    along: Annotated[str, BeforeValidator(_along)] = REFERENCE
    sample_seed: Annotated[int, BeforeValidator(_seed)] = 0


def run_options(metadata: Mapping[str, Any]) -> RunOptions:
    """The options of TAID among a run's metadata.

    Raises:
        DataError: The source is not there, a value is none of its kind, or a key is misspelt.
    """
    source = choose(metadata, plugin="taid", hub=HUB)
    return read_options(RunOptions, {**metadata, "taid_data": source}, prefix="taid_")
