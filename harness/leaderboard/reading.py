"""Finding results files and reading them, one broken file never spoiling the rest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.artefacts.reading import read_bytes
from harness.errors import HarnessError
from harness.leaderboard.parsing import rows_of
from harness.leaderboard.rows import Row, Skipped, Table
from harness.reports.values import mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


_NAMED = re.compile(r"results.*\.json|.*\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?\.json")
"""Names that lm-eval, now or before, gives results: ``results.json``, ``results_<date>.json``, …"""
_WORDS = (b'"results"', b'"config"')
"""What is in all results: a file of another name that lacks one is not parsed."""


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
        paths: files, and folders, searched at any depth for ``*.json``. What a file holds decides,
            whatever its name; one of another name than lm-eval's that holds no results is counted
            and not named. A file reached twice, or copied, counts once.
        on_file: called after each file with the number read so far and the total.
        on_skip: called at once with each file that is left out.

    Returns:
        The rows, the files that could not be read with the reason, and the numbers of duplicates
        and of other JSON files.

    Raises:
        HarnessError: a path does not exist, or nothing readable was found.
    """
    given = [Path(path) for path in paths]
    found: dict[str, list[Path]] = {}
    for path in _files(given):
        found.setdefault(os.path.realpath(path), []).append(path)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    duplicates = others = 0
    for position, (path, *again) in enumerate(found.values(), start=1):
        expected = path in given or _NAMED.fullmatch(path.name) is not None
        try:
            digest, own = _read(path, seen, expected=expected)
        except _NotResultsError as reason:
            if expected:
                skipped.append(Skipped(path, str(reason)))
                if on_skip is not None:
                    on_skip(skipped[-1])
            others += not expected
        else:
            duplicates += len(again) + (digest in seen)
            seen.add(digest)
            rows += own
        if on_file is not None:
            on_file(position, len(found))
    if not rows:
        raise HarnessError(_nothing_found(given, skipped))
    return Table(rows=tuple(rows), skipped=tuple(skipped), duplicates=duplicates, others=others)


def _files(given: Iterable[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_file():
            yield path
        elif path.is_dir():
            for folder, subfolders, names in os.walk(path):
                subfolders.sort()
                for name in sorted(names):
                    if name.endswith(".json"):
                        yield Path(folder, name)
        else:
            raise HarnessError(f"{path}: no such file or folder")


def _read(path: Path, seen: set[str], *, expected: bool) -> tuple[str, list[Row]]:
    """A file's content hash and rows; no rows if this very content was read before."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise _NotResultsError(f"cannot be read: {error.strerror or error}") from error
    if not expected and not all(word in content for word in _WORDS):
        raise _NotResultsError("no results")
    digest = hashlib.sha256(content).hexdigest()
    if digest in seen:
        return digest, []
    rows = rows_of(_document(content), run_id=digest[:12], file=path.as_posix())
    if not rows:
        raise _NotResultsError("no metrics in it")
    if not rows[0].run.model:
        raise _NotResultsError('not an lm-eval results file: no model under "config"')
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
    if "config_general" in mapping(document):
        raise _NotResultsError("results of lighteval, which are not read; give lm-eval's")
    results = mapping(mapping(document).get("results"))
    if not results or not all(isinstance(entry, dict) for entry in results.values()):
        raise _NotResultsError('not an lm-eval results file: no "results" by task')
    return mapping(document)


def _nothing_found(given: list[Path], skipped: list[Skipped]) -> str:
    where = ", ".join(str(path) for path in given) or "no path"
    advice = "run lm_eval with --output_path FOLDER, then give that folder"
    if not skipped:
        return f"no results_*.json found in {where}; {advice}"
    return f"no readable results_*.json found in {where}: {told(skipped)}; {advice}"


def told(skipped: Sequence[Skipped]) -> str:
    """How many files were left out, and the first of them with its reason."""
    return f"{len(skipped)} skipped, the first is {skipped[0].path} ({skipped[0].reason})"
