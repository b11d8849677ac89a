"""Folders of made data: a manifest with the recipe they follow from, and the checksum of each file.

A folder appears by one rename, whole or not at all. Made again by an equal recipe it is kept as it
is; another recipe, or a file that has changed since, is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.artefacts.checksums import digest
from harness.artefacts.writing import write_json
from harness.errors import ArtefactError

if TYPE_CHECKING:
    from rich.table import Table

MANIFEST = "generation.json"
_COSTS = ("questions", "stored", "requests", "rejected", "unanswered")


def kept(folder: Path, recipe: Mapping[str, Any], *, name: str = MANIFEST) -> dict[str, Any] | None:
    """The manifest of the data already in a folder, if the recipe makes them.

    Args:
        folder: The folder, which need not be there.
        recipe: What the data are to follow from.
        name: The manifest's file.

    Raises:
        ArtefactError: Something else is there; the message says in what it differs.
    """
    if not folder.exists():
        return None
    path = folder / name
    if not path.is_file():
        raise ArtefactError(f"{folder} exists and has no {name}; choose another --out")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        there, files = manifest["recipe"], manifest["files"]
    except (ValueError, KeyError, TypeError) as cause:
        raise ArtefactError(f"{path} is damaged ({cause}); choose another --out") from cause
    unlike = sorted(k for k in {*recipe, *there} if recipe.get(k) != there.get(k))
    if unlike:
        raise ArtefactError(
            f"{folder} holds other data (they differ in: {', '.join(unlike)}); choose another "
            "--out or remove it"
        )
    for file, expected in files.items():
        if not (folder / file).is_file() or digest(folder / file) != expected:
            raise ArtefactError(
                f"{folder / file} is missing or was changed; remove the folder and run again"
            )
    return manifest


def write_manifest(
    draft: Path,
    form: str,
    recipe: Mapping[str, Any],
    facts: Mapping[str, Any],
    libraries: Sequence[str],
    *,
    name: str = MANIFEST,
) -> dict[str, Any]:
    """Write the manifest of a draft whose files are all there, and return it.

    Args:
        draft: The folder.
        form: Name and version of the folder's form.
        recipe: What the data follow from.
        facts: Further entries.
        libraries: Distributions whose versions are noted.
        name: The manifest's file.
    """
    from harness._version import __version__

    versions = {"paperharness": __version__} | {own: metadata.version(own) for own in libraries}
    manifest: dict[str, Any] = {"format": form, "recipe": dict(recipe)}
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    manifest["files"] = {file.relative_to(draft).as_posix(): digest(file) for file in files}
    manifest |= {**facts, "versions": versions}
    write_json(draft / name, manifest)
    return manifest


def costs_table(costs: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    """What each model's steps cost (``Desk.costs`` by role), for the terminal."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(
        title="costs of the run that wrote it",
        caption="in and out: tokens (t) where the model reports them, else characters (c)",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("step", no_wrap=True)
    for name in ("asked", "stored", "sent", "rejected", "missing", "in", "out"):
        table.add_column(name, justify="right", no_wrap=True)
    for role, steps in costs.items():
        for step, spent in steps.items():
            unit = "tokens" if "prompt_tokens" in spent else "characters"
            figures = [_short(spent.get(name, 0)) for name in _COSTS]
            for part in ("prompt", "answer"):
                figures.append(f"{_short(spent.get(f'{part}_{unit}', 0))} {unit[0]}")
            table.add_row(f"{role}: {step}", *figures)
    return table


def _short(count: int) -> str:
    """A number in at most five characters.

    >>> _short(999), _short(26_183), _short(13_600_000)
    ('999', '26.2k', '13.6M')
    """
    for size, mark in ((1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (1e3 if mark == 'k' else 1e6):.1f}{mark}"
    return str(count)
