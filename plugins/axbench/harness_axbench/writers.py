"""The models that write concept data: how they are named, asked, counted, and cut to length."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from harness.assistants import Assistant, AssistantSpec, Question
from harness.errors import HarnessError, JudgeError
from harness.store import cache_folder, key_of
from harness_axbench.checked_files import fingerprint

T = TypeVar("T")
WRITER_TOKENS = 256  # twice what is kept of a response: the writer's tokens are not the target's
_TARGET_BATCH = 16


def writer_spec(value: str) -> AssistantSpec:
    """The writer: an lm-eval model's name, or an object of ``AssistantSpec``'s fields as JSON.

    Raises:
        HarnessError: It is neither.
    """
    given = _json(value, "--writer") if value.lstrip().startswith("{") else {"model": value}
    return _local(_parsed({"max_tokens": WRITER_TOKENS} | given, "--writer"))


def _weights(path: str) -> str | None:
    """The fingerprint of a local model; its files are read once, however often it is asked for."""
    files = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
    return _fingerprint(path, tuple((file.name, file.stat().st_mtime_ns) for file in files))


@lru_cache
def _fingerprint(path: str, changed: tuple[tuple[str, int], ...]) -> str | None:
    return fingerprint(path)


def chosen_target(target: str | None, negatives_from: str, tokens: int) -> AssistantSpec | None:
    """The model of the training negatives; None for the writer.

    Raises:
        HarnessError: ``negatives_from`` is neither ``target`` nor ``writer``, or does not go with
            whether there is a target.
    """
    if negatives_from not in ("target", "writer"):
        raise HarnessError(f"--negatives-from is target or writer, not {negatives_from}")
    if negatives_from == "writer" and target is not None:
        raise HarnessError("--negatives-from writer uses no --target; name its --tokenizer instead")
    if negatives_from == "writer":
        return None
    if target is None:
        raise HarnessError(
            "training negatives are the target model's own answers: name it with --target, or pass "
            "--negatives-from writer"
        )
    return target_spec(target, tokens)


def target_spec(value: str, tokens: int) -> AssistantSpec:
    """The target model, which answers greedily.

    Args:
        value: A transformers model's id or path, ``testbed:NAME``, or any lm-eval model as JSON.
        tokens: The longest answer.

    Raises:
        HarnessError: It is none of these.
    """
    if value.lstrip().startswith("{"):
        given = _json(value, "--target")
    else:
        args = {"pretrained": value, "batch_size": _TARGET_BATCH}
        given = {"model": "hf", "model_args": args}
    return _local(greedy(_parsed(given, "--target"), tokens))


def greedy(spec: AssistantSpec, tokens: int) -> AssistantSpec:
    """The same model, answering greedily with so many tokens at most."""
    return replace(spec, temperature=0.0, max_tokens=tokens)


def _json(value: str, option: str) -> dict[str, Any]:
    try:
        given = json.loads(value)
    except ValueError as cause:
        raise HarnessError(f"{option} is neither a model's name nor valid JSON: {cause}") from None
    assert isinstance(given, dict)  # it begins with a brace
    return given


def _parsed(given: dict[str, Any], option: str) -> AssistantSpec:
    try:
        spec = AssistantSpec.parse(given)
    except JudgeError as error:
        raise HarnessError(f"{option}: {str(error).replace('judge', 'model', 1)}") from None
    if spec.votes != 1:
        raise HarnessError(f"{option}: votes are for judges; each text is written once")
    return spec


def _local(spec: AssistantSpec) -> AssistantSpec:
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
    content = _weights(args["pretrained"])
    name = f"{spec.model}_{Path(args['pretrained']).name}_{str(content)[:16]}.jsonl"
    store = spec.store or (str(cache_folder() / "answers" / name) if content else None)
    return replace(spec, model_args=args, store=store)


def tokenizer_of(target: AssistantSpec | None, named: str | None) -> str:
    """Whose tokens texts are measured in: the tokenizer named, else the target model's.

    Raises:
        HarnessError: Neither is known.
    """
    args = target.model_args if target else {}
    found = named or args.get("tokenizer") or args.get("pretrained")
    if not found:
        raise HarnessError(
            "texts are cut by the target model's tokens: name its tokenizer with --tokenizer (a "
            "model id or path, or testbed:teacher)"
        )
    return str(found)


class Cutter:
    """Cuts texts to a number of a tokenizer's tokens.

    Args:
        name: Model id or path of the tokenizer, or ``testbed:NAME``.

    Raises:
        HarnessError: The tokenizer cannot be loaded.
    """

    def __init__(self, name: str) -> None:
        from transformers import AutoTokenizer

        from harness.testbed import resolve

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(resolve(name))
        except (OSError, ValueError, KeyError) as cause:
            raise HarnessError(f"tokenizer {name} cannot be loaded: {cause}") from cause

    @property
    def sha256(self) -> str:
        """Content hash of the vocabulary."""
        return key_of(vocabulary=self._tokenizer.get_vocab())

    def cut(self, text: str, tokens: int) -> str:
        """The characters of a text's first tokens; none of a character that a token splits."""
        if not self._tokenizer.is_fast:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            short: str = self._tokenizer.decode(ids[:tokens], clean_up_tokenization_spaces=False)
            return short if len(ids) > tokens else text
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        places = found["offset_mapping"]
        if len(places) <= tokens:
            return text
        return text[: min(places[tokens - 1][1], places[tokens][0])]


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
        content = _weights(path) if path else None
        if content:
            args = found["model_args"] | {"pretrained": Path(path).name}
            found |= {"model_args": args, "sha256": content}
        return found
