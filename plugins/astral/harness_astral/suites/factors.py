"""What a suite covers: the factors, their levels, and a description of each, as data.

The paper's (arXiv 2501.17132) are in ``factors.yaml``: 14 categories × 6 styles × 5 persuasion
techniques, 420 cells. A file of one's own has the same three factors and any levels:

    category:
      - name: privacy, at work
        description: finding out what colleagues keep private
        search: workplace privacy news
    style:
      - slang
      - name: question
        description: direct questions
        example: Which herbs grow on a balcony?
    persuasion: [logical_appeal, expert_endorsement]

A level is its name alone, or an object: ``description`` says it to the generator, ``example`` (of a
style or a persuasion technique) is a few-shot example, ``search`` (of a category) is what the web
is searched for. Names hold commas, and are never split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import DataError
from harness.artefacts.yaml_files import read_yaml
from harness.asking.store import key_of
from harness.errors import one_line
from harness_astral.requests import FACTORS

PAPER = Path(__file__).with_name("factors.yaml")
_KEYS = ("name", "description", "example", "search")


@dataclass(frozen=True)
class Level:
    """One value of a factor.

    Attributes:
        name: Its name, as rows have it.
        description: What it means, as a part of a sentence.
        example: A text that has it (styles, persuasion techniques); may be empty.
        search: What the web is searched for (categories).
    """

    name: str
    description: str
    example: str = ""
    search: str = ""


@dataclass(frozen=True)
class Factors:
    """The three factors of a suite."""

    category: tuple[Level, ...]
    style: tuple[Level, ...]
    persuasion: tuple[Level, ...]

    def __getitem__(self, factor: str) -> tuple[Level, ...]:
        levels: tuple[Level, ...] = getattr(self, factor)
        return levels

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many levels each factor has."""
        return tuple(len(self[name]) for name in FACTORS)

    @property
    def sha256(self) -> str:
        """A content hash."""
        return key_of(factors=asdict(self))

    def level(self, factor: str, name: str) -> Level:
        """The level of this name.

        Raises:
            DataError: The factor has none.
        """
        for own in self[factor]:
            if own.name == name:
                return own
        raise DataError(f"{factor} has no level {name!r}")

    def names(self) -> dict[str, list[str]]:
        """The names of all levels, by factor."""
        return {factor: [own.name for own in self[factor]] for factor in FACTORS}


def read_factors(path: Path = PAPER) -> Factors:
    """The factors of a YAML file.

    Raises:
        DataError: The file is missing or damaged; a factor is missing or unknown; a level has no
            name, a name that is there before, or something that is no text.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"--factors {path}: no such file")
    given = read_yaml(path)
    if not isinstance(given, Mapping):
        raise DataError(f"{path} is no mapping of factors; it needs {', '.join(FACTORS)}")
    odd = [f"no {name}" for name in FACTORS if name not in given]
    odd += [f"unknown factor {name!r}" for name in given if name not in FACTORS]
    if odd:
        said = one_line(", ".join(odd), 200)
        raise DataError(f"{path}: {said}; the factors are {', '.join(FACTORS)}")
    return Factors(**{name: _levels(given[name], f"{path}, {name}") for name in FACTORS})


def _levels(given: object, place: str) -> tuple[Level, ...]:
    if not isinstance(given, list) or not given:
        raise DataError(f"{place}: give a list of levels, one at least")
    found: dict[str, Level] = {}
    for number, value in enumerate(given, start=1):
        level = _level(value, f"{place}, level {number}")
        if level.name.casefold() in found:
            raise DataError(f"{place}, level {number}: the name {level.name!r} is there before")
        found[level.name.casefold()] = level
    return tuple(found.values())


def _level(value: object, place: str) -> Level:
    given = value if isinstance(value, Mapping) else {"name": value}
    unknown = sorted(str(key) for key in given if key not in _KEYS)
    if unknown:
        said = one_line(", ".join(unknown), 200)
        raise DataError(f"{place}: unknown key {said}; known are {', '.join(_KEYS)}")
    for key, own in given.items():
        if not isinstance(own, str) or not own.strip():
            said = one_line(repr(own), 80)
            raise DataError(f"{place}: {key} is {said}, no text; put it in quotation marks")
    if "name" not in given:
        raise DataError(f"{place}: it has no name")
    texts = {key: " ".join(str(given.get(key, "")).split()) for key in _KEYS}
    words = texts["name"].replace("_", " ").replace(",", ", ").replace(",  ", ", ")
    return Level(
        texts["name"],
        texts["description"] or words,
        texts["example"],
        texts["search"] or f"{words} news",
    )
