"""``harness factcg score``: what it takes, prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.checking.checker import Checker
from harness_factcg.commands import app
from harness_factcg.report.score import read_document
from typer.testing import CliRunner

from factcg.made_up import document, write_jsonl
from harness.errors import DataError, HarnessError
from harness.testbed.english import corpus

pytestmark = pytest.mark.long

TEXT = "Anna lives in Rome. Ben plays chess. Clara owns a cat. It is warm in the evening."


def run(*arguments: object, stdin: str | None = None) -> str:
    found = CliRunner(env={"COLUMNS": "100"}).invoke(
        app, ["score", *map(str, arguments)], input=stdin, catch_exceptions=False
    )
    assert found.exit_code == 0, found.output
    return found.stdout


def refused(*arguments: object, stdin: str | None = None) -> str:
    found = CliRunner().invoke(app, ["score", *map(str, arguments)], input=stdin)
    assert isinstance(found.exception, HarnessError), found.output
    return str(found.exception)


TESTBED = ("--model", "testbed:checker", "--model-args", "device=cpu")


def test_one_claim() -> None:
    """The verdict, the score, the chunk, and the sentence it rests on with its drop."""
    shown = run(TEXT, "Ben plays chess.", *TESTBED)
    first, *rest = [line for line in shown.splitlines() if line.strip()]
    assert first.startswith("Supported  0.9") and first.endswith("Ben plays chess.")
    assert rest[0] == TEXT
    assert rest[1] == "rests on, with what the log-odds lose without it:"
    number, sentence = rest[2].split(maxsplit=1)
    assert float(number) > 5 and number[0] == "+"
    assert sentence == "Ben plays chess."
    assert run(TEXT, "Ben plays golf.", *TESTBED).startswith("Not supported  0.0")


def test_each_sentence_of_a_claim() -> None:
    shown = run(TEXT, "Ben plays chess. Clara owns a dog.", *TESTBED).splitlines()
    assert shown[0].startswith("Not supported  0.0")
    assert shown[1].startswith("  Supported  0.9") and shown[1].endswith("Ben plays chess.")
    assert shown[2].startswith("  Not supported  0.0")


def test_a_threshold_and_no_explanation() -> None:
    strict = run(TEXT, "Ben plays chess.", *TESTBED, "--threshold", 1, "--no-explain")
    assert strict.startswith("Not supported  0.9")
    assert "speaks against" not in strict


def test_a_terminal_gets_no_control_characters() -> None:
    shown = run(f"\x1b]0;planted\x07{TEXT}", "[red]Ben[/red] \x1b[2Jplays.", *TESTBED)
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[red]Ben[/red] \\x1b[2Jplays." in shown


def test_documents_from_files_and_stdin(tmp_path: Path) -> None:
    (tmp_path / "doc.txt").write_text(TEXT, encoding="utf-8")
    expected = run(TEXT, "Ben plays chess.", *TESTBED)
    assert run(tmp_path / "doc.txt", "Ben plays chess.", *TESTBED) == expected
    assert run("-", "Ben plays chess.", *TESTBED, stdin=TEXT) == expected
    assert run("-", "Ben plays chess.", *TESTBED, stdin=f"\ufeff{TEXT}") == expected


def test_bytes_of_the_command_line_that_are_no_text() -> None:
    """Python has half a surrogate pair for each; no tokenizer takes one."""
    assert refused(f"{TEXT} \udcff", "c", *TESTBED) == "the document is not UTF-8 text"
    assert refused(TEXT, "\udcff", *TESTBED) == "the claim is not UTF-8 text"


def test_what_is_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfAnna sings.")
    assert read_document(str(tmp_path / "bom.txt")) == "Anna sings."
    for text in ("Anna sings.", "罗马是意大利的首都。", "Rome.", "word " * 9999, "a\0b c", "~x y"):
        assert read_document(text) == text
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Rome").mkdir()
    assert read_document("Rome") == "Rome"
    for name in ("doc.txt", "some/where", "report.html"):
        with pytest.raises(DataError, match=f"no such file: {name}"):
            read_document(name)
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"the document is empty: empty\.txt"):
        read_document("empty.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 noir")
    with pytest.raises(DataError, match=r"cannot read the document latin\.txt: it is not UTF-8"):
        read_document("latin.txt")
    with pytest.raises(DataError, match=r"^the document is empty$"):
        read_document("")


def test_what_is_refused(tmp_path: Path, checker_path: str, headless_path: str) -> None:
    """Each in one line, before a model is loaded where that can be."""
    assert "DOC CLAIM, or a table" in refused(*TESTBED)
    assert "DOC CLAIM, or a table" in refused(TEXT, *TESTBED)
    data = write_jsonl(tmp_path / "r.jsonl", [{"doc": TEXT, "claim": "c"}])
    assert "not both" in refused(TEXT, "c", "--data", data, *TESTBED)
    assert "the claim is empty" in refused(TEXT, " ", *TESTBED)
    assert "stdin" in refused("-", "c", *TESTBED, stdin="")
    assert "leave pretrained= out" in refused(
        TEXT, "c", "--model", "m", "--model-args", "pretrained=x"
    )
    assert "no argument chunks" in refused(TEXT, "c", "--model", "m", "--model-args", "chunks=3")
    assert "no such folder" in refused(TEXT, "c", "--model", "/nowhere/at/all")
    assert "random" in refused(TEXT, "c", "--model", headless_path, "--model-args", "device=cpu")
    assert "exists already" in refused(TEXT, "c", *TESTBED, "--out", tmp_path)
    long = refused(TEXT, "c " * 900, "--model", checker_path, "--model-args", "device=cpu")
    assert "too many for a document beside" in long
    missing = CliRunner().invoke(app, ["score", TEXT, "c"])
    assert missing.exit_code == 2 and "--model" in missing.output


def rows() -> list[dict[str, Any]]:
    return [
        {"doc": row["doc"], "claim": row["claim"], "label": row["label"], "dataset": row["dataset"]}
        for row in corpus.claims("dev")
        if len(str(row["doc"])) < 300
    ][:24]


def test_a_table_of_claims(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "r.jsonl", rows())
    shown = run("--data", data, *TESTBED)
    assert "supported" in shown and "balanced accuracy" in shown.splitlines()[-1]
    many = run("--data", write_jsonl(tmp_path / "m.jsonl", rows() * 3), *TESTBED, "--no-explain")
    assert "… and 22 more; --out FOLDER keeps them all" in many


def test_a_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = write_jsonl(tmp_path / "r.jsonl", rows())
    shown = run("--data", data, *TESTBED, "--out", out, "--title", "Claims of mine")
    assert shown.startswith(f"{out / 'report.html'}: ")
    saved = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert [line["row"] for line in saved] == list(range(1, 25))
    assert [line["claim"] for line in saved] == [row["claim"] for row in rows()]
    right = [(line["verdict"] == "supported") == (line["label"] == 1) for line in saved]
    assert sum(right) >= 22
    for line in saved:
        for reason in line["rests_on"]:
            place = slice(reason["start"], reason["end"])
            assert rows()[line["row"] - 1]["doc"][place] == reason["sentence"]
    assert "<h1>Claims of mine</h1>" in (out / "report.html").read_text(encoding="utf-8")


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was scored before a stop is not scored again; the report is the same."""
    data = write_jsonl(tmp_path / "r.jsonl", rows())
    forward = Checker._forward
    read: list[int] = []

    def counted(self: Checker, prompts: Any) -> Any:
        if stop_after and sum(read) >= stop_after:
            raise KeyboardInterrupt
        read.append(len(prompts))
        return forward(self, prompts)

    monkeypatch.setattr(Checker, "_forward", counted)
    stop_after = 40
    stopped = CliRunner().invoke(
        app, ["score", "--data", str(data), *TESTBED, "--out", str(tmp_path / "out")]
    )
    assert stopped.exit_code == 130 and not (tmp_path / "out").exists()
    first, stop_after = sum(read), 0
    run("--data", data, *TESTBED, "--out", tmp_path / "out")
    both = sum(read)
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path / "other"))
    read.clear()
    run("--data", data, *TESTBED, "--out", tmp_path / "again")
    assert first >= 40 and both == sum(read)
    saved = [(tmp_path / name / "scores.jsonl").read_text() for name in ("out", "again")]
    lines = [[json.loads(line) for line in text.splitlines()] for text in saved]
    for one, other in zip(*lines, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert one["verdict"] == other["verdict"]


def test_long_documents_of_other_families(tmp_path: Path, llama_path: str) -> None:
    """A language model judged by claim sentences, and chunks in its own tokens."""
    claim = "Anna lives in Rome. Ben lives in Paris."
    data = write_jsonl(tmp_path / "r.jsonl", [{"doc": document(30), "claim": claim}])
    options = "device=cpu,aggregation=min,chunk_unit=tokens,chunk_size=90"
    out = tmp_path / "out"
    run("--data", data, "--model", llama_path, "--model-args", options, "--out", out)
    (line,) = [json.loads(text) for text in (out / "scores.jsonl").read_text().splitlines()]
    assert line["margin"] == min(sentence["margin"] for sentence in line["sentences"])
    assert all("rests_on" in sentence for sentence in line["sentences"])
    assert line["chunks"] == 4
