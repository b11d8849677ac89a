"""Train parameters of a model itself on one concept's positives (LoRA, SFT).

    min  −mean_t log P(y_t | x, y_<t)   over the response tokens of a batch

The language head runs on positions that predict a token of a response alone. Rows are drawn,
batched and weighed as for the methods that learn many concepts at once (``stacked``): in the orders
of a DataLoader whose generator has the run's seed; a mean over the tokens of a batch, then over the
batches of a step; AdamW at the rate lr · (1 − step/steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness import HarnessError
from harness_axbench.activations.blocks import head_on, positions
from harness_axbench.activations.corpus import Batch, Corpus
from harness_axbench.activations.likelihood import summed
from harness_axbench.data.concepts import Concept
from harness_axbench.methods.stacked import Course, Timetable, microbatches


def response_nats(model: nn.Module, batch: Batch) -> Tensor:
    """−log P of each text's response under a whole model, in nats and fp32: [batch]."""
    mask = batch.mask.long()
    with head_on(model, batch.predicts):
        found: Any = model(
            input_ids=batch.ids, attention_mask=mask, use_cache=False, **positions(model, mask)
        )
    return summed(found.logits.squeeze(0), batch)


def fine_tune(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    *,
    corpus: Corpus,
    places: Sequence[int],
    course: Course,
    seed: int,
    title: str,
    concept: Concept,
) -> None:
    """Change parameters of a model in place until a concept's positives have had all their turns.

    Args:
        model: The model; its forward pass depends on the parameters.
        parameters: What is trained.
        corpus: Has the texts.
        places: Those of the concept's positives.
        course: Batch size, epochs, rate and so on.
        seed: Seed of the shuffles.
        title: Name of the method, for messages.
        concept: For messages.

    Raises:
        HarnessError: A loss is not a number.
    """
    table = Timetable(0, torch.tensor(places).unsqueeze(1), corpus, course, seed)
    optimizer = torch.optim.AdamW(parameters, lr=course.lr, weight_decay=course.weight_decay)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(table))
    for step in range(len(table)):
        rows = table.rows(step)
        for part in microbatches(rows.width, course.tokens):
            own = rows.select(part)
            nats = response_nats(model, corpus.batch(own.texts[:, 0].tolist()))
            loss = (nats * own.per_token.to(nats.device)).sum()
            if not bool(torch.isfinite(loss)):
                raise HarnessError(
                    f"{title}: the loss of concept {concept.id} ({concept.text!r}) is not a number "
                    f"at step {step + 1} of {len(table)}; try --set {title}.lr={course.lr / 10:g} "
                    f"or --dtype float32"
                )
            loss.backward()  # type: ignore[no-untyped-call]  # torch
        if course.clip:
            nn.utils.clip_grad_norm_(parameters, course.clip)
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
