"""Models that write data: how they are named, asked step by step, and counted.

Any lm-eval model can write; every accepted answer is on disk at once (``harness.asking``), so a
run that is stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.artefacts.cache import cache_folder
from harness.artefacts.checksums import fingerprint
from harness.asking.assistant import Assistant, Question
from harness.asking.spec import AssistantSpec
from harness.errors import HarnessError, JudgeError

T = TypeVar("T")
TOKENS = 256
"""Tokens a writer's answer may have, where its specification does not say."""


def writer_spec(value: str, tokens: int = TOKENS, option: str = "--writer") -> AssistantSpec:
    """The writer: an lm-eval model's name, or an object of ``AssistantSpec``'s fields as JSON.

    Args:
        value: What the option was given.
        tokens: The longest answer, where the object does not say.
        option: The option's name, for messages.

    Raises:
        HarnessError: It is neither.
    """
    given = read_json(value, option) if value.lstrip().startswith("{") else {"model": value}
    return local(parsed({"max_tokens": tokens} | given, option))


def read_json(value: str, option: str) -> dict[str, Any]:
    """A JSON object from an option's value, which begins with a brace.

    Raises:
        HarnessError: It is no valid JSON.
    """
    try:
        given = json.loads(value)
    except ValueError as cause:
        raise HarnessError(f"{option} is neither a model's name nor valid JSON: {cause}") from None
    assert isinstance(given, dict)  # it begins with a brace
    return given


def parsed(given: dict[str, Any], option: str) -> AssistantSpec:
    """The model that an option's object describes.

    Raises:
        HarnessError: It describes none, or one with votes.
    """
    try:
        spec = AssistantSpec.parse(given)
    except JudgeError as error:
        raise HarnessError(f"{option}: {str(error).replace('judge', 'model', 1)}") from None
    if spec.votes != 1:
        raise HarnessError(f"{option}: votes are for judges; each text is written once")
    return spec


def local(spec: AssistantSpec) -> AssistantSpec:
    """A model that runs here: ``testbed:NAME`` by its path, on the CPU where there is no GPU.

    The store of its answers is named after its weights: a path may hold others tomorrow.
    """
    import torch

    from harness.testbed import resolve

    args = dict(spec.model_args)
    if not isinstance(args.get("pretrained"), str):
        return spec
    args["pretrained"] = resolve(args["pretrained"])
    if spec.model == "hf" and not torch.cuda.is_available():
        args.setdefault("device", "cpu")
    content = fingerprint(args["pretrained"])
    name = f"{spec.model}_{Path(args['pretrained']).name}_{str(content)[:16]}.jsonl"
    store = spec.store or (str(cache_folder() / "answers" / name) if content else None)
    return replace(spec, model_args=args, store=store)


def answers_kept(*desks: Desk) -> str:
    """What a run that is interrupted finds again, as a part of a sentence."""
    places = dict.fromkeys(desk.assistant.kept for desk in desks if desk.assistant.kept)
    if not places:
        return "no answer is kept"
    return f"{' '.join(places)} The same command asks only what is missing"


class Desk:
    """One model, asked step by step; keeps the account of each step.

    Args:
        role: What the model is here, for messages.
        spec: The model.
        max_missing: The largest share of a step's questions that may stay unanswered.
        say: Told at the beginning of each step.
    """

    def __init__(
        self, role: str, spec: AssistantSpec, max_missing: float, say: Callable[[str], None]
    ) -> None:
        self.role, self.assistant = role, Assistant(spec)
        self.costs: dict[str, Counter[str]] = {}
        self.revision = "unknown"
        self._max_missing, self._say = max_missing, say

    def dismiss(self) -> None:
        """Let go of a model that has answered all, and of its memory."""
        self.revision = str(self.assistant.info()["revision"])
        self.assistant = Assistant(self.assistant.spec)

    def prepare(self) -> None:
        """Find what is wrong with the model where that costs little.

        Raises:
            HarnessError: There is no such model, or it cannot be made.
        """
        try:
            self.assistant.prepare()
        except JudgeError as error:
            raise HarnessError(f"{self.role}: {error}") from error

    def ask(
        self, step: str, questions: Sequence[Question], parse: Callable[[str], T | None]
    ) -> list[T | None]:
        """What the answers are read as, in the questions' order; None where none could be used.

        Raises:
            HarnessError: The model refuses, or too many questions stay unanswered.
        """
        if not questions:
            return []
        self._say(f"{self.role}: {step}, {len(questions)} questions")
        before = Counter(self.assistant.usage)
        try:
            answers = self.assistant.ask(questions, lambda answer: parse(answer) is not None)
        except JudgeError as error:
            told = f"{self.role}, {step}: {error}. {self.assistant.kept}".removesuffix(". ")
            raise HarnessError(told) from error
        missing = answers.count(None)
        if missing > self._max_missing * len(answers):
            raise HarnessError(
                f"{self.role} '{self.assistant.spec.model}' left {missing} of {len(answers)} "
                f"questions unanswered ({step}), more than --max-missing {self._max_missing}; "
                f"{self.assistant.trouble}. {self.assistant.kept} A rerun asks only what is missing"
            )
        spent = self.assistant.usage - before
        spent.update(unanswered=missing)
        self.costs.setdefault(step, Counter()).update(spent)
        return [None if answer is None else parse(answer) for answer in answers]

    def identity(self) -> dict[str, Any]:
        """What its answers depend on; a local model by name and weights, not by its path."""
        found = self.assistant.identity()
        path = str(found["model_args"].get("pretrained", ""))
        content = fingerprint(path) if path else None
        if content:
            args = found["model_args"] | {"pretrained": Path(path).name}
            found |= {"model_args": args, "sha256": content}
        return found
