"""The first pass of a policy gradient: what a token weighs by its sequence, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from harness_taid.network.chunked import HiddenTeacher, TeacherRows, chunk_rows
from harness_taid.network.head import Head
from harness_taid.objectives.minillm import MiniLLM
from harness_taid.objectives.rows import at, floored


@torch.no_grad()
def label_log_probabilities(rows: TeacherRows, labels: Tensor, *, chunk: int) -> Tensor:
    """Log-probabilities [N] of labels [N], ``chunk`` rows of logits at a time."""
    found = []
    for start in range(0, len(labels), chunk):
        some = labels[start : start + chunk]
        logits, _ = floored(rows.rows(start, start + len(some)))
        found.append(at(logits, some) - logits.logsumexp(-1))
    return torch.cat(found) if found else labels.new_zeros(0, dtype=torch.float32)


@torch.no_grad()
def policy_weights(
    objective: MiniLLM,
    hidden: Tensor,
    head: Head,
    teacher: TeacherRows,
    *,
    labels: Tensor,
    lengths: Tensor,
    chunk: int | None = None,
) -> Tensor:
    """The weights [N, 2] that ``chunked_loss`` takes for minillm.

    Args:
        objective: Says how sequences were sampled and rewards are counted.
        hidden: The student's last hidden states [N, hidden], sequences one after the other.
        head: The student's head.
        teacher: The teacher's logits of the same tokens.
        labels: The sampled tokens, [N].
        lengths: Tokens of each sequence; their sum is N.
        chunk: Tokens at a time; by default ``chunk_rows``.
    """
    size = chunk or chunk_rows(head.vocabulary, hidden.device)
    student = HiddenTeacher(hidden.detach(), head)
    log_q = label_log_probabilities(student, labels, chunk=size)
    log_p = label_log_probabilities(teacher, labels, chunk=size)
    return objective.weights(log_q, log_p, lengths)
