"""Looking into a dictionary: its files checked, its vectors measured, each concept's neighbours.

A neighbour of a concept is another concept of the same method whose vector points the same way:

    cos(c, d) = w_c · w_d / (‖w_c‖ ‖w_d‖),   0 where a vector has the length 0

Worked example: (3, 0) and (1, 1) have the norms 3 and 1.414 and the cosine 0.707.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import HarnessError
from harness.errors import shown
from harness.reports.files import write_cells
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.folder import Dictionary
from harness_axbench.dictionary.kinds import VECTORS

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from harness.reports.files import Cell

NEIGHBOURS = 3
SHOWN = 50
_CHUNK = 2048  # rows of the matrix of cosines in memory at once


@dataclass(frozen=True)
class File:
    """A file of a dictionary whose SHA-256 is the manifest's."""

    method: str
    name: str
    n_bytes: int


@dataclass(frozen=True)
class Vector:
    """One concept's vector of one method.

    Attributes:
        method: The method.
        concept: The concept.
        norm: Length of the vector that is added.
        max_act: The unit of the steering factor, and where it comes from; None where the method
            has none.
        origin: Where max_act comes from.
        neighbours: The nearest other concepts with their cosines, nearest first.
    """

    method: str
    concept: Concept
    norm: float
    max_act: float | None
    origin: str
    neighbours: tuple[tuple[Concept, float], ...]


def verified(found: Dictionary) -> list[File]:
    """Check every file of a dictionary against the manifest.

    Raises:
        ArtefactError: A file is missing or is not the one the manifest means.
    """
    return [File(method, path.name, path.stat().st_size) for method, path in found.verified()]


def vectors(
    found: Dictionary,
    *,
    methods: Sequence[str] | None = None,
    concept: int | None = None,
    neighbours: int = NEIGHBOURS,
) -> list[Vector]:
    """The vectors of a dictionary, measured.

    Args:
        found: The dictionary.
        methods: Names of methods; by default all that have vectors.
        concept: A concept's id; by default all of them.
        neighbours: How many of the nearest concepts to name.

    Raises:
        ArtefactError: The dictionary lacks a method or the concept, or a method has no vectors.
    """
    if neighbours < 0:
        raise HarnessError("--neighbours is at least 0")
    if methods is None:
        methods = [name for name in found.methods if found.facts(name)["kind"] == VECTORS]
    places = range(len(found.concepts)) if concept is None else [found.place(concept)]
    return [line for name in methods for line in _of(found, name, places, neighbours)]


def _of(found: Dictionary, method: str, places: Sequence[int], neighbours: int) -> list[Vector]:
    weight = found.weight(method)
    norms = weight.norm(dim=1)
    acts = found.facts(method).get("max_act") or [None] * len(weight)
    origins = found.facts(method).get("max_act_origin") or [""] * len(weight)
    near = nearest(weight, places, neighbours)
    return [
        Vector(
            method=method,
            concept=found.concepts[place],
            norm=float(norms[place]),
            max_act=None if acts[place] is None else float(acts[place]),
            origin=str(origins[place]),
            neighbours=tuple((found.concepts[other], cosine) for other, cosine in own),
        )
        for place, own in zip(places, near, strict=True)
    ]


def nearest(weight: Tensor, places: Sequence[int], count: int) -> list[list[tuple[int, float]]]:
    """For some rows the other rows of largest cosine, largest first.

    Args:
        weight: The vectors. [concepts, hidden]
        places: Which rows to find neighbours of.
        count: How many; fewer where there are fewer.
    """
    import torch

    count = min(count, len(weight) - 1)
    if count < 1:
        return [[] for _ in places]
    unit = torch.nn.functional.normalize(weight.float(), dim=1)
    found: list[list[tuple[int, float]]] = []
    for start in range(0, len(places), _CHUNK):
        index = torch.tensor(list(places[start : start + _CHUNK]))
        cosines = unit[index] @ unit.T
        cosines[torch.arange(len(index)), index] = -torch.inf
        best = cosines.topk(count, dim=1)
        for others, values in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            found.append(list(zip(others, values, strict=True)))
    return found


def write_csv(lines: Sequence[Vector], path: Path) -> None:
    """Write measured vectors as a CSV file.

    Raises:
        HarnessError: The file cannot be written.
    """
    most = max((len(line.neighbours) for line in lines), default=0)
    header = ["method", "concept_id", "genre", "concept", "norm", "max_act", "max_act_origin"]
    for number in range(1, most + 1):
        header += [f"nearest_{number}", f"cosine_{number}"]
    rows: list[list[Cell]] = []
    for line in lines:
        one = line.concept
        row: list[Cell] = [
            line.method,
            one.id,
            one.genre,
            one.text,
            line.norm,
            line.max_act,
            line.origin,
        ]
        for other, cosine in line.neighbours:
            row += [other.id, cosine]
        rows.append([*row, *[None] * (len(header) - len(row))])
    write_cells(path, header, rows)


def _told(name: str, facts: Mapping[str, Any]) -> str:
    scaled = facts.get("normalise")
    return f"{name} ({facts['kind']}{f', {scaled}' if scaled else ''})"


def summary(found: Dictionary, files: Sequence[File]) -> list[str]:
    """What a dictionary is, in a few lines."""
    model = found.manifest["model"]
    site = "texts only, no model"
    if model:
        dtype, width = model.get("dtype"), model["hidden_size"]
        site = f"{model['name']}, layer {found.layer}, hidden size {width}, {dtype}"
    data = found.manifest.get("data") or {}
    size = sum(file.n_bytes for file in files)
    lines = [f"{found.folder}", f"  model    {site}"]
    if data.get("source"):
        lines.append(f"  data     {data['source']}")
    lines.append(f"  concepts {len(found.concepts):,}")
    lines.append(
        f"  methods  {', '.join(_told(name, found.facts(name)) for name in found.methods)}"
    )
    lines.append(f"  files    {len(files)} verified, {size:,} bytes; sha256 {found.sha256[:12]}")
    return [_printable(line) for line in lines]


def seeds_table(found: Dictionary) -> Table | None:
    """How far methods depend on the seed; None where they were trained with one."""
    from rich.table import Table

    over = {name: found.facts(name).get("seeds") for name in found.methods}
    several = {name: own for name, own in over.items() if own and own["concepts"]}
    if not several:
        return None
    first = next(iter(several.values()))
    table = Table(
        title=f"AUROC over the seeds {first['trained'][0]} … {first['trained'][-1]}; "
        f"the vectors are those of {first['held']}",
        title_justify="left",
        title_style="bold",
        box=None,
    )
    columns = ("method", "these", "mean", "sd", "concept sd", "widest concept", "cosines")
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, own in several.items():
        known = [
            (max(values) - min(values), concept.id, min(values), max(values))
            for concept, values in zip(found.concepts, own["auroc_of_concepts"], strict=True)
            if None not in values
        ]
        _, concept, low, high = max(known)
        cosines = sorted(value for values in own["cosine_of_concepts"] for value in values[1:])
        table.add_row(
            name,
            f"{own['auroc'][0]:.3f}",
            f"{own['auroc_mean']:.3f}",
            f"{own['auroc_sd']:.3f}",
            f"{own['auroc_sd_of_a_concept']:.3f}",
            f"{concept}: {low:.2f} to {high:.2f}",
            f"{cosines[0]:.2f}, {cosines[len(cosines) // 2]:.2f}",
        )
    table.caption = (
        "these: the vectors that are held; concept sd: of one concept's AUROC over seeds, on "
        "average; cosines: least and median, of other seeds' vectors with these"
    )
    table.caption_justify = "left"
    return table


def tables(lines: Sequence[Vector], limit: int = SHOWN) -> list[Table]:
    """Measured vectors as tables for the terminal, one a method.

    Args:
        lines: What ``vectors`` returned.
        limit: The most rows of a table; its caption says how many are left out.
    """
    from rich.markup import escape
    from rich.table import Table

    made = []
    for method in dict.fromkeys(line.method for line in lines):
        own = [line for line in lines if line.method == method]
        table = Table(title=method, title_justify="left", title_style="bold", box=None)
        table.add_column("concept", justify="right")
        table.add_column("text", overflow="fold", max_width=44)
        table.add_column("norm", justify="right")
        table.add_column("max_act", justify="right")
        table.add_column("from", overflow="fold")
        table.add_column("nearest (cosine)", overflow="fold")
        for line in own[:limit]:
            near = ", ".join(f"{other.id} ({cosine:+.2f})" for other, cosine in line.neighbours)
            act = "" if line.max_act is None else f"{line.max_act:.2f}"
            text, origin = (escape(_printable(value)) for value in (line.concept.text, line.origin))
            table.add_row(str(line.concept.id), text, f"{line.norm:.3f}", act, origin, near)
        if len(own) > limit:
            table.caption = f"{len(own) - limit:,} more: --concept ID, or all of them by --csv FILE"
        made.append(table)
    return made


def _printable(text: str) -> str:
    """A text on one line, and what would steer a terminal escaped."""
    return shown(" ".join(text.split("\n")))
