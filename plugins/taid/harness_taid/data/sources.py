"""Where the exchanges come from: a table, a folder of tables, a data set on the hub, the testbed.

A row is an exchange in one of the forms of ``rows``; ``HuggingFaceH4/ultrachat_200k`` has messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import DataError, Row, find_table, read_table
from harness.artefacts.checksums import digest
from harness.artefacts.hub import reason
from harness.data.sources import FORMATS

TESTBED = "testbed"
TESTBED_ROWS = 3000
TESTBED_SEED = 2_000_000
"""Far from the seeds of the texts that the testbed's models were trained on."""

TRAIN_NAMES = ("train_sft", "train")
DEV_NAMES = ("test_sft", "validation", "dev", "test")


@dataclass(frozen=True)
class Source:
    """A data set, before it is read.

    Attributes:
        name: As the user gave it.
        files: The tables of ``train`` and perhaps ``dev``; none for the hub and the testbed.
        split: The split on the hub; by default the first of ``TRAIN_NAMES`` that is there.
        revision: The revision on the hub.
        option: What the user gave it by, for messages.
    """

    name: str
    files: Mapping[str, Path]
    split: str = ""
    revision: str = "main"
    option: str = "data"

    @classmethod
    def of(
        cls, name: str, *, split: str = "", revision: str = "main", option: str = "data"
    ) -> Source:
        """Find a data set without reading it.

        Raises:
            DataError: There is no such file or folder, or the name is none of a data set.
        """
        place = Path(name).expanduser()
        if name == TESTBED:
            return cls(name, {}, option=option)
        if place.is_file():
            return cls(name, {"train": place}, option=option)
        if place.is_dir():
            return cls(name, _tables(place, option), option=option)
        looks_local = place.suffix[1:] in FORMATS or name.startswith(("/", ".", "~"))
        if looks_local or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise DataError(
                f"{option} {name}: no such file or folder; give testbed, a table "
                f"({', '.join(FORMATS)}), a folder with train.jsonl, or owner/name on the hub"
            )
        return cls(name, {}, split, revision, option)

    def as_dict(self) -> dict[str, Any]:
        """For the record: names without their folders, and contents' hashes."""
        if self.files:
            return {
                part: {"file": path.name, "sha256": digest(path)}
                for part, path in self.files.items()
            }
        if self.name == TESTBED:
            from harness.testbed.english.corpus import corpus_hash

            return {"testbed": corpus_hash()}
        return {"hub": self.name, "split": self.split, "revision": self.revision}

    def rows(self, limit: int | None = None) -> list[Row]:
        """The rows to train on, the first ``limit`` of them.

        Raises:
            DataError: They cannot be read, or there are none.
        """
        if self.name == TESTBED:
            found = _testbed(limit or TESTBED_ROWS)
        elif self.files:
            found = read_table(self.files["train"])[:limit]
        else:
            names = (self.split,) if self.split else TRAIN_NAMES
            found = _from_hub(self, names, limit)
        if not found:
            raise DataError(f"{self.option} {self.name}: there are no rows")
        return found

    def dev_rows(self, limit: int) -> list[Row]:
        """The rows of the data set's own split for evaluation; none where it has none.

        Raises:
            DataError: They cannot be read.
        """
        if limit == 0 or self.name == TESTBED or (self.files and "dev" not in self.files):
            return []
        if self.files:
            return read_table(self.files["dev"])[:limit]
        return _from_hub(self, DEV_NAMES, limit, needed=False)


def _tables(folder: Path, option: str) -> dict[str, Path]:
    train, dev = find_table(folder, TRAIN_NAMES), find_table(folder, DEV_NAMES)
    if train is None:
        names = ", ".join(TRAIN_NAMES)
        raise DataError(f"{option} {folder}: no table of {names} (.{', .'.join(FORMATS)}) is in it")
    return {"train": train} | ({"dev": dev} if dev else {})


def _testbed(count: int) -> list[Row]:
    """Instructions with their answers, and requests with their refusals."""
    from harness.testbed.english.corpus import language_model_texts

    texts = language_model_texts(2 * count + 100, TESTBED_SEED)
    rows = [
        {"prompt": prompt, "response": response}
        for kind, prompt, response in texts
        if kind != "fact"
    ]
    return rows[:count]


def _from_hub(
    source: Source, names: Sequence[str], limit: int | None, *, needed: bool = True
) -> list[Row]:
    import datasets

    try:
        there = datasets.get_dataset_split_names(source.name, revision=source.revision)
        split = next((name for name in names if name in there), None)
        if split is None and not needed:
            return []
        if split is None:
            raise DataError(
                f"{source.option} {source.name}: no split {' or '.join(names)}; "
                f"there are {', '.join(there)}"
            )
        part = split if limit is None else f"{split}[:{limit}]"
        return list(datasets.load_dataset(source.name, split=part, revision=source.revision))
    except DataError:
        raise
    except Exception as cause:  # the hub's clients raise dozens of types
        said = reason(cause, source.name, kind="dataset")
        raise DataError(
            f"{source.option} {source.name} cannot be read from the hub: {said}. Or give testbed, "
            "or a table of your own"
        ) from cause
