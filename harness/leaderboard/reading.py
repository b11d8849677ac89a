"""Finding results files and reading them, one broken file never spoiling the rest."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.leaderboard.parsing import rows_of
from harness.leaderboard.rows import Row, Skipped, Table
from harness.reports.values import mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class _NotResultsError(Exception):
    """Why a file is not an lm-eval results file."""


def read_results(
    paths: Iterable[str | os.PathLike[str]],
    *,
    on_file: Callable[[int, int], None] | None = None,
    on_skip: Callable[[Skipped], None] | None = None,
) -> Table:
    """Read results files, whoever wrote them, into one table.

    Args:
        paths: files, read whatever their name, and folders, searched at any depth for
            ``results_*.json``. A file reached twice, or copied, counts once.
        on_file: called after each file with the number read so far and the total.
        on_skip: called at once with each file that is left out.

    Returns:
        The rows, the files that could not be read with the reason, the number of duplicates.

    Raises:
        HarnessError: a path does not exist, or nothing readable was found.
    """
    given = [Path(path) for path in paths]
    files = list(_files(given))
    unique: dict[str, Path] = {}
    for path in files:
        unique.setdefault(os.path.realpath(path), path)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    duplicates = len(files) - len(unique)
    for position, path in enumerate(unique.values(), start=1):
        try:
            digest, found = _read(path, seen)
        except _NotResultsError as reason:
            skipped.append(Skipped(path, str(reason)))
            if on_skip is not None:
                on_skip(skipped[-1])
        else:
            duplicates += digest in seen
            seen.add(digest)
            rows += found
        if on_file is not None:
            on_file(position, len(unique))
    if not rows:
        raise HarnessError(_nothing_found(given, skipped))
    return Table(rows=tuple(rows), skipped=tuple(skipped), duplicates=duplicates)


def _files(given: Iterable[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_file():
            yield path
        elif path.is_dir():
            for folder, subfolders, names in os.walk(path):
                subfolders.sort()
                for name in sorted(names):
                    if name.startswith("results_") and name.endswith(".json"):
                        yield Path(folder, name)
        else:
            raise HarnessError(f"{path}: no such file or folder")


def _read(path: Path, seen: set[str]) -> tuple[str, list[Row]]:
    """A file's content hash and rows; no rows if this very content was read before."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _NotResultsError(f"cannot be read: {error.strerror or error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest in seen:
        return digest, []
    rows = rows_of(_document(content), run_id=digest[:12], file=path.as_posix())
    if not rows:
        raise _NotResultsError("no metrics in it")
    return digest, rows


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except RecursionError as error:
        raise _NotResultsError("not an lm-eval results file: nested too deeply") from error
    except UnicodeDecodeError as error:
        raise _NotResultsError(f"not JSON: not {error.encoding} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _NotResultsError(f"truncated or not JSON: {error.msg} ({place})") from error
    except ValueError as error:
        raise _NotResultsError(f"not JSON: {error}") from error
    results = mapping(mapping(document).get("results"))
    if not results or not all(isinstance(entry, dict) for entry in results.values()):
        raise _NotResultsError('not an lm-eval results file: no "results" by task')
    return mapping(document)


def _nothing_found(given: list[Path], skipped: list[Skipped]) -> str:
    where = ", ".join(str(path) for path in given) or "no path"
    advice = "run lm_eval with --output_path FOLDER, then give that folder"
    if not skipped:
        return f"no results_*.json found in {where}; {advice}"
    first = skipped[0]
    return (
        f"no readable results_*.json found in {where}: {len(skipped)} skipped, the first is "
        f"{first.path} ({first.reason}); {advice}"
    )
