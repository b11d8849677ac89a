"""``hf-steered``: a transformers model steered row by row, or asked for its method's scores.

    lm_eval --model hf-steered --model_args pretrained=M,steering=DIR,method=diffmean --tasks …

Rows of different concept and factor share a batch: each row of it is edited by its own numbers at
the output of one decoder block (Wu et al. 2025, §2). lm-eval's own generation loop runs unchanged;
each prompt carries its steering into the batch it ends up in.

lm-eval's ``--use_cache`` keys an answer on the prompt alone and would give one concept's answer for
another's: it is refused, ``response_cache=PATH`` takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from harness import HarnessError, Prompt, Score, traced
from harness.models.answers import Answers
from harness.models.requests import in_groups
from harness_axbench.activations.reader import Reader
from harness_axbench.methods import editor_for
from harness_axbench.models.detection import TextAndConcept, concept_scores
from harness_axbench.models.draws import own_draws
from harness_axbench.models.wrapping import Ask, SteeringWrapper, identity_of, warn_of_other_weights
from harness_axbench.requests import STEERING, wants_detection
from harness_axbench.steering.editors import Editor
from harness_axbench.steering.plan import make_plan
from harness_axbench.steering.positions import ALL
from harness_axbench.steering.steering import ADD, Steering

_NO_MATTER = ("batch_size", "max_batch_size", "device")
_AUTO_BATCH = 16


class SteeringMixin(SteeringWrapper):
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

    model: Any
    batch_size: Any

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
        super().__init__(pretrained, **kwargs)
        path = resolve(pretrained) if isinstance(pretrained, str) else pretrained
        self._warned: set[str] = set()
        self._rows: list[Prompt | None] = []
        self._editor: Editor | None = None
        if self.plan.steers:
            self._editor = editor_for(self.model, self.plan)
            if isinstance(pretrained, str):
                warn_of_other_weights(self.plan, pretrained, path)
        identity = self._identity(path, kwargs) if response_cache else {}
        self.answers = Answers(response_cache, identity)

    def _identity(self, path: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        settings = {k: v for k, v in kwargs.items() if k not in _NO_MATTER}
        settings |= {
            "commit": getattr(self.config, "_commit_hash", None),
            "dtype": self.model.dtype,
        }
        return identity_of(self.plan, path, settings)

    # How answers are asked for

    def _generated(self, rows: list[Any], ask: Ask) -> list[Any]:
        if self._editor is not None and self._editor.uniform:
            return in_groups(rows, STEERING, ask)
        return ask(rows)

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
        """Answer in groups of equal steering, one edit for all rows of a group."""

        def in_context(group: list[Any]) -> list[Any]:
            with self._steered([group[0].args[0].notes[STEERING]], None):
                return list(ask(group, disable_tqdm=disable_tqdm))

        def grouped(rows: list[Any]) -> list[Any]:
            if self.world_size > 1 and len({row.args[0].notes[STEERING] for row in rows}) > 1:
                raise HarnessError(
                    f"{kind} of rows that differ in steering runs in one process only"
                )
            return in_groups(rows, STEERING, in_context)

        steerings, answers = self._answer(kind, requests, grouped)
        return [
            traced(a, **(s.trace() if s else {})) for a, s in zip(answers, steerings, strict=True)
        ]

    # How a batch is steered

    def tok_batch_encode(self, strings: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """Encode a batch and note whose rows they are, for the generation that follows."""
        self._rows = [s if isinstance(s, Prompt) else None for s in strings]
        return super().tok_batch_encode([str(s) for s in strings], *args, **kwargs)

    def _model_generate(self, context: Any, max_length: int, stop: Any, **kwargs: Any) -> Any:
        seeds = [row.seed if row is not None else 0 for row in self._rows]
        drawn = own_draws(self.model.generation_config, kwargs, seeds, context.shape[1], max_length)
        rows = [row.notes.get(STEERING) if row is not None else None for row in self._rows]
        with self._steered(rows, kwargs.get("attention_mask")):
            return super()._model_generate(context, max_length, stop, **(drawn or kwargs))

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
        self._used |= bool(requests)
        parts = [
            {
                "kind": "detect",
                "text": [request.doc["input"], request.doc["output"]],
                "concept_id": request.doc["concept_id"],
                "answer": request.args[1],
            }
            for request in requests
        ]
        values = self.answers.complete(requests, [{}] * len(requests), parts, self._margins)
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
