"""Prompt steering and prompt detection: user turns, writers, ratings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from harness_axbench.data.concepts import Concept
from harness_axbench.metrics import ratings
from harness_axbench.options import run_options
from harness_axbench.tasks import prompting, rows
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from harness import Assistant, AssistantSpec, HarnessError

SEA = Concept(0, "the sea {deep}", "text")
BREAD = Concept(1, "baking bread", "text")


def writer(metadata: dict[str, Any], *, testbed: bool) -> AssistantSpec | None:
    more = {"data": "testbed"} if testbed else {}
    return run_options(metadata | more).prompt_writer()


def test_the_user_turn_is_the_papers() -> None:
    doc = {"steering_prompt": "Speak of the sea.", "instruction": "Describe a house."}
    assert prompting.steered_turn(doc) == " Speak of the sea.\n\nQuestion: Describe a house."


def test_the_question_about_a_text() -> None:
    doc = {"concept": "the {sea}", "input": "Tell {me}.", "output": "A {output} of {concept}."}
    asked = prompting.detection_turn(doc)
    for text in doc.values():
        assert asked.count(text) == 1
    assert asked.endswith(ratings.FORM)
    assert all(text in prompting.yes_no_turn(doc) for text in doc.values())


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Of fish.\nRating: [[2]]", 2),
        ("Rating: 1/2", 1),
        ("Rating: [[0]]", 0),
        ("Rating: [[3]]", -1),
        ("two", -1),
        ("", -1),
    ],
)
def test_an_answer_without_a_rating_counts_as_minus_one(answer: str, score: float) -> None:
    assert prompting.detection_score(answer) == score


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("  Speak of it. \n", "Speak of it."),
        ('"Speak of it."', "Speak of it."),
        ("“Speak of ‘it’.”", "Speak of ‘it’."),
        ('"Sea" and "reef"', '"Sea" and "reef"'),
        ('Say "sea"', 'Say "sea"'),
        ('"', '"'),
        ('""', ""),
    ],
)
def test_what_is_kept_of_a_writers_answer(answer: str, text: str) -> None:
    assert prompting.bare(answer) == text


def test_the_template_stands_in_only_where_it_is_said_to() -> None:
    expected = ["Make this clearly part of what you say, throughout your answer: baking bread."]
    assert prompting.steering_prompts(writer({}, testbed=True), [BREAD]) == expected
    chosen = {"axbench_writer": "template"}
    assert prompting.steering_prompts(writer(chosen, testbed=False), [BREAD]) == expected
    assert prompting.writer_info(writer(chosen, testbed=False)) == {"model": "template"}
    with pytest.raises(
        HarnessError, match=r"steering prompts need a writer: .*axbench_writer"
    ) as e:
        prompting.steering_prompts(writer({}, testbed=False), [BREAD])
    assert "\n" not in str(e.value)


class Scribe(LM):  # type: ignore[misc]  # lm-eval is untyped
    """Answers with its number of the question; says nothing about what is in ``silent``."""

    silent: tuple[str, ...] = ()
    asked: ClassVar[list[str]] = []

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        answers = []
        for request in requests:
            self.asked.append(str(request.args[0]))
            known = next((c for c in (SEA, BREAD) if c.text in request.args[0]), None)
            text = known.text if known else ""
            answers.append("" if text in self.silent else f'"Bring in: {text}"\n')
        return answers

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        raise NotImplementedError


@pytest.fixture
def scribe(monkeypatch: pytest.MonkeyPatch) -> type[Scribe]:
    monkeypatch.setattr(Assistant, "_class", lambda self: Scribe)
    monkeypatch.setattr(Scribe, "asked", [])
    return Scribe


WRITER = {"axbench_writer": {"model": "scribe", "retries": 0, "backoff": 0}}


def test_a_writer_is_asked_once_a_concept_ever(scribe: type[Scribe]) -> None:
    both = [SEA, BREAD, SEA]
    expected = [f"Bring in: {concept.text}" for concept in both]
    assert prompting.steering_prompts(writer(WRITER, testbed=False), both) == expected
    assert len(scribe.asked) == 2
    assert prompting.steering_prompts(writer(WRITER, testbed=True), both) == expected
    assert len(scribe.asked) == 2
    info = prompting.writer_info(writer(WRITER, testbed=True))
    assert (info["model"], info["temperature"]) == ("scribe", 1.0)


def test_a_writer_that_leaves_a_gap(scribe: type[Scribe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "silent", (BREAD.text,))
    with pytest.raises(HarnessError, match=r"left 1 of 2 concepts without a prompt.*baking bread"):
        prompting.steering_prompts(writer(WRITER, testbed=False), [SEA, BREAD])
    monkeypatch.setattr(scribe, "silent", ())
    scribe.asked.clear()
    assert len(prompting.steering_prompts(writer(WRITER, testbed=False), [SEA, BREAD])) == 2
    assert len(scribe.asked) == 1


def test_a_writer_that_is_not_one() -> None:
    for value in ({"model": "hf", "colour": "red"}, {"model_args": {}}, 3):
        with pytest.raises(HarnessError, match="axbench_writer, which is read as a judge is"):
            prompting.steering_prompts(writer({"axbench_writer": value}, testbed=False), [SEA])


def test_a_writers_secrets_are_not_saved() -> None:
    args = {"base_url": "http://host/v1", "api_key": "open-sesame"}
    metadata = {"axbench_writer": {"model": "local-chat-completions", "model_args": args}}
    info = prompting.writer_info(writer(metadata, testbed=False))
    assert "open-sesame" not in json.dumps([info, metadata], default=str)
    assert info["hidden"] == ["api_key"]


def test_no_task_saves_a_writers_secrets(manager: Callable[..., TaskManager]) -> None:
    args = {"base_url": "http://host/v1", "api_key": "open-sesame"}
    named = {"model": "local-chat-completions", "model_args": args}
    tasks = manager(data="testbed", axbench_concepts=[0], axbench_writer=named)
    for name, task in tasks.load(["axbench_steer", "axbench_detect"])["tasks"].items():
        saved = json.dumps(task.dump_config(), default=str)
        assert name in saved
        assert "api_key" in saved
        assert "open-sesame" not in saved


def test_prompting_is_for_models_that_are_not_steered(steering: Path, data_folder: Path) -> None:
    run = {"axbench_data": str(data_folder), "steering": str(steering)}
    for docs in (rows.steer_prompt_docs, rows.detect_prompt_docs):
        with pytest.raises(HarnessError, match="prompts an unsteered model; run it with a stock"):
            docs(**run)
