"""Scores equal those of plain transformers code: one prompt at a time, unpadded, nothing shared."""

from __future__ import annotations

import math

import pytest
import torch
from harness_factcg.checking import families
from harness_factcg.checking.chunking import split_sentences
from harness_factcg.checking.heads import answer_tokens, head_for
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from factcg import tiny
from factcg.made_up import CITIES, NAMES, document
from harness.errors import ArtefactError, HarnessError

QUESTION = (
    "{d}\n\nQuestion: Is the following claim fully supported by the text above?\n"
    "Claim: {c}\nOptions: Yes or No\nAnswer:"
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, tokenizer):
    place = tmp_path_factory.mktemp("tiny")
    return {
        "deberta": tiny.deberta(place / "deberta"),
        "roberta": tiny.roberta(place / "roberta", tokenizer),
        "t5": tiny.t5(place / "t5"),
        "llama": tiny.llama(place / "llama"),
        "gpt2": tiny.gpt2(place / "gpt2"),
    }


def pairs():
    """Claims of one to three sentences on documents of one to five chunks."""
    texts = [document(length, length) for length in (1, 14, 3, 9)]
    lives = [f"{name} lives in {city}." for name, city in zip(NAMES, CITIES, strict=True)]
    claims = [lives[0], " ".join(lives[:2]), " ".join(lives[3:]), lives[2]]
    return [Pair(text, claim) for claim in claims for text in texts]


class Plain:
    """P(supported) of one prompt, from the logits that transformers gives for it alone."""

    def __init__(self, path, words):
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.words = words and [self.tokenizer.convert_tokens_to_ids(word) for word in words]
        kinds = {"t5": AutoModelForSeq2SeqLM, "llama": AutoModelForCausalLM}
        kind = kinds.get(path.rpartition("/")[2].replace("gpt2", "llama"))
        self.encoder_decoder = kind is AutoModelForSeq2SeqLM
        self.model = (kind or AutoModelForSequenceClassification).from_pretrained(path).eval()

    @torch.inference_mode()
    def probability(self, text):
        ids = self.tokenizer(text, return_tensors="pt")["input_ids"]
        if self.words is None:
            return self.model(ids).logits[0].softmax(0)[1].item()
        if self.encoder_decoder:
            logits = self.model(ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        else:
            logits = self.model(ids).logits[0, -1]
        return logits[self.words].softmax(0)[1].item()


CASES = [
    ("deberta", "factcg", QUESTION, None, "max"),
    ("deberta", "minicheck", "{d}[SEP]{c}", None, "max"),
    ("roberta", "minicheck", "{d}<sep>{c}", None, "max"),
    ("roberta", "alignscore", "{d}<sep><sep>{c}", None, "mean"),
    ("t5", "factcg", QUESTION, ("▁No", "▁Yes"), "max"),
    ("t5", "minicheck", "predict: {d}</s>{c}", ("▁", "▁1"), "max"),
    ("llama", "minicheck-7b", QUESTION, (" No", " Yes"), "min"),
    ("gpt2", "factcg", QUESTION, (" No", " Yes"), "max"),
]


@pytest.mark.parametrize(("name", "family", "template", "words", "over"), CASES)
def test_scores_are_those_of_a_plain_loop(checkpoints, name, family, template, words, over):
    checker = open_checker(
        checkpoints[name],
        family=family,
        chunk_size=None if family == "minicheck-7b" else 40,
        batch_tokens=900,
        device="cpu",
        dtype="float32",
    )
    plain = Plain(checkpoints[name], words)
    verdicts = checker.verdicts(pairs())
    for pair, verdict in verdicts.items():
        parts = [pair.claim] if over == "max" else split_sentences(pair.claim)
        chunks = checker.chunks(pair.document)
        tables = [
            [plain.probability(template.format(d=chunk, c=part)) for chunk in chunks]
            for part in parts
        ]
        best = [max(table) for table in tables]
        expected = {"max": best[0], "min": min(best), "mean": sum(best) / len(best)}[over]
        assert verdict.score == pytest.approx(expected, abs=1e-5)
        worst = tables[best.index(min(best))]
        assert verdict.chunks == len(chunks)
        assert worst[verdict.deciding_chunk] == pytest.approx(max(worst), abs=1e-5)
        assert verdict.deciding_text == chunks[verdict.deciding_chunk]
        scores = [sentence.trace()["score"] for sentence in verdict.sentences]
        assert scores == ([] if over == "max" else pytest.approx(best, abs=1e-5))
    assert len(verdicts) == 16
    assert len({round(verdict.score, 4) for verdict in verdicts.values()}) > 4
    sizes = {len(checker.chunks(pair.document)) for pair in verdicts}
    assert sizes == {1} if family == "minicheck-7b" else len(sizes) > 2


def test_the_tally_adds_up(checkpoints):
    checker = open_checker(checkpoints["llama"], family="minicheck-7b", device="cpu")
    verdicts = checker.verdicts(pairs())
    # 4 documents in one piece each; the claims' 1, 2, 3 and 1 sentences, of which one is twice
    assert (checker.tally.pairs, checker.tally.prompts) == (16, 4 * 6)
    spent = sum(verdict.seconds for verdict in verdicts.values())
    assert spent == pytest.approx(checker.tally.planning + checker.tally.model)
    assert all(verdict.seconds > 0 for verdict in verdicts.values())


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_language_models_margin_is_its_log_probabilities(checkpoints, name):
    """As lm-eval has it: log P(prompt, Yes) − log P(prompt, No)."""
    checker = open_checker(checkpoints[name], family="factcg", device="cpu")
    plain = Plain(checkpoints[name], (" No", " Yes"))
    pair = pairs()[4]
    (chunk,) = checker.chunks(pair.document)
    logs = []
    for word in (" No", " Yes"):
        ids = plain.tokenizer(QUESTION.format(d=chunk, c=pair.claim) + word, return_tensors="pt")
        with torch.no_grad():
            table = plain.model(ids["input_ids"]).logits[0].log_softmax(-1)
        logs.append(table[-2, ids["input_ids"][0, -1]].item())
    assert checker.verdicts([pair])[pair].margin == pytest.approx(logs[1] - logs[0], abs=1e-4)


def test_nan_is_an_error_of_every_head(checkpoints):
    for name, part in (("t5", "lm_head"), ("llama", "lm_head"), ("deberta", "classifier")):
        checker = open_checker(checkpoints[name], device="cpu", chunk_size=40)
        with torch.no_grad():
            getattr(checker.checkpoint.model, part).weight.fill_(math.nan)
        with pytest.raises(HarnessError, match=r"gives NaN in torch\.float32; try dtype=float32"):
            checker.verdicts(pairs()[:1])


def test_infinite_logits_are_an_error(checkpoints):
    checker = open_checker(checkpoints["t5"], device="cpu")
    yes = checker.head.yes
    with torch.no_grad():
        checker.checkpoint.model.lm_head.weight[yes] *= math.inf
        checker.checkpoint.model.lm_head.weight[yes].abs_()
    with pytest.raises(HarnessError, match=r"gives (NaN|infinite logits) in torch\.float32"):
        checker.verdicts(pairs()[:1])


def test_an_encoder_decoder_must_say_how_decoding_starts(checkpoints):
    loaded = open_checker(checkpoints["t5"], device="cpu").checkpoint
    loaded.model.config.decoder_start_token_id = None
    with pytest.raises(ArtefactError, match="lacks decoder_start_token_id"):
        head_for(loaded.model, loaded.tokenizer, families.find("factcg", "seq2seq"))


def test_answers_are_single_tokens(checkpoints):
    llama = AutoTokenizer.from_pretrained(checkpoints["llama"])
    family = families.find("factcg", "causal")
    assert answer_tokens(llama, family) == tuple(llama.convert_tokens_to_ids([" No", " Yes"]))
    for options, message in (
        ({"yes": "Maybe"}, r"the answer 'Maybe' is \d tokens of this model's tokenizer \(\["),
        ({"yes": "No"}, "the answers 'No' and 'No' are the same token"),
    ):
        with pytest.raises(HarnessError, match=message) as raised:
            answer_tokens(llama, family.override(**options))
        assert "--model_args no=WORD,yes=WORD" in str(raised.value)
    t5 = AutoTokenizer.from_pretrained(checkpoints["t5"])
    with pytest.raises(HarnessError, match="the answer 'Maybe' is 6 tokens"):
        answer_tokens(t5, families.find("factcg", "seq2seq").override(no="Maybe"))


def test_after_white_space_an_answer_has_no_space(checkpoints):
    llama = AutoTokenizer.from_pretrained(checkpoints["llama"])
    chat = families.find("factcg", "causal").override(
        template="{document}{claim}\n", no="A", yes="B"
    )
    assert answer_tokens(llama, chat) == tuple(llama.convert_tokens_to_ids(["A", "B"]))


def test_a_language_model_has_no_labels(checkpoints):
    with pytest.raises(HarnessError, match="supported=1: the checkpoint has no labels, it answers"):
        open_checker(checkpoints["llama"], device="cpu", supported=1)


def test_an_encoder_alone_answers_nothing(headless_path):
    with pytest.raises(ArtefactError, match="is no trained sequence classifier: its checkpoint la"):
        open_checker(headless_path, device="cpu")
