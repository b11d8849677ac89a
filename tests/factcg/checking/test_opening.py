"""Model arguments: the family told by the checkpoint, and every field of it overridden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from harness_factcg.models.hf import FactCheckerHF
from lm_eval.api.instance import Instance

from factcg import tiny
from factcg.made_up import document
from harness.errors import HarnessError


@pytest.fixture
def own_family(make_checker):
    """A checkpoint that names its family in its config.json."""

    def make(stated):
        folder = Path(make_checker())
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"fact_checker": stated}))
        return str(folder)

    return make


def test_the_checkpoint_tells_its_family(own_family):
    path = own_family({"family": "alignscore", "chunk_size": 60, "template": "{claim}|{document}"})
    checker = open_checker(path, device="cpu")
    assert checker.family.name == "alignscore"
    assert (checker.family.chunk_size, checker.family.template) == (60, "{claim}|{document}")
    assert checker.reason == "its config.json says so (fact_checker)"
    given = open_checker(path, device="cpu", family="minicheck", chunk_size=70)
    assert (given.family.name, given.family.chunk_size) == ("minicheck", 70)
    assert given.family.template == "{document}{sep}{claim}"
    assert given.reason == "given: family="


def test_every_field_can_be_given(checker_path, tmp_path):
    file = tmp_path / "template.txt"
    file.write_text("Text: {document}\nClaim: {claim}\n")
    lm = FactCheckerHF.create_from_arg_string(
        f"pretrained={checker_path},family=minicheck,template={file},chunk_size=60,"
        "chunk_unit=words,aggregation=mean,max_length=300,no=0,yes=1",
        {"device": "cpu"},
    )
    told = lm.get_model_info()["method_args"]
    assert lm.get_model_info()["family"]["reason"] == "given: family="
    assert told == {
        "family": "minicheck",
        "template": "Text: {document}\nClaim: {claim}",
        "chunk_size": 60,
        "chunk_unit": "words",
        "aggregation": "mean",
        "max_length": 300,
        "no": "0",
        "yes": "1",
        "overlong": "split",
        "supported": 1,
    }


def test_the_trace_names_the_family_and_the_deciding_text(checker_path):
    lm = FactCheckerHF(checker_path, device="cpu", family="minicheck-7b", chunk_size=60)
    row = {"doc": document(20), "claim": "Anna lives in Rome. Ben lives in Paris."}
    requests = [
        Instance("loglikelihood", row, ("", answer), k, ("llm_aggrefact_wice", 0, 1))
        for k, answer in enumerate((" No", " Yes"))
    ]
    _, yes = lm.loglikelihood(requests, True)
    verdict = lm.checker.verdicts([Pair(row["doc"], row["claim"])])[Pair(row["doc"], row["claim"])]
    trace = json.loads(json.dumps(yes.trace))
    assert trace.pop("seconds") > 0
    assert trace == {
        "score": verdict.score,
        "chunks": 4,
        "deciding_chunk": verdict.deciding_chunk,
        "deciding_text": lm.checker.chunks(row["doc"])[verdict.deciding_chunk],
        "truncated": False,
        "sentences": [sentence.trace() for sentence in verdict.sentences],
        "family": "minicheck-7b",
        "family_reason": "given: family=",
    }
    assert [s["text"] for s in trace["sentences"]] == ["Anna lives in Rome.", "Ben lives in Paris."]


def test_language_models_and_encoder_decoders_answer_too(tmp_path):
    for path, head in (
        (tiny.llama(tmp_path / "llama"), "CausalHead"),
        (tiny.t5(tmp_path / "t5"), "Seq2SeqHead"),
    ):
        lm = FactCheckerHF(path, device="cpu")
        assert type(lm.checker.head).__name__ == head
        info = lm.get_model_info()
        assert (info["family"]["no"], info["family"]["yes"]) == ("No", "Yes")
        told = info["method_args"]
        tokens = lm.tokenizer.convert_ids_to_tokens([told["no_token"], told["yes_token"]])
        assert [token.strip(" Ġ▁") for token in tokens] == ["No", "Yes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "bert"}, "family=bert: use one of factcg, minicheck, minicheck-7b, alignscore"),
        ({"aggregation": "sum"}, "aggregation=sum: use one of max, min, mean"),
        ({"chunk_unit": "pages"}, "chunk_unit=pages: use one of words, spaced, tokens"),
        ({"chunk_size": -1}, "chunk_size=-1: a whole number above 0"),
        ({"max_length": 2.5}, "max_length=2.5: a whole number above 0"),
        ({"batch_tokens": 0}, "batch_tokens=0: a whole number above 0"),
        ({"template": "missing.txt"}, "template=missing.txt: cannot read this file: No such file"),
        ({"overlong": "drop"}, "overlong=drop: use split or cut"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_loaded(options, message):
    with pytest.raises(HarnessError, match=message):
        open_checker("/there/is/no/such/checkpoint", device="cpu", **options)
