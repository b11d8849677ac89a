"""What a student is chosen by: its loss on held-out exchanges, its KL from the teacher, ROUGE-L.

All objectives are measured alike, so that their students can be compared, and an objective whose
loss moves by itself (TAID's t) does not choose for itself:

* ``loss``: cross-entropy with the labels, nats a token;
* ``kl``: KL(p ‖ q), teacher to student, nats a token;
* ``rouge``: ROUGE-L of greedy answers against the responses, mean over exchanges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness_taid.data.exchanges import Item
from harness_taid.metrics.texts import rouge_l
from harness_taid.objectives import Context, Objective, Terms
from harness_taid.objectives.divergences import cross_entropy, label_cross_entropy
from harness_taid.objectives.rows import floored
from harness_taid.training.student_outputs import Writer


class Measure(Objective):
    """Cross-entropy with the labels; KL(p ‖ q) beside it where there is a teacher."""

    name = "measure"
    needs_teacher = False

    def __init__(self) -> None:
        super().__init__(Context(total_steps=1, steps_per_epoch=1))

    def terms(
        self,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Terms:
        parts: dict[str, Tensor] = {}
        if teacher is not None:
            parts["kl"] = cross_entropy(student, floored(teacher)[0].log_softmax(-1)).parts["kl"]
        return Terms(label_cross_entropy(student, labels), parts)


def better(choice: str, value: float, best: float | None) -> bool:
    """Whether a value beats the best one so far."""
    if math.isnan(value):
        return False
    return best is None or (value > best if choice == "rouge" else value < best)


def figure(choice: str, figures: Mapping[str, float]) -> float:
    """The figure that a choice goes by."""
    return figures["dev_" + {"rouge": "rouge_l"}.get(choice, choice)]


@torch.no_grad()
def rouge(writer: Writer, tokenizer: Any, items: Sequence[Item], size: int) -> list[float]:
    """ROUGE-L of greedy answers to the items' prompts, ``size`` at a time."""
    found = []
    for start in range(0, len(items), size):
        part = items[start : start + size]
        for item, answer in zip(part, writer.answers(part, 0, greedy=True), strict=True):
            text, reference = (
                tokenizer.decode(one.ids[one.prompt :], skip_special_tokens=True)
                for one in (answer, item)
            )
            found.append(rouge_l(text, reference))
    return found
