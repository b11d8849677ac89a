"""What a run says to this plugin, by ``--metadata`` and by the model's arguments; read once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, InstanceOf
from pydantic.dataclasses import dataclass

from harness import (
    AssistantSpec,
    DataError,
    HarnessError,
    JudgeError,
    Source,
    choose,
    keyed,
    read_options,
)

PLUGIN = "axbench"
HUB = "pyvene/axbench-concept10"
SUBSET = "prod_2b_l10_v1"
WRITER, TEMPLATE = "axbench_writer", "template"

_NO_WRITER = (
    f'steering prompts need a writer: --metadata \'{{"{WRITER}": {{"model": '
    f'"local-chat-completions", "model_args": {{…}}}}}}\' (any lm-eval model), or '
    f"{WRITER}={TEMPLATE} for a fixed sentence"
)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _place(value: object) -> str | None:
    return str(value) if value else None


def _concepts(value: object) -> object:
    if not isinstance(value, (list, tuple)) or not value:
        raise DataError(
            f"axbench_concepts={value}: give a list of concept ids, as in --metadata "
            f"axbench_concepts=[0,3,5]"
        )
    return value


def _factors(value: object) -> tuple[float, ...]:
    """Each factor once, in the order given."""
    if value is None:
        return ()
    numbers = value if isinstance(value, (list, tuple)) else ()
    if not numbers or not all(_is_factor(number) for number in numbers):
        raise DataError(
            f"axbench_factors={value}: give a list of positive numbers, as in --metadata "
            f"axbench_factors=[0.4,1.0]"
        )
    return tuple(dict.fromkeys(float(number) for number in numbers))


def _is_factor(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"axbench_imbalanced={value}: give a number of negatives, as in =3600")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"axbench_f1_without_hard={value}: write true or false")
    return value


def _writer(value: object) -> AssistantSpec | str:
    """The writer, the secrets of its arguments sealed in place; each task of a run saves them."""
    if value is None:
        raise HarnessError(_NO_WRITER)
    if value == TEMPLATE:
        return TEMPLATE
    try:
        return AssistantSpec.parse(value)
    except JudgeError as cause:
        raise HarnessError(f"{WRITER}, which is read as a judge is: {cause}") from cause


_Text = Annotated[str, BeforeValidator(str)]
_Place = Annotated[str | None, BeforeValidator(_place)]
_Name = Annotated[str | None, BeforeValidator(_text)]


@dataclass(
    frozen=True, kw_only=True, config=keyed(PLUGIN, shared=("steering", "method", "intervention"))
)
class RunOptions:
    """What a run asks of AxBench's tasks.

    Attributes:
        data: Where the concept data come from.
        subset: A subset of the hub's data set (``prod_2b_l10_v1``, ``prod_9b_l31_v1``, …).
        hub: The data set on the hub.
        instructions: ``hub``, ``testbed`` or a file; by default from where the data come.
        concepts: Ids of the concepts to evaluate; by default all.
        factors: Factors in the place of those that the method has.
        baseline: An earlier run that the win rate is against.
        imbalanced: How many sampled negatives to detect among; 0 for none.
        f1_without_hard: Whether detection also says its F1 without hard negatives.
        writer: Who writes the steering prompts, or ``template``.
        steering: Folder of the dictionary that the model steers with.
        method: The method that steers.
        intervention: How it steers.
    """

    data: InstanceOf[Source] = Source("hub", HUB, "data")
    subset: _Text = SUBSET
    hub: _Text = HUB
    instructions: _Text = ""
    concepts: Annotated[tuple[Any, ...] | None, BeforeValidator(_concepts)] = None
    factors: Annotated[tuple[float, ...], BeforeValidator(_factors)] = ()
    baseline: _Place = None
    imbalanced: Annotated[int, BeforeValidator(_count)] = 0
    f1_without_hard: Annotated[bool, BeforeValidator(_flag)] = False
    writer: Annotated[
        InstanceOf[AssistantSpec] | Literal["template"] | None, BeforeValidator(_writer)
    ] = None
    steering: _Place = None
    method: _Name = None
    intervention: _Name = None

    def prompt_writer(self) -> AssistantSpec | None:
        """The writer of the steering prompts; None for the template, the testbed's default.

        Raises:
            HarnessError: None is named and the data are not the testbed's.
        """
        if self.writer is None and self.data.kind != "testbed":
            raise HarnessError(_NO_WRITER)
        return self.writer if isinstance(self.writer, AssistantSpec) else None


def run_options(metadata: Mapping[str, Any]) -> RunOptions:
    """A run's options.

    Args:
        metadata: A task's run-level metadata.

    Raises:
        DataError: A key of the plugin is misspelt, a value is none that it takes, or the data's
            source is missing.
        HarnessError: The writer has a wrong key.
    """
    source = choose(metadata, plugin=PLUGIN, hub=str(metadata.get(f"{PLUGIN}_hub", HUB)))
    return read_options(RunOptions, {**metadata, f"{PLUGIN}_data": source}, prefix=f"{PLUGIN}_")
