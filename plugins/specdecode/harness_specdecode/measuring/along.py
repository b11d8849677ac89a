r"""Agreement of a target and a drafter at every token of answers that the target has written.

Each model reads prompt and answer once. At each token, p and q are made of the logits as decoding
makes them (temperature included; at temperature 0 all weight is on the best token), and compared by
the closed forms of ``coupling``; some positions are sampled as well. Beside each agreement stands
the probability that a draft is right *given* the token x that the target wrote (``theory``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness_specdecode.couplings.agreement import closed_forms, record, sampled_hits
from harness_specdecode.couplings.couplings import total_variation
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding.rounds import Request, of_width
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.decoding.schemes import GUMBEL, LEVIATHAN, MINHASH
from harness_specdecode.decoding.slots import SlotModel

COUPLING = {LEVIATHAN: "optimal", GUMBEL: "gumbel", MINHASH: "minhash"}
"""The coupling whose agreement is a scheme's acceptance."""

Position = dict[str, float]


def given(scheme: str) -> str:
    """The name of a position's probability, given the token, that a draft is right."""
    return f"given_{COUPLING[scheme]}"


def agreements(
    target: Any,
    drafter: Any,
    requests: Sequence[Request],
    answers: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    noise: Noise,
    draws: int,
    sampled: int,
    on_answer: Callable[[], object] = lambda: None,
) -> list[list[Position]]:
    """Compare both models along answers.

    Args:
        target: The target, a transformers causal language model.
        drafter: The drafting model.
        requests: What was asked.
        answers: Tokens of each answer, at least one.
        sampling: How scores are made of logits.
        noise: The shared field.
        draws: How often each coupling is sampled at a sampled position; 0 samples none.
        sampled: How many positions are sampled, evenly spread.
        on_answer: Called after each answer.

    Returns:
        For each answer its positions: ``total_variation``, ``lower_bound``, ``agreement_…``,
        ``given_…``, and ``empirical_…`` where sampled.
    """
    chosen = set(_evenly(sum(map(len, answers)), sampled if draws and not sampling.greedy else 0))
    found: list[list[Position]] = []
    first = 0
    for request, tokens in zip(requests, answers, strict=True):
        vocabulary = int(target.config.get_text_config().vocab_size)
        p, q = (
            _along(model, request.prompt, tokens, sampling, vocabulary)
            for model in (target, drafter)
        )
        rows = [
            closed | conditional
            for closed, conditional in zip(closed_forms(p, q), _given(p, q, tokens), strict=True)
        ]
        keys = [request_key(noise.seed, request.prompt, repeat) for repeat in range(1, draws + 1)]
        for t in sorted(chosen & set(range(first, first + len(rows)))):
            at = t - first
            hits = sampled_hits(p[at], q[at], noise, keys, at)
            rows[at] = record(rows[at], hits, draws)
        found.append(rows)
        first += len(rows)
        on_answer()
    return found


def _along(
    model: Any,
    prompt: Sequence[int],
    tokens: Sequence[int],
    sampling: Sampling,
    vocabulary: int,
) -> Tensor:
    """Probabilities before each token of an answer, float64 [tokens, V]."""
    slots = SlotModel(model, rows=1, capacity=len(prompt) + len(tokens))
    if len(prompt) > 1:
        slots.prefill([0], [prompt[:-1]])
    ids = torch.tensor([[prompt[-1], *tokens[:-1]]])
    logits = of_width(slots.step(ids, [len(prompt) - 1])[0], vocabulary)
    scores = sampling.scores(logits)
    if sampling.greedy:
        best = scores.argmax(-1)
        return torch.nn.functional.one_hot(best, scores.shape[-1]).double()
    return scores.double().softmax(-1)


def _given(p: Tensor, q: Tensor, tokens: Sequence[int]) -> list[Position]:
    """Probability that a draft is right at each position, given the token, by coupling."""
    x = torch.tensor(tokens, device=p.device).unsqueeze(-1)
    p_x, q_x = p.gather(-1, x), q.gather(-1, x)
    ratio = (q_x / p_x).clamp(max=1)
    larger = torch.maximum(p / p_x, (q / q_x).nan_to_num(0.0, posinf=torch.inf))
    columns = {
        "given_optimal": ratio,
        "given_gumbel": 1 / (p_x * larger.sum(-1, keepdim=True)),
        "given_minhash": ratio * (1 + (p_x - q_x).abs()) / (1 + total_variation(p, q)[:, None]),
    }
    values = (column.squeeze(-1).nan_to_num(0.0).tolist() for column in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _evenly(n: int, most: int) -> list[int]:
    """At most ``most`` of the places 0 … n − 1.

    >>> _evenly(10, 4), _evenly(2, 4), _evenly(5, 0)
    ([0, 3, 6, 9], [0, 1], [])
    """
    if n <= most:
        return list(range(n))
    return [round(k * (n - 1) / max(1, most - 1)) for k in range(most)]
