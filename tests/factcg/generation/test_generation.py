"""CG2C pairs by the testbed's writer: each label is the truth, and tells by nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.data import cg2c
from harness_factcg.generation import generate as generation
from harness_factcg.generation.generate import Options, generate
from harness_factcg.generation.pipeline import hard

import harness.cli
from harness.asking.desk import writer_spec
from harness.data.sources import Row
from harness.errors import ArtefactError, DataError, HarnessError
from harness.testbed.english import chains


def options(out: Path, **changes: Any) -> Options:
    given: dict[str, Any] = {
        "out": out,
        "writer": writer_spec("testbed-writer"),
        "source": "testbed",
        "items": 60,
    }
    return Options(**given | changes)


def rows_of(out: Path, **changes: Any) -> list[Row]:
    return cg2c.read(generate(options(out, **changes)).file)


@pytest.mark.parametrize("kind", ["doc", "mhqa"])
def test_every_label_is_the_truth(tmp_path: Path, kind: str) -> None:
    rows = rows_of(tmp_path / "made", kind=kind, per_document=2)
    assert len(rows) >= 100 and {row["source"] for row in rows} == {kind}
    for positive, negative in cg2c.pairs(rows):
        claim = positive["claim"]
        assert claim == negative["claim"] and positive["hops"] == len(chains.claimed(claim))
        assert chains.supports(positive["doc"], claim)
        assert not chains.supports(negative["doc"], claim)
        head, relation, tail = positive["removed"]
        fact = chains.parse(relation)
        assert fact is not None and (fact.name, fact.value) == (head, tail)
        before, after = chains.stated(positive["doc"]), chains.stated(negative["doc"])
        assert [own for own in before if own != fact] == after, "one fact is gone, and only it"
        assert len(positive["doc"].split()) == len(negative["doc"].split())
    assert len(cg2c.pairs(rows)) * 2 == len(rows)


def test_hops_and_claims_of_a_document(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "made", hops=(1, 4), per_document=3)
    counts: dict[str, list[Row]] = {}
    for row in rows:
        counts.setdefault(row["pair_id"].rpartition("-")[0], []).append(row)
    assert {row["hops"] for row in rows} == {1, 4}
    for own in counts.values():
        claims = [frozenset(chains.claimed(row["claim"])) for row in own if row["label"]]
        assert len(set(claims)) == len(claims) <= 3, "different paths"


def test_a_positive_has_all_paragraphs_and_a_negative_others_evidence(tmp_path: Path) -> None:
    from harness_factcg.generation import sources

    items = {item.id: item for item in sources.read("testbed", "mhqa", 60, 42)}
    for positive, negative in cg2c.pairs(rows_of(tmp_path / "made", kind="mhqa")):
        passage = items[positive["pair_id"].removesuffix("-0")].passage
        assert positive["doc"] == passage.text
        changed = [
            own
            for own, before, after in zip(
                passage.evidence, passage.paragraphs, negative["doc"].split("\n"), strict=True
            )
            if before != after
        ]
        assert changed and all(changed), "only supporting paragraphs"


def test_equal_recipes_make_equal_pairs_and_other_items_change_none(tmp_path: Path) -> None:
    one, two = generate(options(tmp_path / "one")), generate(options(tmp_path / "two"))
    assert one.file.read_bytes() == two.file.read_bytes()
    assert generate(options(tmp_path / "one")).already_there
    more = rows_of(tmp_path / "more", items=90)
    assert more[: len(cg2c.read(one.file))] == cg2c.read(one.file)
    for changes, differs in (
        ({"seed": 7}, "--items or the rows of --source, --seed"),
        ({"hops": (3,)}, "--hops"),
        ({"per_document": 2}, "--per-document"),
        ({"kind": "mhqa"}, "--hops, --items or the rows of --source, --kind, --per-document"),
        ({"hard_filter": "testbed:checker"}, "--hard-filter"),
    ):
        with pytest.raises(ArtefactError, match=rf"other pairs \(they differ in: {differs}\)"):
            generate(options(tmp_path / "one", **changes))


def test_the_account(tmp_path: Path) -> None:
    made = generate(options(tmp_path / "made", hops=(4,)))
    account = json.loads((tmp_path / "made" / "generation.json").read_text())
    assert account == made.manifest
    assert account["pairs"] + account["left_out"]["no path of the wanted hops"] == 60
    assert account["pairs_by_hops"] == {"4": account["pairs"]}
    assert account["length_gap"] == {
        "pairs": account["pairs"], "shorter": 0, "longer": 0, "median": 0,
    }  # fmt: skip
    assert account["costs"]["writer"]["graph"]["requests"] == 60
    assert str(tmp_path) not in json.dumps(account)


def test_the_hard_filter_keeps_what_a_classifier_gets_wrong(tmp_path: Path) -> None:
    rows = [
        {"doc": f"doc {k} {label}", "claim": "c", "label": label} for k in range(4)
        for label in (1, 0)
    ]  # fmt: skip
    given = [0.9, 0.1, 0.9, 0.6, 0.5, 0.1, 0.2, 0.8]

    def scores(pairs: Sequence[tuple[str, str]]) -> list[float]:
        assert pairs == [(row["doc"], "c") for row in rows]
        return given

    assert hard(rows, scores) == rows[2:], "right at both; wrong at one; 0.5 is no support"

    def words(pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [float(len(document) % 2) for document, _ in pairs]

    made = generate(options(tmp_path / "made"), scores=words)
    kept = cg2c.read(made.file)
    for yes, no in cg2c.pairs(kept):
        assert not (len(yes["doc"]) % 2 == 1 and len(no["doc"]) % 2 == 0)
    easy = made.manifest["left_out"]["that the hard filter got right"]
    assert easy and len(kept) == 2 * (60 - easy)


def test_the_testbeds_checker_as_the_hard_filter(tmp_path: Path) -> None:
    made = generate(options(tmp_path / "made", items=12, hard_filter="testbed:checker"))
    pairs = [(row["doc"], row["claim"]) for row in cg2c.read(made.file)]
    found = generation.checker("testbed:checker")(pairs)
    for yes, no in zip(found[::2], found[1::2], strict=True):
        assert yes <= 0.5 or no > 0.5
    assert made.manifest["recipe"]["hard_filter"]["model"] == "checker"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hops": ()}, "--hops are numbers from 1"),
        ({"hops": (0,)}, "--hops are numbers from 1"),
        ({"hops": (2, 2)}, "--hops are numbers from 1"),
        ({"per_document": 0}, "--per-document is at least 1"),
        ({"items": 0}, "--items is at least 1"),
        ({"max_missing": 1.0}, "--max-missing is a share"),
        ({"hops": (9,)}, r"no pair is left of 60 items \(60 no path of the wanted hops\)"),
    ],
)
def test_options_out_of_range(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        generate(options(tmp_path / "made", **changes))
    assert not list(tmp_path.iterdir())


def test_texts_that_are_not_the_testbeds_have_no_path(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Ken Clarke criticized plans.\nIt rained all day.\n")
    with pytest.raises(DataError, match=r"no pair is left of 2 items \(2 no triples\)"):
        generate(options(tmp_path / "made", source=str(tmp_path / "own.txt"), items=None))


def command(*words: str) -> int:
    """Run ``harness factcg generate`` in this process; returns its exit status."""
    before = sys.argv
    sys.argv = ["harness", "factcg", "generate", *words]
    try:
        harness.cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "made")
    given = ("--writer", "testbed-writer", "--source", "testbed", "--items", "20", "--out", out)
    assert command(*given, "--hops", "3", "--per-document", "2") == 0
    told = capsys.readouterr()
    assert "made/cg2c.jsonl (written): " in told.out and "of 3 hops)" in told.out
    assert "lengths: 0 of" in told.out and "median gap +0 words" in told.out
    assert "writer: removal" in told.out and "writer: graph, 20 questions" in told.err
    assert command(*given, "--hops", "3", "--per-document", "2") == 0
    assert "(already there)" in capsys.readouterr().out
    for wrong, says in (
        (("--kind", "docs"), "--kind docs: did you mean doc?"),
        (("--hops", "2;3"), "--hops are numbers such as 2,3"),
        (("--writer", "no-such-model"), "no-such-model"),
    ):
        assert command(*given[:-1], f"{out}-2", *wrong) == 1
        (line,) = [own for own in capsys.readouterr().err.splitlines() if "error" in own]
        assert says in line


def test_a_model_that_does_not_follow_the_form_is_no_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = {"model": "hf", "model_args": {"pretrained": "testbed:student"}}
    asked = json.dumps(writer | {"retries": 0, "max_tokens": 8})
    out = str(tmp_path / "made")
    given = ("--writer", asked, "--source", "testbed", "--items", "3", "--out", out)
    assert command(*given) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "writer 'hf' left 3 of 3 questions unanswered (graph)" in told
    assert "last answer that does not count" in told
    assert not (tmp_path / "made").exists()
