"""What a run of ``astral_safety`` is given: the keys of ``--metadata`` that are the plugin's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness import JudgeError, Source, choose, keyed, read_options

_ADVICE = (
    "A suite can come from: --metadata astral_data=FOLDER or FILE.jsonl (harness astral generate "
    "makes one), astral_data=OWNER/NAME (a data set on the hub; needs network), or "
    "astral_data=testbed (embedded)"
)


def _truth(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise JudgeError(f"astral_see_prompt={value} is neither true nor false")
    return str(value).lower() == "true"


def _teller(value: object) -> object:
    if value not in ("oracle", "pattern"):
        raise JudgeError(f"astral_refusal={value}: it is oracle or pattern")
    return value


def _share(value: Any) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise JudgeError(f"astral_max_unknown={value} is not a share between 0 and 1")
    return share


def _place(value: object) -> str:
    return str(value) if value else ""


@dataclass(frozen=True, kw_only=True, config=keyed("astral", shared=("data", "astral_data")))
class RunOptions:
    """The keys of a run.

    Attributes:
        data: The run's data, for all plugins.
        astral_data: The suite: a folder, a JSONL file, a data set on the hub, or ``testbed``.
        see_prompt: Whether oracles see the prompt.
        max_unknown: The largest share of judged outputs that may be ``unknown``.
        refusal: Who tells whether a benign twin was declined: an oracle, or the output's wording.
        labels: The file of human labels; empty for none.
    """

    data: Annotated[str | None, BeforeValidator(str)] = None
    astral_data: Annotated[str | None, BeforeValidator(str)] = None
    see_prompt: Annotated[bool, BeforeValidator(_truth)] = True
    max_unknown: Annotated[float, BeforeValidator(_share)] = 0.5
    refusal: Annotated[Literal["oracle", "pattern"], BeforeValidator(_teller)] = "oracle"
    labels: Annotated[str, BeforeValidator(_place)] = ""

    def source(self) -> Source:
        """Where the suite is.

        Not asked for where saved samples are judged again: the suite may then be gone.

        Raises:
            DataError: It is neither an existing path, nor an id of the hub, nor ``testbed``.
        """
        key, given = "astral_data", self.astral_data
        if given is None:
            key, given = "data", self.data or ""
        value = given.strip()
        is_id = value.count("/") == 1 and all(value.split("/")) and not value.startswith((".", "~"))
        if is_id and not value.endswith(".jsonl") and not Path(value).exists():
            return Source("hub", value, key)
        return choose({key: value}, plugin="astral", advice=_ADVICE)


def run_options(metadata: Mapping[str, Any]) -> RunOptions:
    """The options of a run, read once.

    Args:
        metadata: A task's run-level metadata.

    Raises:
        DataError: A key is misspelt.
        JudgeError: A value is none that its key takes.
    """
    return read_options(RunOptions, metadata, prefix="astral_")
