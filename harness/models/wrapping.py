"""The base of every wrapper, whatever its method and whatever runs the model.

A wrapper is a mixin in front of lm-eval's own class, so that all of that class stays as it is, and
a model may have several of them, its *parts* (``composing``). A part does one of three things:

    it answers   overrides ``generate_until``, ``loglikelihood``; asks ``super()`` for answers
    it edits     says in ``note`` what is done to a request, and does it in ``passes``
    it decodes   overrides ``write``, and enters ``passes`` around each forward pass of the model

Between the first and the other two stands the response cache, which keeps an answer by the content
of its request, the notes on it, and the ``identity`` of the model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import torch

from harness.artefacts.checksums import fingerprint
from harness.artefacts.gguf import is_gguf, named
from harness.artefacts.hub import commit_of, unopened
from harness.asking.special import lacks_bos
from harness.errors import HarnessError, one_line
from harness.host.lm_eval_seams import uses_cache
from harness.models import parts
from harness.models.answers import Answers, Recorder, prompted
from harness.models.requests import Place, Prompt, told
from harness.models.responses import traced
from harness.testbed import resolve

log = logging.getLogger(__name__)

_Base: Any = object  # whatever the mixin is put in front of
_FAULTS = (OSError, ValueError, AssertionError, RuntimeError, TypeError)


class Wrapper(_Base):  # type: ignore[misc]  # lm-eval is untyped
    """Put in front of an lm-eval model's class.

    Attributes:
        cannot_load: The start of the message where the model cannot be made; ``{}`` is its name.
        no_use_cache: Why lm-eval's ``--use_cache``, which keeps answers by prompt alone, would
            give wrong ones; None where the prompt alone decides.
        passes_by: Methods that a part never calls, so that no other part may count on them.
        stands_alone: Why no other part can be of effect beside this one.
        no_matter: A part's arguments on which no answer depends, or which its ``identity`` and
            notes say in a better way. All others are a part of the response cache's keys.
        answers: The response cache.
        arguments: What the constructor was given by name.
        stand_in: The model that is in the place of the wrapper's own, if one is.

    Args:
        pretrained: Model id or path, ``testbed:NAME``, or a loaded model.
        response_cache: A file that keeps all answers; a rerun asks only what is missing.
        **kwargs: As for the class behind.

    Raises:
        HarnessError: The model cannot be made, or its parts cannot meet.
    """

    cannot_load: ClassVar[str] = "model {} cannot be loaded"
    no_use_cache: ClassVar[str | None] = None
    passes_by: ClassVar[tuple[str, ...]] = ()
    stands_alone: ClassVar[str | None] = None
    no_matter: ClassVar[frozenset[str]] = frozenset()
    cache_hook: Any
    tokenizer: Any
    arguments: Mapping[str, Any] = {}
    stand_in: str | None = None
    _told_of_bos = False

    def __init__(
        self, pretrained: Any, *, response_cache: str | None = None, **kwargs: Any
    ) -> None:
        parts.check(type(self))
        if response_cache and not isinstance(pretrained, str):
            raise HarnessError("response_cache= needs pretrained= to be a model id or path")
        if isinstance(pretrained, str) and is_gguf(named(pretrained, kwargs.get("gguf_file"))):
            pretrained = named(pretrained, kwargs.pop("gguf_file", None))
        self.path = resolve(pretrained) if isinstance(pretrained, str) else pretrained
        self.answers = Answers(response_cache)
        try:
            super().__init__(pretrained=self.path, **kwargs)
        except _FAULTS as cause:
            said = _of_another_part(cause) or self._why(cause)
            raise HarnessError(f"{self.cannot_load.format(pretrained)}: {said}") from cause

    def _why(self, cause: BaseException) -> str:
        if isinstance(self.path, str):
            return unopened(cause, self.path, limit=None)
        return one_line(cause)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note all arguments, those of the parts too: answers may depend on any."""
        self = super().__new__(cls)
        self.arguments = kwargs
        return self

    # What a part may say or do; each asks super() too

    def note(self, request: Any) -> dict[str, Any]:
        """What the parts do to a request, each under a key of its own (see ``Prompt``)."""
        return {}

    def passes(
        self, rows: Sequence[Prompt | None], places: Sequence[Place] | None
    ) -> AbstractContextManager[Any]:
        """Entered around a forward pass of the model.

        Args:
            rows: The prompt of each row of the batch, None for a row that pads it; or one for all.
            places: Where each row's tokens stand; None where whole texts are scored.
        """
        return nullcontext()

    def identity(self) -> dict[str, Any]:
        """What all answers of the model in place depend on; JSON-able."""
        name = self.path if self.stand_in is None else resolve(self.stand_in)
        commit = commit_of(name, str(self.arguments.get("revision", "main")))
        found = {"model": fingerprint(name) or commit or name, "settings": self._settings()}
        return found if self.stand_in is None else found | {"stands_in": True}

    def labels(self) -> dict[str, str | None]:
        """What parts are shown with on the leaderboard; None for one that had no effect so far."""
        return {}

    def idle(self) -> dict[str, frozenset[str]]:
        """By task, the parts that changed none of its requests: its figures are not theirs."""
        return {}

    def write(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Answers to ``generate_until`` requests whose prompts are ``Prompt``."""
        found: list[Any] = super().generate_until(requests, disable_tqdm=disable_tqdm)
        return found

    def score(self, kind: str, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        """Answers to ``loglikelihood`` or ``loglikelihood_rolling`` requests."""
        found: list[Any] = getattr(super(), kind)(requests, disable_tqdm=disable_tqdm)
        return found

    def warn_of_bos(self, config: Any, ids: Sequence[int]) -> None:
        """Warn, once, where a text is read without the token that its model reads badly without.

        Args:
            config: The model's.
            ids: The text's first tokens.
        """
        if not self._told_of_bos and (said := lacks_bos(config, self.tokenizer, ids)):
            self._told_of_bos = True
            log.warning("%s: --model_args add_bos_token=True", said)

    # How lm-eval asks

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        ask = partial(self.write, disable_tqdm=disable_tqdm)
        return self.answered("generate_until", requests, ask)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        return self._scored("loglikelihood", requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        return self._scored("loglikelihood_rolling", requests, disable_tqdm)

    def _scored(self, kind: str, requests: list[Any], disable_tqdm: bool) -> list[Any]:
        return self.answered(kind, requests, lambda rows: self.score(kind, rows, disable_tqdm))

    def answered(
        self,
        kind: str,
        requests: Sequence[Any],
        ask: Callable[[list[Any]], list[Any]],
        notes: Sequence[Mapping[str, Any]] | None = None,
        wanted: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Any]:
        """Answers to requests by ``ask``, which is asked for those that are not known.

        Args:
            kind: What is asked for.
            requests: lm-eval ``Instance`` objects.
            ask: Gives answers to requests whose prompts are ``Prompt``.
            notes: In the place of what ``note`` says of each.
            wanted: What each answer depends on, if not on kind, arguments and notes.
        """
        notes = self._notes(requests) if notes is None else notes
        if wanted is None:
            wanted = [self._part(kind, *one) for one in zip(requests, notes, strict=True)]
        identity = self.identity() if self.answers.store is not None else {}
        with self._recording():
            found = self.answers.complete(requests, notes, wanted, ask, identity)
        return [
            traced(answer, **more) if (more := told(note)) else answer
            for answer, note in zip(found, notes, strict=True)
        ]

    def prompted(self, requests: Sequence[Any]) -> list[Any]:
        """The requests with their notes, for a part that answers them itself, all of them anew."""
        notes = self._notes(requests)
        wanted = [self._part("own", *one) for one in zip(requests, notes, strict=True)]
        return prompted(requests, notes, wanted, {})

    def _notes(self, requests: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """A model that stands in is asked as it is."""
        return [{} if self.stand_in is not None else self.note(request) for request in requests]

    def _part(self, kind: str, request: Any, notes: Mapping[str, Any]) -> dict[str, Any]:
        """What a request's answer depends on."""
        prompt, *rest = request.args
        part = {"kind": kind, "prompt": str(prompt), "rest": rest}
        part |= {k: n.trace() if hasattr(n, "trace") else n for k, n in notes.items()}
        sampling = rest[0] if rest and isinstance(rest[0], Mapping) else {}
        if sampling.get("do_sample") or sampling.get("temperature"):
            part["seed"] = self.seed()
        return part

    def seed(self) -> int:
        """What sampled answers depend on."""
        return torch.initial_seed()

    def _settings(self) -> dict[str, str]:
        """The arguments on which answers may depend."""
        kinds = type(self).__mro__
        left_out = {name for kind in kinds for name in vars(kind).get("no_matter", ())}
        left_out |= {"pretrained", "response_cache"}
        return {k: str(v) for k, v in self.arguments.items() if k not in left_out}

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """A context in which each answer is kept as it arrives."""
        stock, self.cache_hook = self.cache_hook, Recorder(self.answers.store)
        try:
            yield
        finally:
            self.cache_hook = stock

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Called by lm-eval; one with a cache behind it is that of ``--use_cache``.

        Raises:
            HarnessError: It would give wrong answers.
        """
        if self.no_use_cache and uses_cache(cache_hook):
            raise HarnessError(f"--use_cache keeps answers by prompt alone{self.no_use_cache}")
        super().set_cache_hook(cache_hook)


def _of_another_part(cause: BaseException) -> str | None:
    """What to say where a model refuses an argument that some other part takes."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if not isinstance(cause, TypeError) or not found:
        return None
    owners = import_module("harness.models.composing").takers(found[1])
    if not owners:
        return None
    return f"{found[1]}= is of {' and '.join(owners)}, which this model is not: join it with +"
