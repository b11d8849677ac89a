from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from harness_factcg.checking.chunking import chunks
from harness_factcg.checking.loading import Checkpoint, load
from harness_factcg.checking.verdicts import prompt
from harness_factcg.models.hf import FactCheckerHF
from lm_eval.api.instance import Instance
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from factcg.made_up import CITIES, NAMES, document, rows
from harness.errors import ArtefactError, HarnessError

SMALL = {"device": "cpu", "chunk_size": 40, "batch_tokens": 700}


def requests(content, task="llm_aggrefact_wice", kind="loglikelihood"):
    return [
        Instance(
            request_type=kind,
            doc=row,
            arguments=(prompt(row.get("doc", ""), row.get("claim", "")), answer),
            idx=k,
            metadata=(task, number, 1),
        )
        for number, row in enumerate(content)
        for k, answer in enumerate((" No", " Yes"))
    ]


def many():
    """Rows that share documents and claims, one to five chunks each, in an odd order."""
    texts = [document(length, length) for length in (1, 14, 3, 9, 5)]
    claims = [f"{name} lives in {city}." for name, city in zip(NAMES, CITIES, strict=True)]
    found = [{"doc": text, "claim": claim} for claim in claims for text in texts]
    return found[::-1] + found[:4]


def plain_scores(path, content, chunk_size=40):
    """One pair at a time, without batches or padding."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    found = []
    for row in content:
        scores = []
        for chunk in chunks(row["doc"], chunk_size):
            batch = tokenizer(prompt(chunk, row["claim"]), return_tensors="pt")
            with torch.no_grad():
                logits = model(batch["input_ids"], batch["attention_mask"]).logits
            scores.append(logits.softmax(-1)[0, 1].item())
        found.append(scores)
    return found


def test_scores_are_those_of_a_plain_loop(checker_path):
    content = many()
    answers = FactCheckerHF(checker_path, **SMALL).loglikelihood(requests(content), True)
    expected = plain_scores(checker_path, content)
    assert len({round(max(scores), 4) for scores in expected}) > 15
    assert max(len(scores) for scores in expected) > 3
    for no, yes, scores in zip(answers[::2], answers[1::2], expected, strict=True):
        best = max(scores)
        assert math.exp(yes[0]) == pytest.approx(best, abs=1e-5)
        assert math.exp(no[0]) == pytest.approx(1 - best, abs=1e-5)
        assert (no[1], yes[1]) == (best < 0.5, best > 0.5)
        assert yes.trace == no.trace
        assert yes.trace["score"] == pytest.approx(best, abs=1e-5)
        assert yes.trace["chunks"] == len(scores)
        assert scores[yes.trace["deciding_chunk"]] == pytest.approx(best, abs=1e-5)
        assert yes.trace["truncated"] is False


def test_each_pair_is_read_once(checker_path, monkeypatch):
    lm = FactCheckerHF(checker_path, **SMALL)
    sizes = []
    stock = lm.checker._forward
    monkeypatch.setattr(
        lm.checker, "_forward", lambda prompts: sizes.append(len(prompts)) or stock(prompts)
    )
    content = many()
    lm.loglikelihood(requests(content * 3), True)
    distinct = {(c, row["claim"]) for row in content for c in chunks(row["doc"], 40)}
    assert sum(sizes) == len(distinct)
    assert len(sizes) > 3


@pytest.mark.parametrize(
    ("options", "index"),
    [
        ({"num_labels": 1}, 0),
        ({"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}}, 2),
        ({"id2label": {0: "supported", 1: "unsupported"}}, 0),
    ],
)
def test_other_heads(make_checker, options, index):
    path = make_checker(**options)
    row = rows(2, ["Wice"])[0]
    lm = FactCheckerHF(path, device="cpu")
    no, yes = lm.loglikelihood(requests([row]), True)
    model = lm.checker.checkpoint.model
    ids = lm.tokenizer(prompt("\n".join(chunks(row["doc"])), row["claim"]), return_tensors="pt")
    with torch.no_grad():
        logits = model(ids["input_ids"]).logits[0]
    p = logits.sigmoid()[0] if len(logits) == 1 else logits.softmax(-1)[index]
    assert math.exp(yes[0]) == pytest.approx(p.item(), abs=1e-5)
    assert math.exp(yes[0]) + math.exp(no[0]) == pytest.approx(1.0)
    assert lm.get_model_info()["method_args"]["supported"] == index


def test_nameless_labels_need_the_argument(make_checker):
    path = make_checker(num_labels=3)
    with pytest.raises(HarnessError, match="supported=N"):
        FactCheckerHF(path, device="cpu")
    assert FactCheckerHF(path, device="cpu", supported=2).checker.head.supported == 2
    with pytest.raises(HarnessError, match=r"supported=3: the model has 3 label\(s\)"):
        FactCheckerHF(path, device="cpu", supported=3)


def test_split_and_cut(checker_path):
    content = [{"doc": document(40), "claim": "Anna lives in Rome."}]
    options = {"device": "cpu", "max_length": 150}
    (_, split) = FactCheckerHF(checker_path, **options).loglikelihood(requests(content), True)
    assert split.trace["chunks"] == 4
    assert split.trace["truncated"] is False
    lm = FactCheckerHF(checker_path, overlong="cut", **options)
    (_, cut) = lm.loglikelihood(requests(content), True)
    assert cut.trace["chunks"] == 1
    assert cut.trace["truncated"] is True


def test_the_response_cache_spares_the_model(checker_path, make_checker, tmp_path, monkeypatch):
    path = tmp_path / "scores.jsonl"
    content = many()
    first = FactCheckerHF(checker_path, **SMALL, response_cache=path)
    expected = first.loglikelihood(requests(content), True)
    assert path.is_file()
    again = FactCheckerHF(checker_path, **SMALL, response_cache=str(path))
    monkeypatch.setattr(again.checker, "_forward", lambda prompts: pytest.fail("asked again"))
    assert again.loglikelihood(requests(content), True) == expected
    for change in ({"hidden_act": "relu"}, {"num_hidden_layers": 1}):
        other = FactCheckerHF(make_checker(**change), **SMALL, response_cache=path)
        assert other.loglikelihood(requests(content), True) != expected


def test_bad_requests(checker_path):
    lm = FactCheckerHF(checker_path, device="cpu")
    with pytest.raises(HarnessError, match=r"\(doc, claim\) rows; task hellaswag has none"):
        lm.loglikelihood(requests([{"text": "a"}], task="hellaswag"), True)
    with pytest.raises(HarnessError, match="task gsm8k has none"):
        lm.generate_until(requests([{"text": "a"}], task="gsm8k", kind="generate_until"))
    with pytest.raises(HarnessError, match="task wikitext has none"):
        lm.loglikelihood_rolling(requests([{"text": "a"}], task="wikitext"))
    with pytest.raises(HarnessError, match="task llm_aggrefact_wice, row 0: doc is empty"):
        lm.loglikelihood(requests([{"doc": " ", "claim": "a"}]), True)
    odd = requests(rows(2, ["Wice"]))
    odd[1].arguments = (odd[1].arguments[0], " Maybe")
    with pytest.raises(HarnessError, match=r"row 0: .* answers Yes or No, not ' Maybe'"):
        lm.loglikelihood(odd, True)
    long = [{"doc": "a", "claim": "b"}, {"doc": "a", "claim": "Rome, " * 400}]
    with pytest.raises(HarnessError, match=r"row 1: claim and question take \d+ of the 512 tokens"):
        lm.loglikelihood(requests(long), True)
    with pytest.raises(HarnessError, match="leave out --apply_chat_template"):
        lm.apply_chat_template([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunksize": 5}, r"has no argument chunksize; did you mean chunk_size\?"),
        ({"overlong": "drop"}, "use split or cut"),
        ({"device": "gpu0"}, "device=gpu0: use cpu"),
        ({"chunk_size": 0}, "chunk_size=0: a whole number above 0"),
        ({"batch_tokens": "many"}, "batch_tokens=many: a whole number"),
        ({"dtype": "int8"}, "dtype=int8: use auto"),
        ({"dtype": "tiny"}, "dtype=tiny: use auto"),
    ],
)
def test_bad_arguments(checker_path, options, message):
    with pytest.raises(HarnessError, match=message):
        FactCheckerHF(checker_path, **{"device": "cpu"} | options)


def test_bad_checkpoints(headless_path, tmp_path):
    with pytest.raises(ArtefactError, match=r"checkpoint lacks classifier\.bias, classifier"):
        FactCheckerHF(headless_path, device="cpu")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{}")
    for name, reason in (
        (str(tmp_path / "missing"), "no such folder"),
        ("~/missing checkpoint", "no such folder"),
        (str(tmp_path), r"no config\.json in it"),
        (str(tmp_path / "odd"), "Unrecognized model|tokenizer"),
        ("nobody/nothing", r"the hub does not give it: HF_HUB_OFFLINE is set"),
    ):
        with pytest.raises(HarnessError, match=reason) as raised:
            FactCheckerHF(name, device="cpu")
        assert name in str(raised.value)
        assert "\n" not in str(raised.value)


def test_nan_is_an_error(checker_path):
    lm = FactCheckerHF(checker_path, device="cpu")
    with torch.no_grad():
        lm.checker.checkpoint.model.classifier.bias.fill_(math.nan)
    with pytest.raises(HarnessError, match=r"gives NaN in torch\.float32; try dtype=float32"):
        lm.loglikelihood(requests(rows(2, ["Wice"])), True)


def test_model_info(checker_path):
    lm = FactCheckerHF.create_from_arg_string(
        f"pretrained={checker_path},dtype=bfloat16,chunk_size=300",
        {"batch_size": 1, "max_batch_size": None, "device": "cpu"},
    )
    info = lm.get_model_info()
    assert info["model_dtype"] == "torch.bfloat16"
    assert info["model_num_parameters"] > 10_000
    assert info["method"] == "fact-checker"
    assert info["method_args"] == {
        "family": "factcg",
        "chunk_size": 300,
        "max_length": 512,
        "overlong": "split",
        "supported": 1,
    }
    assert info["family"] == {
        "name": "factcg",
        "reason": "nothing names another family (a classifier)",
        "head": "classifier",
        "template": prompt("{document}", "{claim}"),
        "chunk_size": 300,
        "chunk_unit": "words",
        "joint": "\n",
        "aggregation": "max",
        "no": "No",
        "yes": "Yes",
        "max_length": 2048,
    }
    assert len(info["artefact_hash"]) == 64
    assert info["artefact_hash"] == info["model_sha"]
    assert (lm.rank, lm.world_size) == (0, 1)


def classifier(model, tokenizer_limit=10**30):
    tokenizer = SimpleNamespace(model_max_length=tokenizer_limit)
    return Checkpoint(model, tokenizer, "tiny", "main", "")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # DeBERTa's module
def test_what_a_model_can_read():
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    size = {"vocab_size": 30, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    size["num_attention_heads"] = 2
    roberta = RobertaForSequenceClassification(
        RobertaConfig(**size, max_position_embeddings=66, pad_token_id=1)
    )
    assert classifier(roberta).max_length == 64
    deberta = DebertaV2Config(
        **size, relative_attention=True, position_biased_input=False, pos_att_type=["p2c", "c2p"]
    )
    assert classifier(DebertaV2ForSequenceClassification(deberta), 512).max_length is None


def test_rotary_positions_take_the_configurations_and_tokenizers_limit(checker_path):
    loaded = load(
        checker_path, revision="main", dtype="auto", device="cpu", trust_remote_code=False
    )
    assert loaded.max_length == 512
    rotary = SimpleNamespace(
        named_modules=list, config=SimpleNamespace(max_position_embeddings=8192)
    )
    assert classifier(rotary).max_length == 8192
    assert classifier(rotary, 1000).max_length == 1000
    assert classifier(SimpleNamespace(named_modules=list, config=None)).max_length is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_lm_evals_default_device_falls_back_to_the_cpu():
    model = FactCheckerHF(pretrained="testbed:checker", device="cuda:0")
    assert model.device == torch.device("cpu")


def test_a_missing_checkpoint_argument_is_one_clear_line():
    with pytest.raises(HarnessError, match="hf-fact-checker needs --model_args pretrained="):
        FactCheckerHF()
