"""A classifier that judges (document, claim) pairs, in batches of like length.

Documents are chunked once and (piece, claim) prompts read once, however many pairs share them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from harness.errors import HarnessError
from harness.store import Store, key_of
from harness_factcg.loading import Classifier
from harness_factcg.scoring import (
    Ids,
    Overlong,
    Pair,
    Planner,
    Verdict,
    batches,
    log_odds,
    supported_label,
)

_log = logging.getLogger(__name__)


class Checker:
    """Scores pairs with one classifier.

    Args:
        classifier: The loaded checkpoint.
        max_length: Tokens a prompt may have; less if the model can read less.
        chunk_size: Word tokens a chunk.
        overlong: What to do with a chunk that is too long for the model.
        batch_tokens: Tokens a batch, padding included.
        supported: Number of the label "supported", where the label names do not tell.
        store: Keeps every score; those it has are not computed again.

    Raises:
        HarnessError: There is no such label, or none that can be told.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        max_length: int,
        chunk_size: int,
        overlong: Overlong,
        batch_tokens: int,
        supported: int | None = None,
        store: Store | None = None,
    ) -> None:
        config = classifier.model.config
        self.classifier = classifier
        self.max_length = min(max_length, classifier.max_length or max_length)
        self.supported = supported_label(config.id2label) if supported is None else supported
        if not 0 <= self.supported < config.num_labels:
            raise HarnessError(f"supported={supported}: the model has {config.num_labels} label(s)")
        self._batch_tokens = batch_tokens
        self._store = store
        self._planner = Planner(
            classifier.tokenizer,
            max_length=self.max_length,
            chunk_size=chunk_size,
            overlong=overlong,
        )

    def room(self, claims: Sequence[str]) -> list[int]:
        """Tokens left to the document beside each claim and the question."""
        return self._planner.room(claims)

    def verdicts(self, pairs: Iterable[Pair], *, progress: bool = False) -> dict[Pair, Verdict]:
        """Score distinct pairs.

        Args:
            pairs: Documents with at least a word, and claims that leave ``LEAST_ROOM`` to them.
            progress: Whether to show a bar.

        Raises:
            HarnessError: The model gives NaN.
        """
        started = time.monotonic()
        plan = self._planner.plan(pairs)
        margins = self._margins(plan.ids, progress)
        found = {
            pair: Verdict.over([margins[k] for k in places], not plan.cut.isdisjoint(places))
            for pair, places in plan.pieces.items()
        }
        _log.info(
            "%d claims against %d documents: %d prompts in %.1f s, %d truncated",
            len(found),
            len({pair.document for pair in found}),
            len(margins),
            time.monotonic() - started,
            sum(verdict.truncated for verdict in found.values()),
        )
        return found

    def _margins(self, prompts: Sequence[Ids], progress: bool) -> list[float]:
        """Log-odds of each prompt, from the store where it has them."""
        store = self._store
        keys = [] if store is None else [self._key(ids) for ids in prompts]
        margins: dict[int, float] = {}
        if store is not None:
            margins.update((k, store[key]) for k, key in enumerate(keys) if key in store)
        missing = [place for place in range(len(prompts)) if place not in margins]
        lengths = [len(prompts[place]) for place in missing]
        with tqdm(total=len(missing), desc="Checking claims", disable=not progress) as bar:
            for batch in batches(lengths, self._batch_tokens):
                places = [missing[k] for k in batch]
                scores = self._forward([prompts[place] for place in places])
                margins.update(zip(places, scores, strict=True))
                if store is not None:
                    for place, score in zip(places, scores, strict=True):
                        store.put(keys[place], score)
                bar.update(len(places))
        return [margins[place] for place in range(len(prompts))]

    def _key(self, ids: Ids) -> str:
        """What a score depends on: the weights, their number format, the label and the tokens."""
        model = self.classifier
        return key_of(
            model=model.sha or [model.name, model.revision],
            dtype=str(model.model.dtype),
            supported=self.supported,
            ids=ids.tobytes().hex(),
        )

    @torch.inference_mode()
    def _forward(self, prompts: Sequence[Ids]) -> list[float]:
        """Log-odds of a batch, padded on the right."""
        model, pad = self.classifier.model, self.classifier.tokenizer.pad_token_id
        width = max(len(ids) for ids in prompts)
        ids = np.full((len(prompts), width), 0 if pad is None else pad, dtype=np.int64)
        mask = np.zeros((len(prompts), width), dtype=np.int64)
        for row, tokens in enumerate(prompts):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        logits = model(
            input_ids=torch.from_numpy(ids).to(model.device),
            attention_mask=torch.from_numpy(mask).to(model.device),
        ).logits
        found = log_odds(logits, self.supported)
        if found.isnan().any():
            raise HarnessError(
                f"'{self.classifier.name}' gives NaN in {model.dtype}; try dtype=float32"
            )
        return [float(margin) for margin in found.tolist()]
