"""The data switch, the table readers, and what they say about bad input."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data.sources import Sourced, choose, find_table, from_hub, read_table
from harness.errors import DataError

ROWS = [{"doc": "a, b", "label": "1"}, {"doc": 'say "c"\nd', "label": "0"}]


def write(path: Path) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
        case ".json":
            path.write_text(json.dumps(ROWS))
        case ".csv":
            path.write_text('doc,label\n"a, b",1\n"say ""c""\nd",0\n')
    return path


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "json", "csv"])
def test_the_same_rows_from_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"test.{suffix}")
    assert read_table(path, ["doc", "label"]) == ROWS
    assert find_table(tmp_path, ["missing", "test"]) == path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", '{"doc": 1}\n{"doc": \n', "line 2: not valid JSON"),
        ("t.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("t.jsonl", '{"other": 1}\n', "row 1: missing column\\(s\\) doc"),
        ("t.json", '{"doc": 1}', "not a JSON list of objects"),
        ("t.parquet", "not parquet", "cannot be read as parquet"),
        ("t.xlsx", "", "unknown format; use one of parquet, jsonl, json, csv"),
    ],
)
def test_bad_files_are_one_clear_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_table(path, ["doc"])


@pytest.mark.parametrize("name", ["rows.jsonl", "lines.json", "list.json", "rows.csv"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_and_lines_named_json_are_read(tmp_path: Path, name: str, mark: bytes) -> None:
    """A byte-order mark, and JSON lines in a ``.json`` as ``datasets.to_json`` writes them."""
    rows = [{"text": "a", "n": "1"}, {"text": "é", "n": "2"}]
    content = {
        "rows.jsonl": "\n".join(map(json.dumps, rows)),
        "lines.json": "".join(f"{json.dumps(row)}\n" for row in rows),
        "list.json": json.dumps(rows, ensure_ascii=False),
        "rows.csv": "text,n\na,1\né,2\n",
    }[name]
    path = tmp_path / name
    path.write_bytes(mark + content.encode())
    assert read_table(path) == rows


@pytest.mark.parametrize("name", ["rows.jsonl", "list.json"])
def test_half_a_surrogate_pair_is_one_line(tmp_path: Path, name: str) -> None:
    row = r'{"text": "\ud83d"}'
    path = tmp_path / name
    path.write_text(f'{{"text": "\\ud83d\\ude00"}}\n{row}\n' if "jsonl" in name else f"[{row}]")
    with pytest.raises(DataError, match=r"half a surrogate pair in a text: '\\ud83d'") as told:
        read_table(path)
    assert "\n" not in str(told.value) and (", line 2: " in str(told.value)) == ("jsonl" in name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: no such file"):
        read_table(tmp_path / "no.csv")


def test_the_switch(tmp_path: Path) -> None:
    def kind(**metadata: str) -> str:
        return str(choose(metadata, plugin="axbench", hub="org/set"))

    assert kind() == "hub:org/set"
    assert kind(data="testbed") == "testbed"
    assert kind(data="testbed", axbench_data="hub") == "hub:org/set"
    assert kind(data="hub", axbench_data=str(tmp_path)) == f"folder:{tmp_path}"
    assert kind(other_data="testbed") == "hub:org/set"


def test_every_failure_names_the_three_ways(tmp_path: Path) -> None:
    ways = r"data=hub \(org/set.*data=testbed.*data=FOLDER"
    with pytest.raises(DataError, match=ways):
        choose({"data": str(tmp_path / "nowhere")}, plugin="axbench", hub="org/set")
    source = choose({}, plugin="axbench", hub="org/set")

    def unreachable() -> None:
        raise ConnectionError("no route to host")

    with pytest.raises(DataError, match=f"hub:org/set: HF_HUB_OFFLINE is set.*{ways}"):
        from_hub(source, "axbench", unreachable)


def test_provenance() -> None:
    source = choose({"data": "testbed"}, plugin="axbench", hub="org/set")
    one, same, other = (Sourced("test", rows, source) for rows in (ROWS, [*ROWS], ROWS[:1]))
    assert one.sha256 == same.sha256 != other.sha256
    assert len(one.dataset()) == 2
    with pytest.raises(DataError, match="no rows in split 'test'"):
        Sourced("test", [], source).dataset()


@pytest.mark.parametrize(
    ("key", "meant"), [("aggrefact_dat", "aggrefact_data"), ("aggrefact_splt", "aggrefact_split")]
)
def test_a_misspelt_key_is_refused(key: str, meant: str) -> None:
    metadata = {"data": "testbed", key: "dev", "pretrained": "x", "dtype": "auto"}
    with pytest.raises(DataError, match=f"--metadata {key}=…: .*did you mean {meant}"):
        choose(metadata, plugin="aggrefact", hub="a/b")


def test_a_small_file_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """One text of a megabyte, named by 2,000 rows: refused before it is in memory."""
    text = pa.array(["x" * 2**20])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), text)
    file = tmp_path / "test.parquet"
    pq.write_table(pa.table({"text": column}), file, compression="zstd")
    assert file.stat().st_size < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="is more than 268,435,456 bytes once unpacked"):
        read_table(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB
