"""What is asked of whom: a model with its settings, and one question to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.errors import JudgeError
from harness.secrets import seal


@dataclass(frozen=True, kw_only=True)
class AssistantSpec:
    """Which model to ask, and how.

    Args:
        model: Name of an lm-eval model (``local-chat-completions``, ``hf``, ``vllm``, …).
        model_args: Its arguments; credentials among them are sealed (better: environment
            variables, such as lm-eval's ``OPENAI_API_KEY``).
        temperature: Sampling temperature; 0 is greedy.
        max_tokens: Length limit of an answer, in tokens.
        votes: Independent answers to each question.
        retries: How often a question is asked again.
        seed: Sent along with each request by completion APIs, different for each vote and try.
        backoff: Seconds before the second round; doubles with each further one, up to 60.
        store: File of the answers; by default one a model in the cache folder.

    Raises:
        JudgeError: A value is out of its range.
    """

    model: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    max_tokens: int = 512
    votes: int = 1
    retries: int = 3
    seed: int = 1234
    backoff: float = 1.0
    store: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model_args, Mapping):
            raise JudgeError("judge: model_args must be an object, {name: value, …}")
        object.__setattr__(self, "model_args", seal(self.model_args))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
                raise JudgeError(f"judge: {name} must be a number from {least} up, not {value!r}")

    @classmethod
    def parse(cls, value: object) -> AssistantSpec:
        """Read a run's ``judge``: a model's name, or an object with the fields above as keys.

        Secrets are sealed in place too, because lm-eval shares the object among all tasks of a
        run and saves it with each.

        Raises:
            JudgeError: A key is unknown, a value has the wrong type, or no model is named.
        """
        known = ", ".join(f.name for f in fields(cls))
        if isinstance(value, str) and not value.lstrip().startswith("{"):
            value = {"model": value}
        elif isinstance(value, str):
            raise JudgeError(
                "give the judge as part of one JSON object: --metadata '{\"judge\": …}'"
            )
        if not isinstance(value, Mapping) or not isinstance(value.get("model"), str):
            raise JudgeError(f"judge must be a model's name or an object with the keys {known}")
        unknown = sorted(set(value) - {f.name for f in fields(cls)})
        if unknown:
            raise JudgeError(f"judge: unknown key(s) {', '.join(unknown)}; known are {known}")
        args = value.get("model_args", {})
        if isinstance(args, dict):
            args.update(seal(args))
        return cls(**value)


_LEAST = {"temperature": 0, "max_tokens": 1, "votes": 1, "retries": 0, "seed": 0, "backoff": 0}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question to a model.

    Args:
        prompt: The user turn.
        reply: An assistant's turn after it, for a model whose chat template makes a question of
            a conversation (guard models); such a model has to have one.
        facts: Becomes the request's document; the testbed's judge answers from it, real models
            ignore it.
        vote: Independent votes on the same prompt differ only here.
        check: Whether an answer to this question counts, where that depends on the question.
    """

    prompt: str
    reply: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    vote: int = 0
    check: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)
