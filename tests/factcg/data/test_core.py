from __future__ import annotations

import json

import pytest
from harness_factcg.data.core_pairs import TESTBED_PAIRS, factcg_core, ready_pairs, wice_pairs

from factcg.made_up import rows as aggrefact_rows
from factcg.made_up import write_jsonl
from harness.errors import DataError
from harness.testbed.english import chains

EVIDENCE = [
    "Anna works at Borealis. ",
    "",
    "Borealis is a firm.",
    "Borealis is in Rome.",
    "It rains.",
]


def wice(sets, label="supported", evidence=EVIDENCE, claim="Anna works in Rome."):
    return {
        "label": label,
        "supporting_sentences": sets,
        "claim": claim,
        "evidence": evidence,
        "meta": {"id": "dev0"},
    }


def test_the_first_common_sentence_goes():
    positive, negative = wice_pairs([wice([[0, 3], [2, 3, 0]])], "here")
    assert positive["doc"] == (
        "Anna works at Borealis. Borealis is a firm. Borealis is in Rome. It rains."
    )
    assert negative["doc"] == "Borealis is a firm. Borealis is in Rome. It rains."
    assert (positive["label"], negative["label"]) == (1, 0)
    assert positive["claim"] == negative["claim"] == "Anna works in Rome."
    assert positive["pair_id"] == negative["pair_id"] == "1"
    assert negative["removed"] == "Anna works at Borealis."


def test_only_a_sentence_that_all_sets_share():
    _, negative = wice_pairs([wice([[0, 3], [2, 3]])], "here")
    assert negative["removed"] == "Borealis is in Rome."


@pytest.mark.parametrize(
    "row",
    [
        wice([[0, 3], [3]]),  # one annotator needed a single sentence
        wice([[0, 3], [2, 4]]),  # nothing in common
        wice([[0, 3]], label="partially_supported"),
        wice([[0, 3]], label="not_supported"),
        wice([[]]),
        wice([[3, 3]]),  # one sentence, named twice
    ],
)
def test_no_pair_of_other_claims(row):
    assert wice_pairs([row], "here") == []


def test_every_copy_of_the_sentence_goes():
    evidence = ["(title) Anna.", "Anna works at Borealis.", "Borealis is in Rome.", EVIDENCE[0]]
    _, negative = wice_pairs([wice([[1, 2]], evidence=evidence)], "here")
    assert negative["doc"] == "(title) Anna. Borealis is in Rome."


def test_a_file_of_wice(tmp_path):
    rows = [wice([[0, 3]]), wice([[3]]), wice([[2, 3]], claim="A firm is in Rome.")]
    path = write_jsonl(tmp_path / "dev.jsonl", rows)
    found = factcg_core(core_data=str(path))
    assert (found.split, found.notes) == ("dev", {"n_pairs": 2})
    assert [row["pair_id"] for row in found.rows] == ["1", "1", "3", "3"]
    assert factcg_core(core_data=str(tmp_path), core_split="dev").rows == found.rows
    write_jsonl(tmp_path / "other" / "wice" / "test.jsonl", rows[:1])
    assert factcg_core(data=str(tmp_path / "other")).notes == {"n_pairs": 1}
    with pytest.raises(DataError, match=r"no split 'test', but .*core_split=dev"):
        factcg_core(core_data=str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": "One text."}, "row 2: evidence is no list of sentences"),
        ({"evidence": [1, 2]}, "row 2: evidence is no list of sentences"),
        ({"supporting_sentences": [0, 3]}, "row 2: supporting_sentences is no list of lists"),
        ({"supporting_sentences": [[0, 5]]}, "among the 5 sentences of the evidence"),
        ({"supporting_sentences": [["0"]]}, "row 2: supporting_sentences is no list of lists"),
        ({"claim": " "}, "row 2: claim is empty or no text"),
        ({"label": None, "claim": None}, "row 2: claim is empty or no text"),
    ],
)
def test_a_wice_row_of_another_kind_is_named(tmp_path, change, message):
    path = write_jsonl(tmp_path / "test.jsonl", [wice([[0, 3]]), wice([[0, 3]]) | change])
    with pytest.raises(DataError, match=message) as raised:
        factcg_core(core_data=str(path))
    assert str(path) in str(raised.value)


def test_a_missing_field_is_named(tmp_path):
    row = wice([[0, 3]])
    del row["supporting_sentences"]
    path = write_jsonl(tmp_path / "test.jsonl", [row])
    with pytest.raises(DataError, match=r"row 1: missing field\(s\) supporting_sentences of WiCE"):
        factcg_core(core_data=str(path))


def test_a_file_without_any_pair(tmp_path):
    path = write_jsonl(tmp_path / "test.jsonl", [wice([[3]]), wice([[0]])])
    with pytest.raises(DataError, match="no supported claim of its 2 rests on two sentences"):
        factcg_core(core_data=str(path))
    with pytest.raises(DataError, match="has no rows"):
        factcg_core(core_data=str(write_jsonl(tmp_path / "empty.jsonl", [])))


PAIRS = [
    {"doc": "Anna asks about Rome.", "claim": "Anna lives in Rome.", "label": 0, "pair_id": 7},
    {"doc": "Ben lives in Oslo.", "claim": "Ben lives in Oslo.", "label": 1, "pair_id": 8},
    {"doc": "Anna lives in Rome.", "claim": "Anna lives in Rome.", "label": 1, "pair_id": 7},
    {"doc": "Ben thinks of Oslo.", "claim": "Ben lives in Oslo.", "label": 0, "pair_id": 8},
]


def test_ready_pairs_are_put_side_by_side(tmp_path):
    found = factcg_core(core_data=str(write_jsonl(tmp_path / "pairs.jsonl", PAIRS)))
    assert [(row["pair_id"], row["label"]) for row in found.rows] == [
        ("7", 1),
        ("7", 0),
        ("8", 1),
        ("8", 0),
    ]
    assert found.rows[0]["doc"] == "Anna lives in Rome."


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (PAIRS[:3], r"pair_id 8 has 1 row\(s\); a pair is two rows"),
        ([*PAIRS, PAIRS[0]], r"pair_id 7 has 3 row\(s\)"),
        ([PAIRS[0], PAIRS[0] | {"label": 1, "claim": "Another."}], r"with the same claim"),
        ([PAIRS[0], PAIRS[0]], r"pair_id 7 has 2 row\(s\)"),
        ([PAIRS[0] | {"pair_id": ""}], r"row 1: no pair_id; needed are doc, claim, label and"),
        ([PAIRS[0] | {"label": 2}], r"row 1: label 2 is neither 0"),
        ([{"doc": "A."}], r"row 1: missing column\(s\) claim, label"),
    ],
)
def test_bad_pairs(rows, message):
    with pytest.raises(DataError, match=message):
        ready_pairs(rows, "pairs.jsonl")


def test_released_pairs(tmp_path):
    rows = [
        {"task": "bin_grounding", "text_a": text, "text_b": [claim], "text_c": [], "orig_label": k}
        for text, claim, k in [("A b.", "C.", 1), ("A.", "C.", 0), ("D e.", "F.", 1)]
    ]
    found = factcg_core(core_data=str(write_jsonl(tmp_path / "CG2C_doc.jsonl", rows)))
    assert [(row["doc"], row["label"]) for row in found.rows] == [("A b.", 1), ("A.", 0)]


@pytest.mark.parametrize("split", ["test", "dev"])
def test_the_testbeds_pairs_are_true(split):
    found = factcg_core(data="testbed", core_split=split)
    assert found.notes == {"n_pairs": TESTBED_PAIRS}
    for row in found.rows:
        assert chains.supports(row["doc"], row["claim"]) == bool(row["label"])
    lengths = [len(row["doc"].split()) for row in found.rows]
    assert lengths[::2] == lengths[1::2]
    assert found.sha256 == factcg_core(data="testbed", core_split=split).sha256


def test_dev_and_test_of_the_testbed_differ():
    test, dev = (factcg_core(data="testbed", core_split=split).rows for split in ("test", "dev"))
    assert not {row["doc"] for row in test} & {row["doc"] for row in dev}


@pytest.mark.parametrize("metadata", [{}, {"data": "hub"}, {"core_data": "hub", "data": "testbed"}])
def test_no_hub_has_the_pairs(metadata):
    with pytest.raises(DataError, match=r"on no hub.*core_data=FILE or FOLDER.*ryokamoi/wice"):
        factcg_core(**metadata)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match=r"core_data=.*: no such file or folder"):
        factcg_core(core_data=str(tmp_path / "missing"))
    with pytest.raises(DataError, match=r"no test\.parquet.* sub-folder core or wice"):
        factcg_core(core_data=str(tmp_path))
    with pytest.raises(DataError, match="core_split=train: use one of test, dev"):
        factcg_core(data="testbed", core_split="train")
    broken = tmp_path / "test.jsonl"
    broken.write_text(json.dumps(PAIRS[0]) + "\n" + json.dumps(PAIRS[1])[:30])
    with pytest.raises(DataError, match=r"test\.jsonl, line 2: not valid JSON"):
        factcg_core(core_data=str(tmp_path))


def test_the_threshold_may_be_tuned_on_wices_dev_claims(tmp_path, caplog):
    """Of six dev claims one is that of a pair: it stays, as in the paper's code, and is counted."""
    write_jsonl(tmp_path / "core" / "test.jsonl", PAIRS)
    dev = [row | {"dataset": "Wice"} for row in aggrefact_rows(5, ["Wice"])]
    dev.append({"dataset": "Wice", "doc": PAIRS[1]["doc"], "claim": PAIRS[1]["claim"], "label": 1})
    write_jsonl(tmp_path / "aggrefact" / "dev.jsonl", dev)
    plain = factcg_core(data=str(tmp_path))
    assert "split" not in plain.rows[0]
    found = factcg_core(data=str(tmp_path), core_threshold="tuned")
    assert found.notes == {"n_pairs": 2, "n_dev": 6, "dev_rows_in_pairs": 1}
    assert "1 of the 6 claims that tune the threshold are CoRe's own" in caplog.text
    splits = [row["split"] for row in found.rows]
    assert (splits.count("dev"), splits.count("test")) == (6, 4)
    assert {tuple(sorted(row)) for row in found.rows} == {
        ("claim", "doc", "label", "pair_id", "split")
    }
    assert len(found.dataset()) == 10


@pytest.mark.parametrize("value", ["dev", 0, 1, "", None, "1.5", float("nan")])
def test_no_threshold(value):
    with pytest.raises(DataError, match=r"core_threshold=.*: a number between 0 and 1, or tuned"):
        factcg_core(data="testbed", core_threshold=value)
