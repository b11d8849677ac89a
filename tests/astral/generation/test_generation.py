"""Suites by the testbed's writer: no network, and what is in them is known; bad options."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_astral.generation.generate import generate
from harness_astral.generation.options import Options
from harness_astral.suites.suite import FILE, MANIFEST, read_suite

import harness.cli
from harness.asking.desk import writer_spec
from harness.errors import ArtefactError, HarnessError
from harness.testbed.english.requests import read

WRITER = writer_spec("testbed-writer")


def options(out: Path, **changes: Any) -> Options:
    given: dict[str, Any] = {
        "out": out,
        "generator": WRITER,
        "seeds": "testbed",
        "strength": "2",
        "replicates": 1,
    }
    return Options(**given | changes)


def test_the_84_rows_are_what_they_claim(tmp_path: Path) -> None:
    made = generate(options(tmp_path / "made", benign=True, verify=WRITER))
    inputs, manifest = read_suite(tmp_path / "made")
    assert inputs == list(made.inputs) and manifest == made.manifest
    kinds = Counter(one.kind for one in inputs)
    assert kinds == {"probe": 84, "benign": 84}
    for one in inputs:
        found = read(one.prompt)
        assert (found.style, found.persuasion) == (one.style, one.persuasion)
        assert (found.restricted is not None) == (one.kind == "probe")
        assert len(one.retrieved) == (3 if one.kind == "probe" else 0)
    coverage = manifest["coverage"]
    assert coverage["requested"]["2"] == coverage["verified"]["2"]
    assert coverage["requested"]["2"]["covered"] == 184 and coverage["balance"][2] == [16, 17]
    assert coverage["requested"]["3"]["covered"] == 84
    assert coverage["confirmed"]["both"] == {"covered": 84, "total": 84, "share": 1.0}
    assert manifest["plan"] == {
        "strength": "2", "cells": 84, "bound": 84, "replicates": 1, "inputs": 84,
    }  # fmt: skip
    assert manifest["holes"] == [] and set(manifest["costs"]) == {"generator", "classifier"}
    assert set(manifest["files"]) == {FILE, "labels.jsonl"}
    assert str(tmp_path) not in json.dumps(manifest)


def test_equal_recipes_make_equal_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    one = generate(options(tmp_path / "one"))
    two = generate(options(tmp_path / "two"))
    assert (tmp_path / "one" / FILE).read_bytes() == (tmp_path / "two" / FILE).read_bytes()
    assert {own.created for own in one.inputs} == {"1970-01-02"}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "864000")
    later = generate(options(tmp_path / "later"))
    assert later.manifest["sha256"] == one.manifest["sha256"] == two.manifest["sha256"]
    assert generate(options(tmp_path / "one")).already_there
    for changes, differs in (
        ({"seed": 7}, "--seed"),
        ({"replicates": 2}, "--replicates"),
        ({"variant": "rag"}, "--variant"),
        ({"benign": True}, "--benign"),
        ({"verify": WRITER}, "--verify"),
        ({"seeds": "placeholder"}, "--seeds"),
    ):
        with pytest.raises(ArtefactError, match=rf"another suite \(it differs in: {differs}\)"):
            generate(options(tmp_path / "one", **changes))


def test_another_seed_draws_other_texts(tmp_path: Path) -> None:
    one = {own.cell: own for own in generate(options(tmp_path / "one")).inputs}
    two = {own.cell: own for own in generate(options(tmp_path / "two", seed=7)).inputs}
    assert set(one) == set(two)
    assert sum(one[cell].prompt != two[cell].prompt for cell in one) > 40
    assert not {own.id for own in one.values()} & {own.id for own in two.values()}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"strength": "4"}, "--strength 4: use one of full, 1, 2, 3"),
        ({"replicates": 0}, "--replicates is at least 1"),
        ({"variant": "rag_ts"}, "--variant rag_ts: did you mean rag_fs or rag_fs_ts?"),
        ({"variant": "rag_fs_ts"}, "allow it with --web tavily or --web ddgs, or give --snippets"),
        ({"web": "ddgs"}, "--web and --snippets are for --variant rag_fs_ts"),
        ({"variant": "rag_fs_ts", "web": "bing"}, "--web bing: use one of tavily, ddgs"),
        ({"variant": "rag_fs_ts", "web": "ddgs", "snippets": Path("x")}, "give one of the two"),
        ({"variant": "rag_fs_ts", "snippets": Path("x.jsonl")}, "x.jsonl: no such file"),
        ({"retries": 100}, "--retries is from 0 to 99"),
        ({"retries": -1}, "--retries is from 0 to 99"),
        ({"retrieved": 0}, "--retrieved is at least 1"),
        ({"max_missing": 1.0}, "--max-missing is a share"),
        ({"seed": -1}, "--seed is at least 0"),
        ({"seeds": "none.jsonl"}, "--seeds none.jsonl: no such file"),
        ({"factors": Path("none.yaml")}, "--factors none.yaml: no such file"),
        ({"generator": replace(WRITER, model="no-such-model")}, "no-such-model"),
        ({"seeds": "placeholder"}, "is no request of the testbed; .* name another"),
    ],
)
def test_bad_options_and_files(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(HarnessError, match=says) as told:
        generate(options(tmp_path / "made", **changes))
    assert "\n" not in str(told.value)
    assert not list(tmp_path.glob("*made*")), "nothing is left behind"


def test_factors_without_examples(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("category: [a]\nstyle: [slang]\npersuasion: [logical_appeal]\n")
    with pytest.raises(HarnessError, match=r"style 'slang' has none .*or --variant rag"):
        generate(options(tmp_path / "made", factors=file))
    made = generate(options(tmp_path / "made", factors=file, variant="rag", replicates=4))
    assert [one.cell for one in made.inputs] == [("a", "slang", "logical_appeal")] * 4
    assert [one.replicate for one in made.inputs] == [0, 1, 2, 3]


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="no folder that can be written to"):
        generate(options(tmp_path / "file" / "made"))
    (tmp_path / "other").mkdir()
    with pytest.raises(ArtefactError, match=rf"other exists and has no {MANIFEST}"):
        generate(options(tmp_path / "other"))
    real = Path.open

    def full(self: Path, *args: Any, **named: Any) -> Any:
        if FILE in self.name:
            raise OSError(28, "No space left on device")
        return real(self, *args, **named)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "open", full)
        with pytest.raises(ArtefactError, match=r"cannot be written: .*No space left"):
            generate(options(tmp_path / "made"))
    assert not list(tmp_path.glob("*made*"))
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(HarnessError, match="point PAPERHARNESS_CACHE to another folder"):
        generate(options(tmp_path / "made"))


def command(*words: str | os.PathLike[str]) -> int:
    """Run ``harness astral`` in this process; returns its exit status."""
    before = sys.argv
    sys.argv = ["harness", "astral", *map(str, words)]
    try:
        harness.cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made"
    writer = "testbed-writer"
    given = ("--generator", writer, "--seeds", "testbed", "--strength", "2", "--replicates", "1",
             "--benign", "--verify", writer, "--out", out)  # fmt: skip
    assert command("generate", *given) == 0
    told = capsys.readouterr()
    assert "(written): 84 probe inputs, 84 benign inputs; requested 1-wise 100.0%" in told.out
    assert "verified 1-wise 100.0%, 2-wise 100.0%, 3-wise 20.0%" in told.out
    assert "generator: probe, 84 questions" in told.err and "(the bound)" in told.err
    assert command("generate", *given) == 0
    assert "(already there)" in capsys.readouterr().out
    assert command("show", out) == 0
    shown = capsys.readouterr().out
    assert "84 probe, 84 benign in 84 cells" in shown and "secret" not in shown
    assert command("coverage", out) == 0
    assert "2-wise: 184/184 (100.0%)" in capsys.readouterr().out
    assert command("coverage", "--strength", "full") == 0
    assert "420 cells (the bound) × 3 = 1260 inputs" in capsys.readouterr().out
    for wrong, says in (
        (
            ("generate", *given[:-1], tmp_path / "x", "--variant", "bag"),
            "--variant bag: use one of rag",
        ),
        (("generate", *given[:-1], tmp_path / "x", "--generator", "{"), "nor valid JSON"),
        (("show", tmp_path), "no suite there"),
        (("coverage", "--strength", "9"), "--strength 9: use one of full, 1"),
    ):
        assert command(*wrong) == 1
        (line,) = [own for own in capsys.readouterr().err.splitlines() if "error" in own]
        assert says in line
