"""Where a task's rows come from: the hub, the user's files, or the embedded testbed.

One switch serves all tasks of a run, ``--metadata data=hub|testbed|PATH``; a plugin's own key
(``axbench_data``, ``aggrefact_data``) overrides it. Nothing falls back silently: a source that
cannot be read is an error that names the three ways.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from harness.artefacts.hub import reason
from harness.artefacts.reading import ENCODING, loads, read_bytes, regular
from harness.data.lines import numbered
from harness.data.options import refuse_misspelt
from harness.errors import DataError, one_line
from harness.secrets import masked

if TYPE_CHECKING:
    import datasets

Row = dict[str, Any]
T = TypeVar("T")
FORMATS = ("parquet", "jsonl", "json", "csv")
LARGEST = 2**32
"""Bytes of a table once unpacked, at most; and where it is large, so many times its file."""
_LARGE, _TIMES = 2**28, 200
_BATCH = 2**26


@dataclass(frozen=True)
class Source:
    """A resolved choice of data: ``kind``, the hub id or path, and the switch that set it."""

    kind: Literal["hub", "folder", "testbed"]
    location: str
    key: str

    def __str__(self) -> str:
        return self.kind if self.kind == "testbed" else f"{self.kind}:{masked(self.location)}"

    @property
    def path(self) -> Path:
        """The folder or file the user named."""
        return Path(self.location)


@dataclass(frozen=True)
class Sourced:
    """Rows ready for lm-eval, with where they came from.

    Attributes:
        split: The split of the data set.
        rows: The rows.
        source: Where they came from.
        content: Content hash of the data set, where runs make different rows of the same data;
            by default it is that of the rows.
        notes: What else to save with the results' metadata.
    """

    split: str
    rows: Sequence[Row]
    source: Source
    content: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Content hash; results with the same one may be compared."""
        if self.content is not None:
            return self.content
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def dataset(self) -> datasets.Dataset:
        """The rows as a ``datasets.Dataset``.

        Raises:
            DataError: There are no rows.
        """
        import datasets

        if not self.rows:
            raise DataError(f"{self.source}: no rows in split '{self.split}'")
        try:
            return datasets.Dataset.from_list(list(self.rows))
        except (ValueError, TypeError, OverflowError) as cause:  # Arrow's, of each kind
            what = one_line(cause, 200)
            raise DataError(f"{self.source}: rows that make no table: {what}") from cause


def choose(
    metadata: Mapping[str, Any], *, plugin: str, hub: str | None = None, advice: str = ""
) -> Source:
    """Resolve the run's data switch for one plugin.

    Args:
        metadata: A task's run-level metadata (``--metadata`` and ``--model_args``).
        plugin: Prefix of the plugin's own key, ``<plugin>_data``.
        hub: The paper's data set on the hub, if it is there.
        advice: What the user can give; by default the three ways.

    Raises:
        DataError: The value is neither ``hub``, ``testbed`` nor an existing path, or a key of the
            metadata is a misspelt one of the plugin's.
    """
    check_keys(metadata, plugin)
    advice = advice or three_ways(plugin, hub or "")
    own = f"{plugin}_data"
    key = own if own in metadata else "data"
    value = str(metadata.get(key, "hub")).strip()
    if hub is None and value in ("", "hub"):
        raise DataError(advice)
    if not value:
        raise DataError(f"{key}= is empty. {advice}")
    if value == "testbed":
        return Source("testbed", "testbed", key)
    if value == "hub":
        assert hub is not None
        return Source("hub", hub, key)
    path = Path(value).expanduser()
    if not path.exists():
        raise DataError(f"{key}={value}: no such file or folder. {advice}")
    return Source("folder", str(path.resolve()), key)


def check_keys(metadata: Mapping[str, Any], plugin: str) -> None:
    """Refuse a key that is nearly one of the plugin's own, which would be without effect.

    Raises:
        DataError: Names the key and what it is nearly.
    """
    known = ["data", *(f"{plugin}_{what}" for what in ("data", "split", "subset"))]
    refuse_misspelt(metadata, known)


def three_ways(plugin: str, hub: str) -> str:
    """The sentence that names where data can come from."""
    return (
        f"Data can come from three places: --metadata data=hub ({hub}; needs network and, if "
        f"gated, a token), data=testbed (embedded), or data=FOLDER (your files; {plugin}_data=… "
        f"for this plugin alone)"
    )


def from_hub(source: Source, plugin: str, load: Callable[[], T]) -> T:
    """Run a download; any failure becomes one line that names the three ways.

    Raises:
        DataError: Without network or access, or when the data set has changed its shape.
    """
    try:
        return load()
    except DataError:
        raise
    except Exception as cause:  # the hub's clients raise dozens of types
        said = reason(cause, source.location, kind="dataset")
        ways = three_ways(plugin, source.location)
        raise DataError(f"cannot read {source}: {said}. {ways}") from cause


def find_table(folder: Path, stems: Iterable[str]) -> Path | None:
    """The first of ``stem.parquet|jsonl|json|csv`` that exists in a folder."""
    for stem in stems:
        for suffix in FORMATS:
            path = folder / f"{stem}.{suffix}"
            if path.is_file():
                return path
    return None


def read_table(path: Path, required: Sequence[str] = ()) -> list[Row]:
    """Read a parquet, JSON-lines, JSON or CSV table.

    Args:
        path: The file; its suffix tells the format.
        required: Columns that must be there.

    Raises:
        DataError: The file is missing, damaged, of another format or lacks a column.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise DataError(f"{path}: unknown format; use one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        rows = reader(path)
    except DataError:
        raise
    except Exception as cause:  # each format's reader has its own types
        raise DataError(
            f"{path} cannot be read as {path.suffix[1:]}: {one_line(cause, 300)}"
        ) from cause
    for number, row in enumerate(rows, start=1):
        missing = [name for name in required if name not in row]
        if missing:
            raise DataError(
                f"{path}, row {number}: missing column(s) {', '.join(missing)}; "
                f"needed are {', '.join(required)}"
            )
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow.compute
    import pyarrow.parquet

    with regular(path) as content, pyarrow.parquet.ParquetFile(content) as file:
        about = file.metadata
        longest = max(
            (about.row_group(n).total_byte_size for n in range(about.num_row_groups)), default=0
        )
        most = min(LARGEST, max(_LARGE, _TIMES * os.fstat(content.fileno()).st_size))
        if longest > most:
            raise DataError(_TOO_LARGE.format(path=path, most=most))
        # A repeated value is stored once: rows say more than bytes do, and are counted first.
        rows = max(1, min(1024, _BATCH // max(1, longest)))
        size = 0
        for batch in file.iter_batches(rows):
            size += sum(map(_unpacked, batch.columns))
            if size > most:
                raise DataError(_TOO_LARGE.format(path=path, most=most))
        return [row for batch in file.iter_batches(rows) for row in batch.to_pylist()]


def _unpacked(array: Any) -> int:
    """Bytes of an Arrow array whose every value is written out."""
    import pyarrow.compute

    kind = array.type
    if pyarrow.types.is_dictionary(kind) and pyarrow.types.is_string(kind.value_type):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        return int(pyarrow.compute.sum(lengths.take(array.indices)).as_py() or 0)
    if pyarrow.types.is_struct(kind):
        return sum(map(_unpacked, array.flatten()))
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return int(array.nbytes) + _unpacked(array.flatten())
    return int(array.nbytes)


_TOO_LARGE = "{path} is more than {most:,} bytes once unpacked, too much for its size; split it"


def _read_json(path: Path) -> list[Row]:
    content = read_bytes(path, LARGEST)
    try:
        rows = loads(content)
    except json.JSONDecodeError as cause:
        if cause.msg != "Extra data":
            raise
        return [row for _, row in numbered(path)]  # JSON lines, as datasets.to_json names them
    except UnicodeDecodeError:
        raise
    except ValueError as cause:
        raise DataError(f"{path}{_first_bad_row(content)}: {cause}") from cause
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: not a JSON list of objects")
    return rows


def _first_bad_row(content: bytes) -> str:
    """Where a JSON list that can be parsed has a row that cannot be used."""
    try:
        rows = json.loads(content.decode(ENCODING))
        for number, row in enumerate(rows if isinstance(rows, list) else (), start=1):
            try:
                loads(json.dumps(row))
            except ValueError:
                return f", row {number}"
    except (ValueError, RecursionError):
        pass
    return ""


def _read_csv(path: Path) -> list[Row]:
    import csv
    import sys

    csv.field_size_limit(sys.maxsize)
    with (
        regular(path) as content,
        io.TextIOWrapper(content, encoding=ENCODING, newline="") as lines,
    ):
        return [dict(row) for row in csv.DictReader(lines)]


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".parquet": _read_parquet,
    ".jsonl": lambda path: [row for _, row in numbered(path)],
    ".json": _read_json,
    ".csv": _read_csv,
}
