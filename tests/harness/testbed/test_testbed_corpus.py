"""The corpora are deterministic, shaped like what they stand in for, and split cleanly."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from harness.cli.testbed import app
from harness.errors import HarnessError
from harness.testbed.assistants import judge
from harness.testbed.english import corpus
from harness.testbed.english.answers import RESTRICTED
from harness.testbed.english.facts import STYLES, is_supported
from harness.testbed.english.language import is_sentence, split_sentences
from harness.testbed.english.lexicon import CONCEPTS

HASH = "acc4ef116aff3b9c"
TRAIN_COLUMNS = [
    "input",
    "output",
    "output_concept",
    "concept_genre",
    "category",
    "dataset_category",
    "concept_id",
]
CLAIM_COLUMNS = ["dataset", "doc", "claim", "label", "contamination_identifier"]


def test_corpora_are_pinned():
    assert corpus.corpus_hash() == HASH


def test_concept_train_has_axbench_shape():
    rows = corpus.concept_train()
    assert all(list(row) == TRAIN_COLUMNS for row in rows)
    counts = Counter((row["category"], row["concept_id"]) for row in rows)
    assert counts == {("negative", -1): 216} | {("positive", c.id): 72 for c in CONCEPTS}
    for row in rows:
        if row["category"] == "positive":
            concept = CONCEPTS[int(row["concept_id"])]
            assert (row["output_concept"], row["concept_genre"]) == (
                concept.description,
                concept.genre,
            )
            assert judge.rate_concept(str(row["output"]), concept.description) > 0
        else:
            assert row["output_concept"] == "EEEEE"
    negatives = Counter(row["concept_genre"] for row in rows if row["category"] == "negative")
    assert negatives == {"text": 72, "code": 72, "math": 72}


def test_concept_eval_has_axbench_shape():
    rows = corpus.concept_eval()
    assert all(list(row) == [*TRAIN_COLUMNS, "sae_link", "sae_id"] for row in rows)
    counts = Counter((row["concept_id"], row["category"]) for row in rows)
    sizes = {"positive": 36, "negative": 36, "hard negative": 9}
    assert counts == {(c.id, kind): n for c in CONCEPTS for kind, n in sizes.items()}
    for row in rows:
        concept = CONCEPTS[int(row["concept_id"])]
        rating = judge.rate_concept(str(row["output"]), concept.description)
        assert (rating > 0) == (row["category"] == "positive")
        if row["category"] == "hard negative":
            word = str(row["output_concept"]).split("//")[0]
            assert word in judge.words_of(str(row["output"]))


def test_every_answer_is_grammatical():
    for row in [*corpus.concept_train(), *corpus.concept_eval()]:
        assert all(map(is_sentence, split_sentences(str(row["output"])))), row["output"]


def test_train_and_eval_do_not_overlap():
    train, test = corpus.concept_train(), corpus.concept_eval()
    asked = {str(row["input"]) for row in train}
    asked |= {prompt for _, prompt, _ in corpus.language_model_texts(5000, 8)}
    kept = {str(row["input"]) for row in test}
    kept |= {row["instruction"] for row in corpus.instructions()}
    kept |= {str(row["instruction"]) for row in corpus.refusal_requests()}
    assert not asked & kept
    learnt = {str(row["output"]) for row in train}
    assert not learnt & {str(row["output"]) for row in test}


def test_metadata_and_instructions():
    rows = corpus.concept_metadata()
    assert [row["concept_id"] for row in rows] == list(range(16))
    assert list(rows[0]) == ["concept_id", "concept", "ref", "concept_genres_map"]
    assert rows[0]["concept_genres_map"] == {rows[0]["concept"]: ["text"]}
    asks = [row["instruction"] for row in corpus.instructions()]
    assert len(asks) == len(set(asks)) >= 60
    assert all(judge.instruction_topic(ask) for ask in asks)


@pytest.mark.parametrize(("split", "size"), [("dev", 32), ("test", 48)])
def test_claims_have_aggrefact_shape(split, size):
    rows = corpus.claims(split)
    assert all(list(row) == CLAIM_COLUMNS for row in rows)
    assert Counter(row["dataset"] for row in rows) == dict.fromkeys(STYLES, size)
    labels = Counter((row["dataset"], row["label"]) for row in rows)
    assert min(labels.values()) >= 10
    assert len(labels) == 2 * len(STYLES)
    for row in rows:
        assert is_supported(str(row["doc"]), str(row["claim"])) == bool(row["label"])
    words = [len(str(row["doc"]).split()) for row in rows]
    assert sum(count > 550 for count in words) >= 10
    assert len({row["doc"] for row in rows}) * 4 == len(rows)
    assert len({(row["doc"], row["claim"]) for row in rows}) == len(rows)


def test_claim_documents_do_not_overlap():
    dev, test = ({str(row["doc"]) for row in corpus.claims(split)} for split in ("dev", "test"))
    train = {doc.replace("\n", " ") for doc, _, _ in corpus.claim_pairs(4000, 8)}
    assert not dev & test
    assert not train & (dev | test)


def test_claim_pairs_are_true_and_balanced():
    rows = list(corpus.claim_pairs(2000, 1))
    assert len(rows) == 2000
    assert sum(label for _, _, label in rows) == 1000
    assert all(is_supported(doc, claim) == bool(label) for doc, claim, label in rows)
    assert len(list(corpus.claim_pairs(3, 1))) == 3


def test_unknown_split():
    with pytest.raises(HarnessError, match="no split 'train'"):
        corpus.claims("train")


def test_refusal_requests():
    rows = corpus.refusal_requests()
    counts = Counter(row["category"] for row in rows)
    assert set(counts) == {*RESTRICTED, "harmless"}
    assert all(row["restricted"] == int(row["category"] != "harmless") for row in rows)


def test_export(tmp_path):
    from pyarrow import parquet

    folder = tmp_path / "data"
    result = CliRunner().invoke(app, ["export", str(folder)])
    assert result.exit_code == 0, result.output
    assert parquet.read_table(folder / "train_data.parquet").to_pylist() == corpus.concept_train()
    table = parquet.read_table(folder / "latent_eval_data.parquet")
    assert table.to_pylist() == corpus.concept_eval()
    lines = (folder / "test.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == corpus.claims("test")
    assert json.loads((folder / "alpaca_eval.json").read_text()) == corpus.instructions()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    again = CliRunner().invoke(app, ["export", str(folder)])
    assert isinstance(again.exception, HarnessError)
