"""A suite is read back as it was written, and what is broken is told in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_astral.requests import BENIGN
from harness_astral.suites.suite import FILE, MANIFEST, Input, read_suite, suite_hash, write_suite

from harness.artefacts.writing import appearing
from harness.errors import ArtefactError, DataError, HarnessError

ONE = Input(
    id="a1",
    category="controversial_topics,politics",
    style="slang",
    persuasion="logical_appeal",
    replicate=2,
    prompt="1. First line: 3.5\n2024. \u2028second 'line'\r\n\t",
    retrieved=("s-1", "s-2"),
    seed=7,
    created="2026-01-31",
)
TWO = replace(ONE, id="b2", kind=BENIGN, twin_of="a1", prompt="Wie geht es dir?")


def freeze(folder: Path, *inputs: Input) -> dict[str, Any]:
    with appearing(folder) as draft:
        (draft / "snippets.jsonl").write_text("{}\n")
        return write_suite(draft, inputs, recipe={"seed": 7}, facts={"costs": {}})[1]


def test_a_folder_is_read_back_exactly(tmp_path: Path) -> None:
    written = freeze(tmp_path / "suite", ONE, TWO)
    inputs, manifest = read_suite(tmp_path / "suite")
    assert inputs == [ONE, TWO] and manifest == written
    assert set(manifest["files"]) == {FILE, "snippets.jsonl"}
    assert read_suite(tmp_path / "suite" / FILE) == (inputs, manifest)
    alone = tmp_path / "mine.jsonl"
    alone.write_bytes((tmp_path / "suite" / FILE).read_bytes())
    assert read_suite(alone) == (
        inputs,
        {"format": manifest["format"], "sha256": manifest["sha256"]},
    )


def test_the_date_is_in_no_hash_and_all_else_is() -> None:
    assert suite_hash([ONE]) == suite_hash([replace(ONE, created="1999-01-01")])
    changed = [replace(ONE, prompt="x"), replace(ONE, snippets=("n",)), replace(ONE, replicate=1)]
    assert len({suite_hash([one]) for one in (ONE, TWO, *changed)}) == 5
    assert suite_hash([ONE, TWO]) != suite_hash([TWO, ONE])


def test_what_has_a_default_may_be_missing(tmp_path: Path) -> None:
    row = {"id": "x", "category": "c", "style": "s", "persuasion": "p", "prompt": "hello"}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n\n")
    ((one,), _) = read_suite(tmp_path / "own.jsonl")
    assert (one.replicate, one.kind, one.retrieved, one.twin_of) == (0, "probe", (), None)


GOOD = json.dumps(ONE.as_row())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (GOOD[:40], "not valid JSON"),
        ("[1]", "not a JSON object"),
        (GOOD, "the id a1 is there before"),
        (json.dumps({"id": "z"}), "no category, style, persuasion, prompt"),
        (json.dumps(ONE.as_row() | {"id": "z", "colour": 1}), "unknown field colour"),
        (json.dumps(ONE.as_row() | {"id": "z", "prompt": "  "}), "prompt is not a text that is"),
        (json.dumps(ONE.as_row() | {"id": "z", "prompt": 3}), "prompt is not a text that is"),
        (json.dumps(ONE.as_row() | {"id": "z", "replicate": True}), "replicate is not a number"),
        (json.dumps(ONE.as_row() | {"id": "z", "replicate": 2**63}), "replicate is not a number"),
        (json.dumps(ONE.as_row() | {"id": "z", "prompt": "a\ud83d"}), "half a surrogate pair in a"),
        (json.dumps(ONE.as_row() | {"id": "z", "judge": {"model": "x"}}), "unknown field judge"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(ONE.as_row() | {"id": "z", "retrieved": "s-1"}), "retrieved is not a list"),
        (json.dumps(ONE.as_row() | {"id": "z", "kind": "other"}), "kind is 'other'"),
        (json.dumps(ONE.as_row() | {"id": "z", "kind": "benign"}), "the twin_of a probe"),
        (json.dumps(ONE.as_row() | {"id": "z", "twin_of": "a1"}), "the twin_of a probe"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(f"{GOOD}\n\n{line}\n")
    with pytest.raises(DataError, match=rf"own\.jsonl, line 3: .*{says}") as told:
        read_suite(file)
    assert "\n" not in str(told.value)


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "suite"
    freeze(folder, ONE, TWO)
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace("Wie geht", "Was geht"))
    with pytest.raises(ArtefactError, match=r"suite\.jsonl is missing or was changed"):
        read_suite(folder)
    (folder / FILE).write_text(text)
    manifest = json.loads((folder / MANIFEST).read_text())
    for change, says in (
        ({"sha256": "0"}, "not the manifest of this"),
        ({"format": "astral-suite/9"}, "this version reads"),
        ({"files": None}, "damaged: files: Input should be a valid dictionary"),
        (
            {"files": {"../../etc/hostname": "0"}},
            r"damaged: '\.\./\.\./etc/hostname' is no file of",
        ),
        ({"files": {"/etc/hostname": "0"}}, "damaged: '/etc/hostname' is no file of its folder"),
        ({"files": {"a\x1b[2J": "0"}}, r"damaged: 'a\\x1b\[2J' is no file of its folder"),
        ({"holes": 3}, "damaged: holes: Input should be a valid list"),
        ({"coverage": {"verified": {"1": {"covered": 1, "total": 0, "share": 0}}}}, "total: Input"),
        ({"costs": {"generator": {"probe": {"questions": "9"}}}}, "costs.generator.probe.question"),
        ({"factors": {"style": [3]}}, r"damaged: factors.style.0: Input should be a valid string"),
    ):
        (folder / MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(ArtefactError, match=says):
            read_suite(folder)
    for content, says in ((b"[" * 100_000, "nested too deeply"), (b"\xff", "no UTF-8")):
        (folder / MANIFEST).write_bytes(content)
        with pytest.raises(ArtefactError, match=f"suite.json is damaged: {says}"):
            read_suite(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(ArtefactError, match=r"has no suite\.json"):
        read_suite(folder)


def test_what_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    for name, says in (
        ("nowhere", "no suite there"),
        (".", "no suite there"),
        ("empty.jsonl", "holds no input"),
        ("binary.jsonl", "cannot be read"),
    ):
        with pytest.raises(HarnessError, match=says):
            read_suite(tmp_path / name)
