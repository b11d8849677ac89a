from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from harness_factcg.checking import families
from harness_factcg.checking.families import Family, detect, find, head_of, read_template
from harness_factcg.checking.verdicts import prompt
from transformers import BertConfig

from factcg import tiny
from harness.errors import ArtefactError, HarnessError

BERT = SimpleNamespace(architectures=["BertForSequenceClassification"])


@pytest.mark.parametrize(
    ("name", "head", "size", "unit", "aggregation"),
    [
        ("factcg", "classifier", 550, "words", "max"),
        ("minicheck", "classifier", 400, "tokens", "max"),
        ("minicheck-7b", "causal", None, "words", "min"),
        ("alignscore", "classifier", 350, "words", "mean"),
    ],
)
def test_families_are_those_of_the_papers(name, head, size, unit, aggregation):
    family = find(name)
    assert (family.name, family.head) == (name, head)
    assert (family.chunk_size, family.chunk_unit) == (size, unit)
    assert family.aggregation == aggregation
    assert family.splits_claims == (aggregation != "max")


def test_minichecks_encoder_decoder_counts_words_and_answers_zero_or_one():
    family = find("minicheck", "seq2seq")
    assert (family.chunk_size, family.chunk_unit, family.head) == (500, "spaced", "seq2seq")
    assert (family.no, family.yes) == ("▁", "▁1")
    assert find("factcg", "seq2seq") == find("factcg").override(head="seq2seq")


def test_factcgs_template_is_the_one_of_tasks_and_training():
    assert find("factcg").prompt("{claim}", "{document}") == prompt("{claim}", "{document}")


def test_the_separator_is_the_tokenizers():
    family = find("minicheck", "seq2seq").resolved(tiny.t5_tokenizer())
    assert family.prompt("D {sep}", "C") == "predict: D {sep}</s>C"
    resolved = find("alignscore").resolved(tiny.deberta_tokenizer())
    assert resolved.prompt("D", "C") == "D[SEP][SEP]C"
    bare = SimpleNamespace(sep_token=None, eos_token=None)
    assert find("factcg").resolved(bare) is not None
    with pytest.raises(
        HarnessError, match=r"family minicheck has \{sep\}, but the tokenizer has nei"
    ):
        find("minicheck").resolved(bare)


def test_a_template_may_have_the_claim_first():
    family = Family("own", "{claim}?{sep}\n{document}\nIs {claim} so?")
    assert family.frame("c") == ("c?{sep}\n", "\nIs c so?")
    assert family.prompt("{claim}", "c") == "c?{sep}\n{claim}\nIs c so?"


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("LlamaForSequenceClassification", "classifier"),
        ("T5ForSequenceClassification", "classifier"),
        ("BertModel", "classifier"),
        ("T5ForConditionalGeneration", "seq2seq"),
        ("LlamaForCausalLM", "causal"),
        ("GPT2LMHeadModel", "causal"),
    ],
)
def test_the_head_is_the_architectures(architecture, head):
    assert head_of(SimpleNamespace(architectures=[architecture])) == head


def test_the_head_of_a_nameless_architecture():
    assert head_of(SimpleNamespace(architectures=None)) == "classifier"
    assert head_of(SimpleNamespace()) == "classifier"


def test_a_checkpoint_that_names_its_family_is_believed():
    own = find("minicheck").override(
        chunk_size=123, aggregation="mean", template="{claim}{document}"
    )
    config = BertConfig(
        architectures=["BertForSequenceClassification"], fact_checker=own.to_config()
    )
    again = BertConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    found, why = detect(again, "lytang/MiniCheck-RoBERTa-Large")
    assert found == own
    assert why == "its config.json says so (fact_checker)"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("yaxili96/FactCG-DeBERTa-v3-Large", "factcg"),
        ("lytang/MiniCheck-RoBERTa-Large", "minicheck"),
        ("/models/minicheck-deberta-v3-large/", "minicheck"),
        ("bespokelabs/Bespoke-MiniCheck-7B", "minicheck-7b"),
        ("liuyanyi/AlignScore-large-hf", "alignscore"),
    ],
)
def test_published_checkpoints_are_known_by_name(name, family):
    found, why = detect(BERT, name)
    assert found == find(family, "classifier")
    assert why.startswith("it bears the name of ")
    assert why.rpartition("/")[2].lower() == name.rstrip("/").rpartition("/")[2].lower()


def test_anything_else_is_asked_as_factcg():
    assert detect(BERT, "someone/my-minicheck-roberta-large") == (
        find("factcg"),
        "nothing names another family (a classifier)",
    )
    assert detect(SimpleNamespace(architectures=["LlamaForCausalLM"]), "m")[0].head == "causal"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("factcg", "names no family"),
        ({"chunk_size": 5}, "names no family"),
        ({"family": "fact"}, r"family=fact: did you mean factcg\?"),
        ({"family": "factcg", "chunks": 5}, "chunks: Extra inputs are not permitted"),
        ({"family": "factcg", "chunk_size": "5"}, "chunk_size: Input should be a valid integer"),
        ({"family": "factcg", "template": "{claim}"}, "a template needs {document} once"),
    ],
)
def test_a_config_that_makes_no_family(stated, message):
    config = SimpleNamespace(architectures=BERT.architectures, fact_checker=stated)
    with pytest.raises(ArtefactError, match=message) as raised:
        detect(config, "my/checker")
    assert str(raised.value).startswith("'my/checker': fact_checker in its config.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_unit": "letters"}, "chunk_unit=letters: use one of words, spaced, tokens"),
        ({"aggregation": "median"}, "aggregation=median: use one of max, min, mean"),
        ({"chunk_size": 0}, "chunk_size=0: a whole number above 0"),
        ({"chunk_size": True}, "chunk_size=True: a whole number above 0"),
        ({"max_length": "long"}, "max_length=long: a whole number above 0"),
        ({"yes": " "}, "yes=' ': an answer's word is needed"),
        ({"no": 0}, "no=0: an answer's word is needed"),
        ({"template": "{document} {document} {claim}"}, "needs {document} once and {claim}"),
        ({"template": "{document}"}, "needs {document} once and {claim}"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(HarnessError, match=message):
        find("factcg").override(**options)


def test_override_leaves_what_is_not_given():
    family = find("factcg").override(chunk_size=None, aggregation="min")
    assert (family.chunk_size, family.aggregation) == (550, "min")


def test_a_template_from_a_file(tmp_path):
    file = tmp_path / "template.txt"
    file.write_text("Text: {document}\n{claim}\n\n")
    assert read_template(file) == "Text: {document}\n{claim}\n"
    with pytest.raises(HarnessError, match=r"template=.*missing.txt: cannot read .*No such file"):
        read_template(tmp_path / "missing.txt")
    file.write_bytes(b"\xff{document}{claim}")
    with pytest.raises(HarnessError, match="it is not UTF-8"):
        read_template(file)


def test_every_name_is_found():
    assert [find(name).name for name in families.NAMES] == list(families.NAMES)
