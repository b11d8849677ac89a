"""The folder that generation leaves: ``cg2c.jsonl``, and ``generation.json`` that tells of it.

The manifest holds the recipe, the file's SHA-256, how many pairs there are of each number of hops,
how lengths tell the labels apart, what was left out and why, and what it all cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from harness import ArtefactError, Row
from harness.artefacts import recipes
from harness.artefacts.reading import fitting
from harness.artefacts.schemas import Count
from harness.artefacts.writing import appearing, write_lines
from harness.errors import shown
from harness_factcg.data import cg2c

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "cg2c/1"
FILE = "cg2c.jsonl"
_WORDS = recipes.Words(
    other="other pairs (they differ in: {unlike})",
    flags={"items": "--items or the rows of --source", "wording": "the questions' wording"},
)
_LIBRARIES = ("lm_eval", "networkx", "pydantic")


@dataclass(frozen=True)
class Generated:
    """A folder of pairs, and whether it was there before."""

    folder: Path
    manifest: Mapping[str, Any]
    already_there: bool = False

    @property
    def file(self) -> Path:
        """The pairs."""
        return self.folder / FILE


def kept(folder: Path, recipe: Mapping[str, Any]) -> Generated | None:
    """The pairs already in a folder, if the recipe makes them.

    Raises:
        ArtefactError: Something else is there.
    """
    manifest = recipes.kept(folder, recipe, words=_WORDS)
    if manifest is None:
        return None
    fitting(_Facts, manifest, folder / recipes.MANIFEST, ArtefactError)
    return Generated(folder, manifest, already_there=True)


class _Gap(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    pairs: int
    shorter: int
    longer: int
    median: float


@dataclass(frozen=True)
class _Facts:
    """What is told of a folder; all else in its manifest is not looked at."""

    pairs: Count
    pairs_by_hops: dict[str, Count]
    length_gap: _Gap
    left_out: dict[str, Count]
    costs: dict[str, dict[str, dict[str, Count]]]


def write(
    folder: Path, *, recipe: Mapping[str, Any], rows: Sequence[Row], facts: Mapping[str, Any]
) -> Generated:
    """Write the folder, which must not exist.

    Args:
        folder: Where.
        recipe: What the rows follow from.
        rows: A positive and its negative, pair by pair.
        facts: Further entries of the manifest.

    Raises:
        ArtefactError: The folder has appeared meanwhile, or cannot be written.
    """
    with appearing(folder) as draft:
        write_lines(draft / FILE, rows)
        read = cg2c.read(draft / FILE)  # what cannot be read is not left behind
        hops = Counter(row["hops"] for row in read if row["label"])
        counted = {
            "pairs": len(cg2c.pairs(read)),
            "pairs_by_hops": {str(number): hops[number] for number in sorted(hops)},
            "length_gap": cg2c.length_gap(read).as_dict(),
        }
        manifest = recipes.write_manifest(draft, FORMAT, recipe, {**counted, **facts}, _LIBRARIES)
    return Generated(folder, manifest)


def summary(made: Generated) -> str:
    """One line: pairs by hops, and what was left out."""
    manifest = made.manifest
    by_hops = ", ".join(f"{n} of {hops} hops" for hops, n in manifest["pairs_by_hops"].items())
    text = f"{manifest['pairs']} pairs ({by_hops})"
    if manifest["left_out"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in manifest["left_out"].items())
        text += f"; left out: {reasons}"
    return shown(text)


def gap(made: Generated) -> str:
    """One line: what a document's length tells of its label."""
    return str(cg2c.LengthGap(**made.manifest["length_gap"]))


def tables(made: Generated) -> list[Table]:
    """What each step cost, for the terminal."""
    return [recipes.costs_table(made.manifest["costs"])]
