"""What concept data are made from: a list of concepts, and seed instructions by genre.

A concept file has a concept a line (``.txt``), or is a table (jsonl, json, csv, parquet) with a
column ``concept`` and, where wanted, ``concept_id``, ``ref`` (where the concept comes from) and
``genre``; AxBench's own ``metadata.jsonl`` is such a table.

Instructions come from the hub (Dolly for text, Alpaca's Python instructions for code, GSM8K
for mathematics, as the published data have them), from the testbed, or from a table with a column
``instruction`` and, where wanted, ``genre`` (text where it is missing). Training and evaluation
draw from different instructions: of each genre's, in the order of a hash, the first two thirds are
for training. Every draw is seeded by what it is for, so that another concept in the file changes no
row of the others.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import DataError, Row, read_table
from harness.artefacts.hub import reason
from harness.artefacts.reading import ENCODING, read_bytes
from harness.asking.store import key_of
from harness.errors import one_line
from harness_axbench.data.concepts import LARGEST_ID, text_in

GENRES = ("text", "code", "math")
LONGEST = 500  # characters; instructions are shorter
TRAIN_SHARE = 2 / 3
# Each genre's data set and configuration, the column of instructions, and the column of what some
# instructions refer to: those are left out.
HUB = {
    "text": ("databricks/databricks-dolly-15k", None, "instruction", "context"),
    "code": ("iamtarun/python_code_instructions_18k_alpaca", None, "instruction", "input"),
    "math": ("openai/gsm8k", "main", "question", None),
}


@dataclass(frozen=True)
class ConceptSeed:
    """A concept to make data for; the writer names its genre where the file does not."""

    id: int
    text: str
    ref: str = ""
    genre: str | None = None


@dataclass(frozen=True)
class Instructions:
    """Seed instructions by genre, without repetition, in the order of a hash.

    Attributes:
        source: Where they come from.
        train: For training rows.
        evaluation: For detection rows.
        left_out: How many were empty or too long.
    """

    source: str
    train: Mapping[str, Sequence[str]]
    evaluation: Mapping[str, Sequence[str]]
    left_out: int

    @property
    def sha256(self) -> str:
        """Content hash."""
        return key_of(train=dict(self.train), evaluation=dict(self.evaluation))

    def check(self, genre: str, *, train: int, evaluation: int) -> None:
        """Refuse to draw more than there are.

        Raises:
            DataError: The genre has too few instructions.
        """
        for use, pool, needed in (
            ("training", self.train.get(genre, ()), train),
            ("evaluation", self.evaluation.get(genre, ()), evaluation),
        ):
            if len(pool) < needed:
                raise DataError(
                    f"{self.source}: {len(pool)} instructions of the genre {genre!r} for {use}, "
                    f"too few: {needed} are drawn without repetition. Add instructions (a third of "
                    f"each genre's is kept for evaluation, those of {LONGEST} characters or more "
                    "are left out), ask for fewer rows, or leave the genre out with --genres"
                )


def draw(pool: Sequence[str], count: int, *purpose: object) -> list[str]:
    """Instructions without repetition; equal purposes draw the same."""
    return random.Random(" ".join(map(str, purpose))).sample(list(pool), count)


def read_concepts(path: Path, genres: Sequence[str] = GENRES) -> list[ConceptSeed]:
    """Read a concept file.

    Raises:
        DataError: It is missing, empty or damaged, a number occurs twice, or a concept without
            one does, only some concepts have one, or a genre is unknown.
    """
    rows = _lines(path) if path.suffix == ".txt" else read_table(path, ("concept",))
    if not rows:
        raise DataError(f"{path}: no concept in it")
    numbered = [row for row in rows if row.get("concept_id") not in (None, "")]
    if numbered and len(numbered) < len(rows):
        raise DataError(
            f"{path}: {len(numbered)} of {len(rows)} concepts have a concept_id; give all or none"
        )
    found: dict[int, ConceptSeed] = {}
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        seed = _concept(path, place, row, genres)
        if not numbered and first.setdefault(seed.text, place) < place:
            raise DataError(
                f"{path}, row {place + 1}: {seed.text!r} is there already, in row "
                f"{first[seed.text] + 1}"
            )
        if seed.id in found:
            raise DataError(
                f"{path}, row {place + 1}: concept_id {seed.id} of {seed.text!r} is already that "
                f"of {found[seed.id].text!r}"
            )
        found[seed.id] = seed
    return sorted(found.values(), key=lambda seed: seed.id)


def _lines(path: Path) -> list[Row]:
    try:
        lines = read_bytes(path).decode(ENCODING).splitlines()
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise DataError(f"{path} cannot be read: no UTF-8 at byte {cause.start}") from cause
    return [{"concept": line} for line in lines if line.strip()]


def _concept(path: Path, place: int, row: Row, genres: Sequence[str]) -> ConceptSeed:
    where = f"{path}, row {place + 1}"
    texts = {name: row.get(name) for name in ("concept", "ref", "genre", "concept_genre")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: {name} is a {type(value).__name__}, not a text")
    text = str(row["concept"] or "").strip()
    if not text:
        raise DataError(f"{where}: the concept is empty")
    number = row.get("concept_id")
    try:
        number = place if number in (None, "") else int(str(number))
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST_ID:
        said = one_line(repr(row["concept_id"]), 40)
        raise DataError(f"{where}: concept_id is {said}, not a number from 0 to {LARGEST_ID}")
    genre = row.get("genre") or row.get("concept_genre") or _mapped(row)
    if genre is not None and genre not in genres:
        raise DataError(f"{where}: the genre is {genre!r}, not one of {', '.join(genres)}")
    return ConceptSeed(number, text, str(row.get("ref") or ""), genre)


def _mapped(row: Row) -> Any:
    """The first genre in AxBench's ``concept_genres_map``, {description: [genre, …]}."""
    mapped = row.get("concept_genres_map")
    named = mapped.get(row["concept"]) if isinstance(mapped, Mapping) else None
    return named[0] if isinstance(named, list) and named else None


def read_instructions(where: str, genres: Sequence[str] = GENRES) -> Instructions:
    """The seed instructions of the genres.

    Args:
        where: ``hub``, ``testbed``, or a table.
        genres: Which genres are wanted.

    Raises:
        DataError: They cannot be read.
    """
    if where == "testbed":
        from harness.testbed.english.answers import prompts

        split = {use: {g: _plain(prompts(g, use)) for g in genres} for use in ("train", "eval")}
        return Instructions("testbed", split["train"], split["eval"], 0)
    rows = _from_hub(genres) if where == "hub" else read_table(Path(where), ("instruction",))
    by_genre: dict[str, dict[str, None]] = {genre: {} for genre in genres}
    left_out = 0
    for number, row in enumerate(rows, start=1):
        genre = row.get("genre") or GENRES[0]
        if genre not in GENRES:
            said = one_line(repr(genre), 40)
            raise DataError(f"{where}, row {number}: genre {said} is not one of {GENRES}")
        given = row["instruction"]
        text = (
            "" if given is None else text_in(row, "instruction", f"{where}, row {number}").strip()
        )
        if genre in by_genre and 0 < len(text) < LONGEST:
            by_genre[genre][text] = None
        else:
            left_out += genre in by_genre
    train, evaluation = {}, {}
    for genre, texts in by_genre.items():
        ordered = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())
        cut = math.ceil(len(ordered) * TRAIN_SHARE)
        train[genre], evaluation[genre] = ordered[:cut], ordered[cut:]
    return Instructions(where, train, evaluation, left_out)


def _plain(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [prompt for prompt, _ in pairs]


def _from_hub(genres: Sequence[str]) -> list[Row]:
    import datasets

    rows: list[Row] = []
    for genre in genres:
        name, configuration, column, context = HUB[genre]
        try:
            table = datasets.load_dataset(name, configuration, split="train")
            found = [row for row in table if context is None or not row[context]]
            rows += [{"instruction": row[column], "genre": genre} for row in found]
        except Exception as cause:  # the hub's clients raise dozens of types
            said = reason(cause, name, kind="dataset")
            raise DataError(
                f"--instructions hub: cannot read {name}: {said}. Instructions "
                "can also come from the testbed, or from a FILE with the columns instruction and "
                "genre"
            ) from cause
    return rows
