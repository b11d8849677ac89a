"""Options are read once: values as their fields say, one line for what is none, no key ignored."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from harness import DataError, keyed, read_options


def _share(value: object) -> float:
    share = float(str(value))
    if not 0 <= share <= 1:
        raise DataError(f"fruit_share={value} is not a share")
    return share


@dataclass(frozen=True, kw_only=True, config=keyed("fruit", shared=("steering",)))
class Options:
    ripe: bool = True
    count: int = 3
    share: Annotated[float, BeforeValidator(_share)] = 0.5
    steering: str | None = None


def read(**given: Any) -> Options:
    return read_options(Options, given, prefix="fruit_")


def test_values_come_as_the_command_line_gives_them() -> None:
    assert read(fruit_ripe="false", fruit_count="7", steering="d", version=1.0) == Options(
        ripe=False, count=7, steering="d"
    )
    assert read() == Options()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fruit_count": "x"}, r"^--metadata fruit_count=x: Input should be a valid integer"),
        ({"fruit_cuont": 1}, r"^--metadata fruit_cuont=…: .* did you mean fruit_count\?$"),
        ({"fruit_colour": 1}, r"there are fruit_ripe, fruit_count, fruit_share, steering$"),
        ({"sterring": "x"}, r"did you mean steering\?$"),
        ({"fruit_share": 2}, r"^fruit_share=2 is not a share$"),
    ],
)
def test_what_is_none_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(**given)
    assert "\n" not in str(caught.value)


def test_they_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        read().count = 4  # type: ignore[misc]
