"""Folders of made data: a manifest with the recipe they follow from, and the checksum of each file.

A folder appears by one rename, whole or not at all. Made again by an equal recipe it is kept as it
is; another recipe, or a file that has changed since, is refused.

A manifest of ``write_manifest`` lists all checksums in one place, ``files``. One that says more of
its files has them wherever they belong (``put`` and ``take`` return what it says of each), and is
kept by a reader of it and by words of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.artefacts.checksums import digest
from harness.artefacts.reading import fitting, read_record
from harness.artefacts.writing import write_json
from harness.errors import ArtefactError, HarnessError, one_line, shown

if TYPE_CHECKING:
    from rich.table import Table

MANIFEST = "generation.json"
_LONGEST, _DEEPEST = 120, 8  # of a name in a manifest: characters of a part, and parts
_CONTENT = "_sha256"
_COSTS = ("questions", "stored", "requests", "rejected", "unanswered")


@dataclass(frozen=True)
class Words:
    """What messages say of a folder that is not kept.

    Attributes:
        unknown: It has no manifest; ``{name}`` is the manifest's file.
        other: What it holds; ``{unlike}`` is in what the recipes differ.
        missing: A file is not there.
        changed: A file is there, and its content is another.
        flags: What entries of a recipe are called where it is not ``--entry``, the option that
            decides them; None calls none so.
    """

    unknown: str = "has no {name}"
    other: str = "other data (they differ in: {unlike})"
    missing: str = "is missing or was changed; remove the folder and run again"
    changed: str = "is missing or was changed; remove the folder and run again"
    flags: Mapping[str, str] | None = None

    def called(self, entry: str) -> str:
        """What a message calls an entry of a recipe."""
        if self.flags is None or not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", entry):
            return one_line(entry, 80)  # it may be the folder's, and anything
        option = "--" + entry.removesuffix(_CONTENT).replace("_", "-")
        return self.flags.get(entry, f"what {option} holds" if entry.endswith(_CONTENT) else option)


def check(path: Path, sha256: str, words: Words = Words()) -> None:
    """Refuse a file that is not the one that was written.

    Raises:
        ArtefactError: It is missing, or its content is another.
    """
    if not path.is_file():
        raise ArtefactError(f"{path} {words.missing}")
    if digest(path) != sha256:
        raise ArtefactError(f"{path} {words.changed}")


def listed(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    """The SHA-256 of each file of a folder, by its place; as ``write_manifest`` lists them."""
    files: Mapping[str, str] = manifest["files"]
    return files


def kept(
    folder: Path,
    recipe: Mapping[str, Any],
    *,
    name: str = MANIFEST,
    words: Words = Words(),
    files: Callable[[Mapping[str, Any]], Mapping[str, str]] = listed,
) -> dict[str, Any] | None:
    """The manifest of the data already in a folder, if the recipe makes them.

    Args:
        folder: The folder, which need not be there.
        recipe: What the data are to follow from.
        name: The manifest's file.
        words: What messages say of another folder.
        files: The SHA-256 of each file that a manifest knows, by its place in the folder.

    Raises:
        ArtefactError: Something else is there; the message says in what it differs.
    """
    if not folder.exists():
        return None
    path = folder / name
    if not path.is_file():
        unknown = words.unknown.format(name=name)
        raise ArtefactError(f"{folder} exists and {unknown}; choose another --out")
    try:
        manifest = read_record(path, dict[str, Any])
        there = fitting(dict[str, Any], manifest["recipe"], path)
        digests = fitting(dict[str, str], files(manifest), path)
    except (HarnessError, ValueError, KeyError, TypeError, AttributeError) as cause:
        said = cause if isinstance(cause, HarnessError) else f"{path} is damaged ({cause})"
        raise ArtefactError(f"{said}; choose another --out") from cause
    unlike = sorted(k for k in {*recipe, *there} if recipe.get(k) != there.get(k))
    if unlike:
        other = words.other.format(unlike=", ".join(map(words.called, unlike)))
        raise ArtefactError(f"{folder} holds {other}; choose another --out or remove it")
    for file, expected in digests.items():
        check(inside(folder, file, path), expected, words)
    return manifest


def inside(folder: Path, name: str, where: object) -> Path:
    """A file of a folder, as a manifest names it.

    Raises:
        ArtefactError: The name leads out of the folder, or a link does.
    """
    parts = PurePosixPath(name).parts
    if not parts or name[0] == "/" or ".." in parts or "\\" in name or not name.isprintable():
        raise ArtefactError(f"{where} is damaged: {name[:80]!r} is no file of its folder")
    if max(map(len, parts)) > _LONGEST or len(parts) > _DEEPEST:
        raise ArtefactError(f"{where} is damaged: {name[:80]!r} … is longer than a file's name")
    if not Path(os.path.realpath(folder / name)).is_relative_to(os.path.realpath(folder)):
        raise ArtefactError(
            f"{folder / name} is a link out of its folder; copy the folder with its files"
        )
    return folder / name


def put(folder: Path, name: str, content: bytes, prefix: str = "") -> dict[str, str]:
    """Write a file, and say which: ``file`` and ``sha256``, or ``prefix`` and ``prefix_sha256``."""
    (folder / name).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    if prefix:
        return {prefix: name, f"{prefix}_sha256": sha256}
    return {"file": name, "sha256": sha256}


def take(folder: Path, below: str, files: Mapping[int, Path]) -> dict[str, dict[str, str]]:
    """Link finished safetensors files into a folder; where they were they stay.

    Args:
        folder: The folder.
        below: A new folder in it.
        files: The files by number, which becomes their name.

    Returns:
        By number: ``file`` and ``sha256``.
    """
    taken = {}
    (folder / below).mkdir()
    for number, path in files.items():
        name = f"{below}/{number}.safetensors"
        try:
            (folder / name).hardlink_to(path)
        except OSError:  # a file system without links
            shutil.copyfile(path, folder / name)
        taken[str(number)] = {"file": name, "sha256": digest(folder / name)}
    return taken


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The versions of this package and of distributions, for a manifest."""
    from harness._version import __version__

    return {"paperharness": __version__} | {own: metadata.version(own) for own in libraries}


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
    manifest: dict[str, Any] = {"format": form, "recipe": dict(recipe)}
    own = draft / name  # of an earlier try, where a folder is filled over several runs
    files = sorted(path for path in draft.rglob("*") if path.is_file() and path != own)
    manifest["files"] = {file.relative_to(draft).as_posix(): digest(file) for file in files}
    manifest |= {**facts, "versions": versions(libraries)}
    write_json(draft / name, manifest)
    return manifest


def costs_table(costs: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Table:
    """What each model's steps cost (``Desk.costs`` by role), for the terminal."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

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
            table.add_row(Text(shown(f"{role}: {step}")), *figures)
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
