"""A frozen suite: one test input a line, and a manifest that tells what it follows from.

A folder holds ``suite.jsonl`` (the inputs) and ``suite.json`` (format, recipe, digests of the
files, outcomes, coverage, costs). A JSONL file alone is a suite too: one's own rows, or a suite
that was handed on. A line:

    {"id": "0f3c…", "category": "privacy_violation", "style": "slang",
     "persuasion": "logical_appeal", "replicate": 0, "prompt": "…", "kind": "probe",
     "twin_of": null, "generator": "local-chat-completions/writer-1", "retrieved": ["s-12"],
     "snippets": [], "seed": 42, "created": "2026-01-31"}

A probe asks for what a model should refuse; its twin, of kind ``benign``, asks in the same style
and with the same persuasion for something harmless, and should be answered. The date is in no hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictFloat

from harness import ArtefactError, DataError, Row
from harness.artefacts.checksums import digest
from harness.artefacts.reading import fitting, read_json
from harness.artefacts.recipes import inside, write_manifest
from harness.artefacts.schemas import Count
from harness.artefacts.writing import write_lines
from harness.asking.store import key_of
from harness.data.lines import numbered
from harness.errors import one_line
from harness_astral.requests import BENIGN, KINDS, PROBE

FORMAT = "astral-suite/1"
FILE, MANIFEST = "suite.jsonl", "suite.json"
_LIBRARIES = ("lm_eval", "bm25s", "pydantic")


@dataclass(frozen=True, kw_only=True)
class Input:
    """One test input: a row of a suite.

    Attributes:
        id: Content hash of cell, replicate, kind, seed, template and generator.
        category: What it asks for.
        style: How it is worded.
        persuasion: How it argues.
        replicate: Number of the input in its cell, from 0.
        prompt: What the model under test is asked.
        kind: ``probe`` or ``benign``.
        twin_of: The probe's id, where it is a benign twin.
        generator: The model that wrote it.
        retrieved: Ids of the seeds that the generator saw.
        snippets: Ids of the web snippets that the generator saw.
        seed: The suite's seed.
        created: The date of the suite's recipe; in no hash.
    """

    id: str
    category: str
    style: str
    persuasion: str
    replicate: int
    prompt: str
    kind: str = PROBE
    twin_of: str | None = None
    generator: str = ""
    retrieved: tuple[str, ...] = ()
    snippets: tuple[str, ...] = ()
    seed: int = 0
    created: str = ""

    @property
    def cell(self) -> tuple[str, str, str]:
        """Category, style and persuasion."""
        return self.category, self.style, self.persuasion

    def as_row(self) -> Row:
        """The input as a JSON object."""
        row = {name: getattr(self, name) for name in _KNOWN}
        return row | {"retrieved": list(self.retrieved), "snippets": list(self.snippets)}


_NEEDED = ("id", "category", "style", "persuasion", "prompt")
_TEXT = (*_NEEDED, "kind", "generator", "created")
_NUMBERS = ("replicate", "seed")
_LISTS = ("retrieved", "snippets")
_KNOWN = tuple(field.name for field in fields(Input))


def parse_row(row: Mapping[str, Any], place: str) -> Input:
    """The input that an object describes.

    Args:
        row: The object; what has a default may be missing, and ``replicate`` is then 0.
        place: Where it is from, for messages.

    Raises:
        DataError: A field is missing, unknown or of the wrong type.
    """
    missing = [name for name in _NEEDED if name not in row]
    unknown = sorted(set(row) - set(_KNOWN))
    if missing or unknown:
        told = f"no {', '.join(missing)}" if missing else f"unknown field {', '.join(unknown)}"
        raise DataError(f"{place}: {told}; an input has the fields {', '.join(_KNOWN)}")
    rules: Sequence[tuple[Sequence[str], str, Callable[[Any], bool]]] = (
        (_NEEDED, "a text that is not empty", lambda v: isinstance(v, str) and bool(v.strip())),
        (_TEXT, "a text", lambda v: isinstance(v, str)),
        (_NUMBERS, "a number from 0", lambda v: type(v) is int and 0 <= v < 2**63),
        (_LISTS, "a list of texts", _is_texts),
        (("twin_of",), "an id or null", lambda v: v is None or isinstance(v, str)),
    )
    for names, wanted, holds in rules:
        for name in names:
            if name in row and not holds(row[name]):
                raise DataError(f"{place}: {name} is not {wanted}")
    given: dict[str, Any] = {"replicate": 0}
    given |= {name: tuple(value) if name in _LISTS else value for name, value in row.items()}
    found = Input(**given)
    if found.kind not in KINDS:
        said = one_line(repr(found.kind), 80)
        raise DataError(f"{place}: kind is {said}; it is one of {', '.join(KINDS)}")
    if (found.kind == BENIGN) != (found.twin_of is not None):
        raise DataError(f"{place}: a benign input, and no other, is the twin_of a probe")
    return found


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(own, str) for own in value)


def read_suite(path: Path) -> tuple[list[Input], dict[str, Any]]:
    """The inputs of a suite, and its manifest.

    Args:
        path: The folder, its ``suite.jsonl``, or any JSONL file of inputs.

    Returns:
        The inputs in the file's order. The manifest as it was written; of a file without one only
        ``format`` and ``sha256`` (``suite_hash`` of the inputs).

    Raises:
        DataError: Nothing is there, or a line is broken; the message has the line's number.
        ArtefactError: The manifest is damaged, or a file is not the one it was written for.
    """
    path = Path(path).expanduser()
    folder = path if path.is_dir() else path.parent
    file = folder / FILE if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{path}: no suite there; give a folder with {FILE}, or a JSONL file")
    manifest: dict[str, Any] = {}
    if path.is_dir() or (file.name == FILE and (folder / MANIFEST).is_file()):
        manifest = _manifest(folder)
    inputs = _inputs(file)
    content = suite_hash(inputs)
    if manifest and manifest.get("sha256") != content:
        raise ArtefactError(f"{folder / MANIFEST} is not the manifest of this {FILE}")
    return inputs, manifest or {"format": FORMAT, "sha256": content}


@dataclass(frozen=True)
class _Share:
    covered: Count
    total: Annotated[int, Field(ge=1, strict=True)]
    share: StrictFloat


@dataclass(frozen=True)
class _Coverage:
    requested: dict[str, _Share] | None = None
    verified: dict[str, _Share] | None = None


@dataclass(frozen=True)
class _Manifest:
    """What is read of a manifest, by anybody; all else in it is not looked at."""

    format: str
    files: dict[str, str]
    sha256: str
    factors: dict[str, list[str]] = field(default_factory=dict)
    coverage: _Coverage = _Coverage()
    outcomes: dict[str, dict[str, Count]] = field(default_factory=dict)
    holes: list[dict[str, Any]] = field(default_factory=list)
    costs: dict[str, dict[str, dict[str, Count]]] = field(default_factory=dict)


def _manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest, once its files are found to be those it was written for."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtefactError(f"{folder} has no {MANIFEST}; name the file {FILE} itself, or its copy")
    manifest = read_json(path)
    known = fitting(_Manifest, manifest, path, ArtefactError)
    if known.format != FORMAT:
        said = one_line(repr(known.format), 80)
        raise ArtefactError(f"{path} has the format {said}; this version reads {FORMAT}")
    for name, expected in known.files.items():
        file = inside(folder, name, path)
        if not file.is_file() or digest(file) != expected:
            raise ArtefactError(f"{file} is missing or was changed since it was frozen")
    return dict(manifest)


def _inputs(file: Path) -> list[Input]:
    found: dict[str, Input] = {}
    for number, row in numbered(file):
        place = f"{file}, line {number}"
        one = parse_row(row, place)
        if one.id in found:
            raise DataError(f"{place}: the id {one.id} is there before")
        found[one.id] = one
    if not found:
        raise DataError(f"{file} holds no input")
    return list(found.values())


def suite_hash(inputs: Sequence[Input]) -> str:
    """A content hash of the inputs, in their order and without their date."""
    rows = [one.as_row() for one in inputs]
    return key_of(inputs=[{k: v for k, v in row.items() if k != "created"} for row in rows])


def write_suite(
    draft: Path,
    inputs: Sequence[Input],
    *,
    recipe: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> tuple[list[Input], dict[str, Any]]:
    """Write a suite's inputs and manifest to a draft (``harness.artefacts.writing.appearing``).

    Args:
        draft: A folder; its other files get their digests into the manifest too.
        inputs: The inputs; half a surrogate pair becomes "?".
        recipe: What they follow from.
        facts: Further entries of the manifest.

    Returns:
        The inputs as they can be read back, and the manifest.
    """
    write_lines(draft / FILE, [one.as_row() for one in inputs])
    kept = _inputs(draft / FILE)  # what cannot be read is not left behind
    entries = {"sha256": suite_hash(kept), "inputs": len(kept), **facts}
    manifest = write_manifest(draft, FORMAT, recipe, entries, _LIBRARIES, name=MANIFEST)
    return kept, manifest
