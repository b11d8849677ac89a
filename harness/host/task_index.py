"""lm-eval's index of its own tasks, kept between runs.

lm-eval parses its 14 000 task files at each start, which takes four to five seconds. What it found
is kept in the cache folder, with a digest of every file's name, size and time of change; the next
start compares that and reads one file of JSON. What JSON would not give back as it was is not kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.artefacts.cache import cache_folder
from harness.artefacts.reading import read_record
from harness.artefacts.writing import write_text
from harness.errors import HarnessError

log = logging.getLogger(__name__)
_PASSED_OVER = ("__pycache__", ".ipynb_checkpoints")
FIELDS = ["name", "kind", "yaml_path", "cfg", "tags"]
"""Of lm-eval's entry for a task, group or tag."""


@dataclass(frozen=True)
class _Kept:
    files: str
    entries: list[tuple[str, str, str | None, dict[str, Any] | None, list[str]]]


def kept(folder: Path, read: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The index of a folder of tasks, as kept, or read now and kept for the next run.

    Args:
        folder: Where the tasks' files are.
        read: Reads them.
    """
    place = cache_folder() / "task_index" / f"{_digest(str(folder))[:16]}.json"
    state = _digest("\n".join(sorted(_states(str(folder)))))
    with suppress(HarnessError, KeyError):
        found = read_record(place, _Kept)
        if found.files == state:
            return _entries(found)
    index = dict(read())
    if [field.name for field in fields(_module().Entry)] == FIELDS:
        _keep(index, state, place)
    return index


def _states(folder: str) -> Iterator[str]:
    """A line a file; what a task includes may have any name."""
    with os.scandir(folder) as found:
        for item in found:
            if item.is_dir(follow_symlinks=False) and item.name not in _PASSED_OVER:
                yield from _states(item.path)
            elif item.is_file() and not item.name.endswith((".py", ".md")):
                state = item.stat()
                yield f"{item.path}\t{state.st_size}\t{state.st_mtime_ns}"


def _keep(index: Mapping[str, Any], state: str, place: Path) -> None:
    """Write an index down, if JSON can hold it and there is room."""
    rows = [
        (e.name, e.kind.name, e.yaml_path and str(e.yaml_path), e.cfg, sorted(e.tags))
        for e in index.values()
    ]
    try:
        text = json.dumps({"files": state, "entries": rows})
        if _entries(_Kept(**json.loads(text))) == index:
            write_text(place, text)
    except (TypeError, ValueError, HarnessError) as cause:
        log.debug("lm-eval's index of tasks is not kept: %s", cause)


def _entries(found: _Kept) -> dict[str, Any]:
    module = _module()
    return {
        name: module.Entry(name, module.Kind[kind], path and Path(path), values, set(tags))
        for name, kind, path, values, tags in found.entries
    }


def _module() -> Any:
    return import_module("lm_eval.tasks._index")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
