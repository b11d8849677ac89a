"""``hf-steered``: a transformers model steered row by row, or asked for its method's scores.

    lm_eval --model hf-steered --model_args pretrained=M,steering=DIR,method=diffmean --tasks …

Rows of different concept and factor share a batch: each row of it is edited by its own numbers at
the output of one decoder block (Wu et al. 2025, §2). lm-eval's own generation loop runs unchanged;
each prompt carries its steering into the batch it ends up in. Whatever else makes forward passes of
the model (``hf-steered+speculative``) is steered too: an edit follows a token's position in its
text, never the order of the passes.

lm-eval's ``--use_cache`` keys an answer on the prompt alone and would give one concept's answer for
another's: it is refused, ``response_cache=PATH`` takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness import HFWrapper, Place, Prompt, Score
from harness.models.requests import notes_of
from harness_axbench.activations.reader import Reader
from harness_axbench.methods import editor_for
from harness_axbench.models.detection import TextAndConcept, concept_scores
from harness_axbench.models.wrapping import SteeringPart, read_with
from harness_axbench.requests import STEERING, wants_detection
from harness_axbench.steering.editors import Editor

_AUTO_BATCH = 16


class SteeringMixin(SteeringPart, HFWrapper):
    """Steers an ``HFLM`` or a subclass of it; put it in front of that class.

    Arguments and errors are those of ``SteeringPart``.
    """

    batch_size: Any
    _editor: Editor | None = None

    def attach(self) -> None:
        self._editor = editor_for(self.model, self.plan)
        self.uniform = self._editor.uniform

    @contextmanager
    def passes(
        self, rows: Sequence[Prompt | None], places: Sequence[Place] | None
    ) -> Iterator[None]:
        with super().passes(rows, places):
            steered = [notes_of(row).get(STEERING) for row in rows]
            if self._editor is None or not any(steered):
                yield
                return
            with self._editor.under(steered, places):
                yield

    # How texts are scored

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        scored = [i for i, request in enumerate(requests) if wants_detection(request)]
        worded = [i for i, request in enumerate(requests) if not wants_detection(request)]
        answers: dict[int, Any] = dict(
            zip(scored, self._detect([requests[i] for i in scored]), strict=True)
        )
        if worded:
            rest = super().loglikelihood([requests[i] for i in worded], disable_tqdm)
            answers |= zip(worded, rest, strict=True)
        return [answers[i] for i in range(len(requests))]

    def _detect(self, requests: Sequence[Any]) -> list[Score]:
        """The method's own score for " Yes", and 0 for " No"."""
        for request in requests:
            self.count(request, True)
        parts = [
            {
                "kind": "detect",
                "text": [request.doc["input"], request.doc["output"]],
                "concept_id": request.doc["concept_id"],
                "answer": request.args[1],
            }
            for request in requests
        ]
        plain: list[dict[str, Any]] = [{}] * len(requests)
        values = self.answered("detect", requests, self._margins, notes=plain, wanted=parts)
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
            add_bos_token=read_with(manifest, self.add_bos_token),
        )
