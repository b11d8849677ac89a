"""``hf-steered``: a transformers model steered row by row, or asked for its method's scores.

    lm_eval --model hf-steered --model_args pretrained=M,steering=DIR,method=diffmean --tasks …

Rows of different concept and factor share a batch: each row of it is edited by its own numbers at
the output of one decoder block (Wu et al. 2025, §2). lm-eval's own generation loop runs unchanged;
each prompt carries its steering into the batch it ends up in.

lm-eval's ``--use_cache`` keys an answer on the prompt alone and would give one concept's answer for
another's: it is refused, ``response_cache=PATH`` takes its place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from harness.errors import HarnessError
from harness.responses import Score
from harness_axbench import dictionary
from harness_axbench.activations import Reader
from harness_axbench.detection import TextAndConcept, concept_scores
from harness_axbench.editing import Editor, editor_for
from harness_axbench.interventions import ADD
from harness_axbench.positions import ALL
from harness_axbench.steering import (
    Answers,
    Recorder,
    SteeredPrompt,
    Steering,
    choose,
    in_groups,
    make_plan,
    wants_detection,
    with_trace,
)

_Base: Any = object  # whatever the mixin is put in front of

log = logging.getLogger(__name__)

_NO_MATTER = ("batch_size", "max_batch_size", "device")
_AUTO_BATCH = 16


class SteeringMixin(_Base):  # type: ignore[misc]  # lm-eval is untyped
    """Steers an ``HFLM`` or a subclass of it; put it in front of that class.

    Args:
        pretrained: Model id or path, ``testbed:NAME``, or a loaded model.
        steering: Folder of a dictionary.
        method: Method of the dictionary; may be left out where it has only one.
        concept: With ``factor``: steer every row that names no concept itself.
        factor: Multiple of max_act for those rows.
        intervention: ``add``, ``clamp``, ``min_clamp`` or ``null_out``.
        positions: ``all``, ``prompt``, ``generated``, or a slice of the prompt's tokens.
        perplexity: Whether each steered answer is also scored by the unsteered model.
        response_cache: A file that keeps all answers; a rerun asks only what is missing.
        **kwargs: As for ``HFLM``.

    Raises:
        HarnessError: The dictionary is missing, damaged, or for another model.
    """

    cache_hook: Any

    def __init__(
        self,
        pretrained: Any,
        *,
        steering: str | None = None,
        method: str | None = None,
        concept: int | None = None,
        factor: float | None = None,
        intervention: str = ADD,
        positions: str = ALL,
        perplexity: bool = False,
        response_cache: str | None = None,
        **kwargs: Any,
    ) -> None:
        from harness.testbed import resolve

        if response_cache and not isinstance(pretrained, str):
            raise HarnessError("response_cache= needs pretrained= to be a model id or path")
        self.plan = make_plan(
            steering, method, concept, factor, intervention=intervention, positions=positions
        )
        self._perplexity = perplexity
        self._name = pretrained
        path = resolve(pretrained) if isinstance(pretrained, str) else pretrained
        try:
            super().__init__(pretrained=path, **kwargs)
        except (OSError, ValueError, AssertionError, RuntimeError) as cause:
            raise HarnessError(f"model {self._name} cannot be loaded: {cause}") from cause
        self._warned: set[str] = set()
        self._rows: list[Steering | None] = []
        self._editor: Editor | None = None
        if self.plan.steers:
            self._editor = editor_for(self.model, self.plan)
            self._warn_of_other_weights(path)
        identity = self._identity(path, kwargs) if response_cache else {}
        self.answers = Answers(response_cache, identity)

    def _warn_of_other_weights(self, path: Any) -> None:
        trained = self.plan.found.manifest["model"]
        if not isinstance(self._name, str) or self._name == trained["name"]:
            return
        own = dictionary.fingerprint(path)
        if own is None or own != trained.get("sha256"):
            log.warning(
                "the dictionary %s was trained on %s; %s has the same width and other weights",
                self.plan.found.folder,
                trained["name"],
                self._name,
            )

    def _identity(self, path: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        settings = {k: str(v) for k, v in kwargs.items() if k not in _NO_MATTER}
        return {
            "model": dictionary.fingerprint(path) or path,
            "commit": getattr(self.config, "_commit_hash", None),
            "dtype": str(self.model.dtype),
            "settings": settings,
            "artefact": self.plan.found.sha256,
            "method": self.plan.method,
        }

    def set_cache_hook(self, cache_hook: Any) -> None:
        if getattr(cache_hook, "dbdict", None) is not None:
            raise HarnessError(
                "--use_cache keeps answers by prompt alone and would mix up steered answers; "
                "use --model_args …,response_cache=FILE instead"
            )
        super().set_cache_hook(cache_hook)

    def get_model_info(self) -> dict[str, Any]:
        everywhere = self.plan.everywhere
        info: dict[str, Any] = super().get_model_info()
        return info | {
            "method": self.plan.method,
            "method_args": everywhere.trace() if everywhere else {},
            "artefact_hash": self.plan.found.sha256,
            "layer": self.plan.found.layer if self.plan.steers else None,
            "intervention": self.plan.intervention,
            "positions": self.plan.positions,
        }

    # How answers are asked for

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        steerings = [choose(self.plan, request, self._warned) for request in requests]
        parts = [
            self._part("generate_until", request, steering, request.args[1])
            for request, steering in zip(requests, steerings, strict=True)
        ]
        ask = super().generate_until
        alone = self._editor is not None and self._editor.uniform

        def answer(rows: list[Any]) -> list[Any]:
            if not alone:
                return list(ask(rows, disable_tqdm=disable_tqdm))
            return in_groups(rows, lambda group: ask(group, disable_tqdm=disable_tqdm))

        with self._recording():
            answers = self.answers.complete(requests, steerings, parts, answer)
        surprise = self._perplexities(requests, steerings, answers)
        return [
            with_trace(answer, steering, more)
            for answer, steering, more in zip(answers, steerings, surprise, strict=True)
        ]

    def _perplexities(
        self, requests: Sequence[Any], steerings: Sequence[Steering | None], answers: Sequence[str]
    ) -> list[dict[str, float]]:
        """exp(−log P / tokens) of each answer under the unsteered model, as an entry of its trace.

        An empty answer has none.
        """
        found: list[dict[str, float]] = [{} for _ in requests]
        if not self._perplexity:
            return found
        chosen = [i for i, s in enumerate(steerings) if s is not None and answers[i]]
        asked = [
            replace(
                requests[i],
                request_type="loglikelihood",
                arguments=(requests[i].args[0], answers[i]),
            )
            for i in chosen
        ]
        parts = [self._part("perplexity", row, None, row.args[1:]) for row in asked]
        plain = [None] * len(asked)
        ask = super().loglikelihood
        for i, scored in zip(chosen, self.answers.complete(asked, plain, parts, ask), strict=True):
            tokens = len(self._encode_pair(requests[i].args[0], answers[i])[1])
            if tokens:
                found[i] = {"perplexity": math.exp(-scored[0] / tokens)}
        return found

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        scored = [i for i, request in enumerate(requests) if wants_detection(request)]
        worded = [i for i, request in enumerate(requests) if not wants_detection(request)]
        ask = super().loglikelihood
        answers: dict[int, Any] = dict(
            zip(scored, self._detect([requests[i] for i in scored]), strict=True)
        )
        rest = self._uniform("loglikelihood", [requests[i] for i in worded], ask, disable_tqdm)
        answers |= dict(zip(worded, rest, strict=True))
        return [answers[i] for i in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        ask = super().loglikelihood_rolling
        return self._uniform("loglikelihood_rolling", requests, ask, disable_tqdm)

    def _uniform(self, kind: str, requests: list[Any], ask: Any, disable_tqdm: bool) -> list[Any]:
        """Answer in groups of equal steering, one vector for all rows of a group."""
        steerings = [choose(self.plan, request, self._warned) for request in requests]
        if self.world_size > 1 and len(set(steerings)) > 1:
            raise HarnessError(f"{kind} of rows that differ in steering runs in one process only")
        parts = [
            self._part(kind, request, steering, request.args[1:])
            for request, steering in zip(requests, steerings, strict=True)
        ]

        def in_context(group: list[Any]) -> list[Any]:
            with self._steered([group[0].args[0].steering], None):
                return list(ask(group, disable_tqdm=disable_tqdm))

        with self._recording():
            answers = self.answers.complete(
                requests,
                steerings,
                parts,
                lambda rows: in_groups(rows, in_context),
            )
        return [with_trace(a, s) for a, s in zip(answers, steerings, strict=True)]

    def _part(
        self, kind: str, request: Any, steering: Steering | None, rest: Any
    ) -> dict[str, Any]:
        part = {
            "kind": kind,
            "prompt": str(request.args[0]),
            "rest": rest,
            "steering": steering.trace() if steering else None,
        }
        if isinstance(rest, Mapping) and (rest.get("do_sample") or rest.get("temperature")):
            part["seed"] = torch.initial_seed()
        return part

    @contextmanager
    def _recording(self) -> Iterator[None]:
        stock, self.cache_hook = self.cache_hook, Recorder(self.answers.store)
        try:
            yield
        finally:
            self.cache_hook = stock

    # How a batch is steered

    def tok_batch_encode(self, strings: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """Encode a batch and note how its rows are steered, for the generation that follows."""
        self._rows = [s.steering if isinstance(s, SteeredPrompt) else None for s in strings]
        return super().tok_batch_encode([str(s) for s in strings], *args, **kwargs)

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        with self._steered(self._rows, kwargs.get("attention_mask")):
            return super()._model_generate(*args, **kwargs)

    @contextmanager
    def _steered(
        self, rows: Sequence[Steering | None], mask: torch.Tensor | None
    ) -> Iterator[None]:
        """A context in which row i of every batch is steered as ``rows[i]`` says."""
        if self._editor is None:
            yield
            return
        with self._editor.under(rows, mask):
            yield

    # How texts are scored

    def _detect(self, requests: Sequence[Any]) -> list[Score]:
        """The method's own score for " Yes", and 0 for " No"."""
        parts = [
            {
                "kind": "detect",
                "text": [request.doc["input"], request.doc["output"]],
                "concept_id": request.doc["concept_id"],
                "answer": request.args[1],
            }
            for request in requests
        ]
        values = self.answers.complete(requests, [None] * len(requests), parts, self._margins)
        results = []
        for request, value in zip(requests, values, strict=True):
            trace = {"method": self.plan.method, "concept_id": int(request.doc["concept_id"])}
            results.append(Score(value, trace=trace))
        return results

    def _margins(self, requests: Sequence[Any]) -> list[float]:
        scores = self._scores([request.doc for request in requests])
        return [
            scores[r.doc["input"], r.doc["output"], int(r.doc["concept_id"])]
            if r.args[1].strip() == "Yes"
            else 0.0
            for r in requests
        ]

    def _scores(self, docs: Sequence[Mapping[str, Any]]) -> dict[TextAndConcept, float]:
        return concept_scores(self.plan, docs, self._reader)

    def _reader(self) -> Reader:
        """Reads texts the way the dictionary's training did."""
        manifest = self.plan.found.manifest
        size = self.batch_size
        return Reader(
            self.model,
            self.tokenizer,
            layer=self.plan.found.layer,
            batch_size=size if isinstance(size, int) else _AUTO_BATCH,
            prefix=int(manifest["prefix"]),
            chat=bool(manifest["chat"]),
        )


class SteeredHF(SteeringMixin, HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """``hf-steered``: lm-eval's ``hf`` with a steering dictionary."""
