"""Files and folders that a study names: where they are, and what is in them.

A text among the arguments names a local file or folder where it has a slash and leads to one
(``./models/mine``, ``/data/rows.jsonl``): it becomes absolute, and its content determines results,
not its place. ``testbed:NAME`` is such a folder too. ``mine`` without a slash is a name.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from harness.artefacts.adapters import adapter_in
from harness.artefacts.checksums import digest
from harness.artefacts.yaml_files import Place
from harness.errors import HarnessError
from harness.testbed import resolve

WRITTEN = frozenset(
    {"response_cache", "use_cache", "store", "offload_folder", "cache_dir", "download_dir"}
)
"""Arguments that name a place to write to: on what is there no result depends."""
_PATH = ("include_path",)  # always a path, slash or none
_BEGINNINGS = ("./", "../", "~/")
_MOST = 50_000  # files in a folder


def placed(text: str, place: Place) -> str:
    """A text as it means the same from any folder: a path made absolute.

    Args:
        text: A value of a configuration.
        place: Where in the configuration it stands.
    """
    if path := local(text, place):
        return text if text.startswith("testbed:") else os.path.abspath(path)  # noqa: PTH100
    if place and place[-1] in WRITTEN and text.startswith(_BEGINNINGS):
        return os.path.abspath(Path(text).expanduser())  # noqa: PTH100 -- without ".."
    return text


def local(text: str, place: Place) -> Path | None:
    """The file or folder that a value names; None where it names none."""
    if text.startswith("testbed:"):
        return Path(resolve(text))
    if "/" not in text.strip("/") and place[-1:] != _PATH and not is_task_file(text, place):
        return None
    try:
        found = Path(text).expanduser().absolute()
        return found if found.exists() else None
    except (OSError, RuntimeError):  # a text too long for a path; ~ and no user's name
        return None


def is_task_file(text: str, place: Place) -> bool:
    """Whether a value is the YAML of a task, in the place of its name."""
    return place[:1] == ("tasks",) and text.endswith(".yaml")


def content(path: Path) -> str:
    """SHA-256 of a file, a model's folder (an adapter's with its base's), or any folder.

    Raises:
        HarnessError: It cannot be read, or is larger than a study's data should be.
    """
    from harness.models.checkpoints import content_of

    try:
        if path.is_file():
            return digest(path)
        if (path / "config.json").is_file() or adapter_in(path):
            return content_of(str(path)) or ""
        files = []
        for file in path.rglob("*"):
            inside = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in inside.parts):
                files.append(inside)
            if len(files) > _MOST:
                raise HarnessError(
                    f"{path} has more than {_MOST:,} files, all of which would have to be read to "
                    "know when results are out of date; name a folder with less in it"
                )
        stamps = tuple((str(f), (path / f).stat().st_mtime_ns) for f in sorted(files))
        return _together(path, stamps)
    except OSError as cause:
        raise HarnessError(f"{path} cannot be read: {cause.strerror}") from cause


@lru_cache(1024)
def _together(folder: Path, changed: tuple[tuple[str, int], ...]) -> str:
    found = hashlib.sha256()
    for name, _ in changed:
        found.update(f"{name}\0{digest(folder / name)}\n".encode())
    return found.hexdigest()
