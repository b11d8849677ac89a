"""Ask any lm-eval model a batch of questions: judge, writer, oracle; durable answers.

Answers go to an append-only store (``asking.store``) the moment they exist, also in the middle of
a batch that fails or is killed, so that asking again asks only what is missing. The store's key is
the model, those of its arguments that change the answer, the prompt, the sampling parameters and
the vote; never a key or a token.

Faults are the business of ``asking.batch``. Secrets among a model's arguments are sealed when
they are read, and struck out of whatever lm-eval logs while the model is asked.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.artefacts.cache import cache_folder
from harness.asking.batch import Batch, Unkept, count_tokens
from harness.asking.quiet import keep_quiet
from harness.asking.spec import AssistantSpec, Question
from harness.asking.store import Store, key_of
from harness.errors import (
    ArtefactError,
    HarnessError,
    JudgeError,
    UnknownNameError,
    meant,
    one_line,
)
from harness.host.lm_eval_seams import model_class, registry
from harness.secrets import hidden, public, remember, struck, unseal

# How a model is run, not what it answers: these do not enter the store's key.
_OPERATIONAL = frozenset(
    (
        *("num_concurrent", "max_retries", "timeout", "verify_certificate", "ca_cert_path"),
        *("batch_size", "max_batch_size", "device", "device_map", "parallelize", "cache_dir"),
        *("tensor_parallel_size", "data_parallel_size", "gpu_memory_utilization", "swap_space"),
    )
)
# Answers that follow from a question's facts and change with this package: asked anew each time.
_UNSTORED = frozenset({"testbed-judge", "testbed-writer", "proxy"})


__all__ = ["Assistant", "AssistantSpec", "Question"]


class Assistant:
    """A model to ask, with its store of answers.

    Args:
        spec: Which model, and how. The model itself is created when a question needs it.

    Attributes:
        trouble: What went wrong last, as a part of a sentence.
        usage: What asking has cost so far: ``questions`` (distinct ones), ``stored`` (those
            answered from the store), ``requests`` (handed to the model, repeated ones included),
            ``answers`` (that came back), ``rejected`` (that were empty or not accepted),
            ``prompt_characters``, ``answer_characters``; and where an API reports them
            ``prompt_tokens`` and ``answer_tokens``.
    """

    def __init__(self, spec: AssistantSpec) -> None:
        self.spec = spec
        self.trouble = "it gave no valid answer"
        self.usage: Counter[str] = Counter()
        self._lm: Any = None
        self._store: Store | None = None

    @property
    def kept(self) -> str:
        """Where accepted answers are, as a sentence."""
        path = self._path()
        return f"Accepted answers are kept in {path}." if path and path.is_file() else ""

    def info(self) -> dict[str, Any]:
        """What identifies the assistant in saved results; no secrets."""
        args = public(self.spec.model_args)
        names = sorted(hidden(self.spec.model_args))
        found = dict(self._lm.get_model_info()) if hasattr(self._lm, "get_model_info") else {}
        return {
            "model": self.spec.model,
            "model_args": json.loads(json.dumps(args, default=str)),
            "revision": found.get("model_sha") or args.get("revision") or "unknown",
            **{n: getattr(self.spec, n) for n in ("temperature", "max_tokens", "votes", "seed")},
            **({"hidden": names} if names else {}),
        }

    def ask(self, questions: Sequence[Question], accept: Callable[[str], bool]) -> list[str | None]:
        """Answers to the questions, in order; None where no answer was accepted.

        Args:
            questions: What to ask; equal ones (same prompt, same vote) are asked once.
            accept: Whether an answer counts, besides a question's own ``check``. One that does
                not is asked for again.

        Raises:
            JudgeError: The model cannot be made, or refuses credentials, address or every question.
        """
        keys = [self._key(question) for question in questions]
        answers = {}
        missing = {}
        for key, question in zip(keys, questions, strict=True):
            stored = self._stored(key, question, accept)
            if stored is None:
                missing[key] = question
            else:
                answers[key] = stored
        self.usage.update(questions=len(answers) + len(missing), stored=len(answers))
        if missing:
            if (store := self._opened()) is not None:
                store.ready()
            model = self.model()
            batch = Batch(
                *(model, self.spec, missing),
                accept=accept,
                keep=lambda key, answer: self._keep(key, missing[key], answer, accept),
                stored=lambda keys: self._meanwhile({k: missing[k] for k in keys}, accept),
                usage=self.usage,
                proven=bool(answers),
            )
            answers |= batch.run()
            self.trouble = batch.trouble
        return [answers.get(key) for key in keys]

    def prepare(self) -> None:
        """Find what is wrong with the model before it is needed, where that costs little.

        Raises:
            JudgeError: There is no such model, or an API model cannot be made (no key, say).
            ArtefactError: The store is none.
        """
        from lm_eval.models.api_models import TemplateAPI

        self._opened()
        if issubclass(self._class(), TemplateAPI):
            self.model()

    def model(self) -> Any:
        """The lm-eval model, made on first use.

        Raises:
            JudgeError: It cannot be made.
        """
        if self._lm is None:
            kind = self._class()
            try:
                model = kind.create_from_arg_obj(unseal(self.spec.model_args), {})
                remember(getattr(model, "header", None))  # API models look for their key here
            except HarnessError:
                raise
            except Exception as cause:  # noqa: BLE001 -- a model's constructor raises what it likes
                reason = one_line(struck(f"{type(cause).__name__}: {cause}"))
                raise JudgeError(f"model '{self.spec.model}' cannot be made: {reason}") from None
            self._lm = model
            count_tokens(model, self.usage)
            keep_quiet(model)
        return self._lm

    def _class(self) -> Any:
        try:
            return model_class(self.spec.model)
        except Exception as cause:
            if isinstance(cause, HarnessError) and not isinstance(cause, UnknownNameError):
                raise
            raise JudgeError(_why_not(self.spec.model, cause)) from cause

    def _path(self) -> Path | None:
        if self.spec.store:
            return Path(self.spec.store).expanduser()
        if self.spec.model in _UNSTORED:
            return None
        args = self.spec.model_args
        name = str(args.get("model") or args.get("pretrained") or "")
        name = re.sub(r"[^\w.-]+", "_", f"{self.spec.model}_{name}").strip("_")
        return cache_folder() / "answers" / f"{name[-120:]}.jsonl"

    def identity(self) -> dict[str, Any]:
        """What its answers depend on besides the question; no secrets."""
        spec = self.spec
        args = {k: v for k, v in public(spec.model_args).items() if k not in _OPERATIONAL}
        return {
            "model": spec.model,
            "model_args": json.loads(json.dumps(args, default=str)),
            "temperature": float(spec.temperature),
            "max_tokens": spec.max_tokens,
            "seed": spec.seed,
        }

    def _key(self, question: Question) -> str:
        """What an answer depends on, as a content key."""
        facts = dict(question.facts) if self.spec.model in _UNSTORED else None
        return key_of(
            **self.identity(),
            prompt=question.prompt,
            **({} if question.reply is None else {"reply": question.reply}),
            vote=question.vote,
            facts=json.dumps(facts, sort_keys=True, default=str),
        )

    def _opened(self) -> Store | None:
        path = self._path()
        if self._store is None and path is not None:
            self._store = Store(path)
        return self._store

    def _stored(self, key: str, question: Question, accept: Callable[[str], bool]) -> str | None:
        """The first stored answer that counts; rules of acceptance may differ between runs."""
        store: Mapping[str, str] = self._opened() or {}
        for entry in _entries(key):
            answer = store.get(entry)
            if answer is None or _counts(answer, question, accept):
                return answer
        return None

    def _meanwhile(
        self, questions: Mapping[str, Question], accept: Callable[[str], bool]
    ) -> dict[str, str]:
        """Answers by key that other processes have stored since."""
        if (store := self._opened()) is not None:
            store.refresh()
        found = {key: self._stored(key, one, accept) for key, one in questions.items()}
        return {key: answer for key, answer in found.items() if answer is not None}

    def _keep(
        self, key: str, question: Question, answer: str, accept: Callable[[str], bool]
    ) -> str:
        """Store an answer; returns the one that stays, which another process may have got first."""
        store = self._opened()
        if store is None:
            return answer
        try:
            stay = (store.put(entry, answer) for entry in _entries(key))
            return str(next(text for text in stay if _counts(text, question, accept)))
        except ArtefactError as cause:
            raise Unkept(f"{cause}. Nothing more is asked, as no answer could be kept") from cause


def _counts(answer: str, question: Question, accept: Callable[[str], bool]) -> bool:
    return accept(answer) and (question.check is None or question.check(answer))


def _entries(key: str) -> Iterator[str]:
    """Where answers to one question are stored: the first, and those other rules asked for."""
    return (key if n == 0 else f"{key}-{n}" for n in itertools.count())


def _why_not(model: str, cause: Exception) -> str:
    """One line on a model that cannot be had: what was meant, or what lm-eval says."""
    known = [*dict(registry("model").items())]
    if isinstance(cause, ValueError) and model not in known:
        cause = ValueError(f"there is no such model; {meant(model, known, 'there are')}")
    return f"model '{model}' cannot be loaded: {cause}"
