"""A model that judges (document, claim) pairs, in batches of like length.

Pairs go through in windows (``planning``), so that memory stays flat in their number. In a window,
documents are chunked once and prompts read once, however many pairs share them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from harness import ArtefactError, HarnessError
from harness.asking.store import Store, key_of
from harness.errors import one_line
from harness.models import last_block
from harness.statistics import Floats
from harness_factcg.checking.encoders import quick
from harness_factcg.checking.families import Family
from harness_factcg.checking.heads import head_for
from harness_factcg.checking.loading import Checkpoint
from harness_factcg.checking.planning import Ids, Overlong, Plan, Planner, batches, windows
from harness_factcg.checking.verdicts import Pair, Verdict

_log = logging.getLogger(__name__)

TITLE = "Checking claims"


@dataclass
class Tally:
    """What a checker has done: pairs, prompts, truncated pairs, and seconds of its two parts."""

    pairs: int = 0
    prompts: int = 0
    truncated: int = 0
    planning: float = 0.0
    model: float = 0.0


class Checker:
    """Scores pairs with one checkpoint.

    Args:
        checkpoint: The loaded model.
        family: How it is asked.
        overlong: What to do with a chunk that is too long for the model.
        batch_tokens: Tokens a batch, padding included.
        supported: Number of a classifier's label "supported", where the label names do not tell.
        store: Keeps every score; those it has are not computed again.
        reason: What told the family; it is kept beside the answers.

    Raises:
        HarnessError: There is no such label, or none that can be told, or an answer of the family
            is no single token.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: Family,
        *,
        overlong: Overlong = "split",
        batch_tokens: int = 16384,
        supported: int | None = None,
        store: Store | None = None,
        reason: str = "given",
    ) -> None:
        self.checkpoint = checkpoint
        self.family = family
        self.reason = reason
        self.overlong = overlong
        self.max_length = min(family.max_length, checkpoint.max_length or family.max_length)
        self.head = head_for(checkpoint.model, checkpoint.tokenizer, family, supported)
        self.tally = Tally()
        self._prepared = last_block.prepare(checkpoint.model)
        self._batch_tokens = batch_tokens
        self._store = store
        self._planner = Planner(
            checkpoint.tokenizer,
            family,
            max_length=self.max_length,
            overlong=overlong,
            add_bos_token=checkpoint.add_bos_token,
        )

    def chunks(self, document: str) -> list[str]:
        """A document's chunks as the family makes them, before any is split for the model."""
        return self._planner.chunks(document)

    def room(self, claims: Sequence[str]) -> list[int]:
        """Tokens left to the document beside each claim and the question."""
        return self._planner.room(claims)

    def verdicts(
        self, pairs: Iterable[Pair], *, progress: bool = False, title: str = TITLE
    ) -> dict[Pair, Verdict]:
        """Score distinct pairs.

        Args:
            pairs: Documents and claims.
            progress: Whether to show a bar.
            title: What stands before the bar.

        Raises:
            HarnessError: A document or a claim is empty, a claim leaves no room for a document, or
                the model gives NaN.
        """
        return dict(self.stream(pairs, progress=progress, title=title))

    def stream(
        self, pairs: Iterable[Pair], *, progress: bool = False, title: str = TITLE
    ) -> Iterator[tuple[Pair, Verdict]]:
        """Score distinct pairs, each given back as soon as its window is done.

        Pairs on one document come together, documents in the order of their first pair. Arguments
        and errors are those of ``verdicts``.
        """
        wanted = list(dict.fromkeys(pairs))
        before = Tally(**vars(self.tally))
        with tqdm(desc=title, unit="prompt", disable=not progress) as bar:
            done = 0
            for window in windows(wanted):
                started = time.monotonic()
                plan = self._planner.plan(window)
                planning = time.monotonic() - started
                done += len(window)
                bar.total = round((bar.n + len(plan.ids)) * len(wanted) / done)
                with quick(self.checkpoint.model):
                    margins, seconds = self._margins(plan.ids, bar)
                self.tally.planning += planning
                self.tally.model += float(seconds.sum())
                self.tally.prompts += len(plan.ids)
                yield from self._counted(plan, margins, seconds + planning / len(plan.ids))
        _log.info(
            "%d claims: %d prompts in %.1f s (%.1f s chunking and tokenising), %d truncated",
            self.tally.pairs - before.pairs,
            self.tally.prompts - before.prompts,
            self.tally.planning + self.tally.model - before.planning - before.model,
            self.tally.planning - before.planning,
            self.tally.truncated - before.truncated,
        )

    def _counted(
        self, plan: Plan, margins: Sequence[float], seconds: Floats
    ) -> Iterator[tuple[Pair, Verdict]]:
        for pair, verdict in plan.verdicts(margins, seconds):
            self.tally.pairs += 1
            self.tally.truncated += verdict.truncated
            yield pair, verdict

    def _margins(self, prompts: Sequence[Ids], bar: tqdm[None]) -> tuple[list[float], Floats]:
        """Log-odds of each prompt, from the store where it has them, and the seconds of each."""
        store = self._store
        keys = [] if store is None else [self._key(ids) for ids in prompts]
        margins: dict[int, float] = {}
        seconds = np.zeros(len(prompts))
        if store is not None:
            margins.update((k, store[key]) for k, key in enumerate(keys) if key in store)
        bar.update(len(margins))
        missing = [place for place in range(len(prompts)) if place not in margins]
        for batch in batches([len(prompts[place]) for place in missing], self._batch_tokens):
            started = time.monotonic()
            places = [missing[k] for k in batch]
            scores = self._forward([prompts[place] for place in places])
            margins.update(zip(places, scores, strict=True))
            if store is not None:
                for place, score in zip(places, scores, strict=True):
                    store.put(keys[place], score)
            seconds[places] = (time.monotonic() - started) / len(places)
            bar.update(len(places))
        return [margins[place] for place in range(len(prompts))], seconds

    def _key(self, ids: Ids) -> str:
        """What a score depends on: the weights, their number format, the head and the tokens."""
        checkpoint = self.checkpoint
        return key_of(
            model=checkpoint.sha or [checkpoint.name, checkpoint.revision],
            dtype=str(checkpoint.model.dtype),
            **self.head.key(),
            ids=ids.tobytes().hex(),
        )

    def _read(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-odds [batch], from ids and mask [batch, tokens]."""
        model = self.checkpoint.model
        wanted = self.head.read_at(model, ids) if self._prepared else None
        if wanted is None:
            return self.head.margins(model, ids, mask)
        with last_block.read_at(model, wanted):
            return self.head.margins(model, ids, mask)

    @torch.inference_mode()
    def _forward(self, prompts: Sequence[Ids]) -> list[float]:
        """Log-odds of a batch, padded on the head's side."""
        model, pad = self.checkpoint.model, self.checkpoint.tokenizer.pad_token_id
        width = max(len(ids) for ids in prompts)
        ids = np.full((len(prompts), width), 0 if pad is None else pad, dtype=np.int64)
        mask = np.zeros((len(prompts), width), dtype=np.int64)
        for row, tokens in enumerate(prompts):
            place = slice(len(tokens)) if self.head.side == "right" else slice(-len(tokens), None)
            ids[row, place] = tokens
            mask[row, place] = 1
        try:
            found = self._read(
                torch.from_numpy(ids).to(model.device), torch.from_numpy(mask).to(model.device)
            )
        except IndexError as cause:  # a token that has no embedding, a label that has no logit
            raise ArtefactError(
                f"'{self.checkpoint.name}' is damaged: its weights, its tokenizer and its "
                f"config.json do not go together ({one_line(cause, 120)})"
            ) from cause
        if not found.isfinite().all():
            what = "NaN" if found.isnan().any() else "infinite logits"
            raise HarnessError(
                f"'{self.checkpoint.name}' gives {what} in {model.dtype}; try dtype=float32"
            )
        return [float(margin) for margin in found.tolist()]
