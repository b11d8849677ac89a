from __future__ import annotations

import pytest
from harness_specdecode.measuring import comparing
from harness_specdecode.measuring.comparing import Decoding, alike, decode
from harness_specdecode.models import hf
from harness_specdecode.models.hf import SpeculativeMixin
from lm_eval.models.huggingface import HFLM

from harness import compose
from harness.errors import HarnessError

SpeculativeHF = compose("hf-speculative")

TEXTS = ("What is the theater like?", "Hi", "Give me some facts about the workshop.")
OPTIONS = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 0.9}


@pytest.fixture(scope="module")
def model():
    return SpeculativeHF(
        "testbed:teacher", drafter="testbed:student", adaptive=False, device="cpu", seed=5
    )


@pytest.fixture(scope="module")
def asked(model):
    settings = model.settings(OPTIONS)
    turns = [f"<|user|>\n{text}\n<|assistant|>\n" for text in TEXTS]
    return [model.request(text, settings.length) for text in turns], settings


def test_names_and_the_plain_way():
    way = Decoding(drafter="early:2", gamma=3, scheme="minhash", batch_size=4, adaptive=True)
    assert way.name == "early:2 γ3 adaptive minhash b4"
    assert way.plain == Decoding(gamma=3, scheme="minhash", batch_size=4)
    assert way.plain.name == "none minhash b4"
    assert Decoding().name == "none b1"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gamma": 0}, "gamma=0: give at least 1, or drafter=none"),
        ({"gamma": True}, "gamma=True: give at least 1"),
        ({"batch_size": 0}, "batch_size=0: give at least 1"),
        ({"scheme": "best"}, "scheme=best: use one of gumbel, minhash, leviathan"),
    ],
)
def test_values_out_of_range(options, words):
    with pytest.raises(HarnessError, match=words):
        Decoding(**options)


def test_equal_keys_are_put_together():
    assert alike([{"a": 1, "b": 2}, "x", {"b": 2, "a": 1}, ["x"]]) == [[0, 2], [1], [3]]


def test_every_way_gives_the_same_answers_in_the_order_of_the_requests(model, asked):
    requests, settings = asked
    plain = decode(model, Decoding(batch_size=2), requests, settings)
    assert [a.request for a in plain.answers] == requests
    assert all(a.tokens for a in plain.answers)
    for drafter in ("testbed:student", "ngram", "early:1"):
        done = []
        way = Decoding(drafter=drafter, gamma=4, batch_size=3)
        run = decode(model, way, requests, settings, on_answer=lambda: done.append(1))  # noqa: B023
        assert [a.tokens for a in run.answers] == [a.tokens for a in plain.answers]
        assert len(done) == 3
        assert run.decoding is way


def test_passes_are_those_of_batches_and_warming_up_is_not_counted(model, asked):
    requests, settings = asked
    alone = [decode(model, Decoding(), [request], settings) for request in requests]
    assert [run.target_passes for run in alone] == [len(r.answers[0].tokens) for r in alone]
    assert [run.drafter_passes for run in alone] == [0, 0, 0]
    together = decode(model, Decoding(batch_size=8), requests, settings)
    assert together.target_passes == max(run.target_passes for run in alone)
    way = Decoding(drafter="testbed:student", gamma=3, batch_size=1)
    cold, warm = (decode(model, way, requests, settings, warm_up=w) for w in (False, True))
    assert cold.target_passes == sum(a.target_calls for a in cold.answers)
    assert cold.drafter_passes == sum(a.drafter_calls for a in cold.answers) > 0
    assert (warm.target_passes, warm.drafter_passes) == (cold.target_passes, cold.drafter_passes)
    assert [a.tokens for a in warm.answers] == [a.tokens for a in cold.answers]


def test_seconds_are_of_the_clock_around_the_decoding(model, asked, monkeypatch):
    requests, settings = asked
    times = iter([100.0, 107.5])
    monkeypatch.setattr(comparing, "_now", lambda model: next(times))
    assert decode(model, Decoding(), requests, settings, warm_up=True).seconds == 7.5


def test_a_drafter_is_opened_once(model, monkeypatch):
    opened = []

    def opening(name, *rest, **options):
        opened.append((name, options["revision"]))
        return name

    monkeypatch.setattr(hf, "open_source", opening)
    assert model.source("testbed:student") is model.drafts
    assert model.source("other") == model.source("other") == "other"
    assert opened == [("other", "main")]
    model._opened.pop("other")


# Classes beside the mixin


class GeneratesItself:
    def _model_generate(self, *args, **kwargs):
        raise AssertionError("never called")


class AnswersItself:
    def generate_until(self, requests, disable_tqdm=False):
        raise AssertionError("never called")


class Harmless:
    def _loglikelihood_tokens(self, *args, **kwargs):
        return super()._loglikelihood_tokens(*args, **kwargs)


class Steered(GeneratesItself, HFLM):
    pass


@pytest.mark.parametrize(
    ("bases", "words"),
    [
        ((SpeculativeMixin, GeneratesItself, HFLM), r"pass by GeneratesItself\._model_generate"),
        ((GeneratesItself, SpeculativeMixin, HFLM), r"pass by GeneratesItself\._model_generate"),
        ((SpeculativeMixin, AnswersItself, HFLM), r"pass by AnswersItself\.generate_until"),
        ((SpeculativeMixin, Steered), r"Both: .*GeneratesItself would be without effect; use one"),
    ],
)
def test_a_class_that_would_be_passed_by_is_refused_by_name(bases, words):
    with pytest.raises(HarnessError, match=words) as told:
        type("Both", bases, {})("testbed:student", device="cpu")
    assert "\n" not in str(told.value)


def test_classes_in_front_or_of_other_parts_are_welcome(asked):
    class Loud(SpeculativeMixin, Harmless, HFLM):
        def generate_until(self, requests, disable_tqdm=False):
            return super().generate_until(requests, disable_tqdm)

    loud = Loud("testbed:student", device="cpu")
    requests, settings = asked
    assert decode(loud, Decoding(drafter="ngram"), requests[:1], settings).answers[0].tokens
