r"""Target and drafter measured along the target's own answers, for ``specdecode_coupling``.

Rows with ``coupling_draws`` are answered by the target, x_t = argmax_v [ln p_t(v) + G(k, t, v)]
(Daliri, Musco and Suresh 2024, arXiv 2408.07978), with k of the seed and the prompt. At each token
p_t and the drafter's q_t on the same prefix are compared (``coupling``); draw r = 1 … R has the key
of the prompt's r-th repeat.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from harness import Completion, HarnessError, Place
from harness_specdecode.couplings.agreement import closed_forms, record, sampled_hits
from harness_specdecode.couplings.couplings import gumbel_sample
from harness_specdecode.couplings.noise import request_key
from harness_specdecode.decoding.rounds import Request, of_width
from harness_specdecode.decoding.slots import SlotModel
from harness_specdecode.requests import DRAWS, TRACE

_MEASURED = ("until", "max_gen_toks", "do_sample", "temperature")

log = logging.getLogger(__name__)


def measured(model: Any, requests: Sequence[Any], quiet: bool) -> list[Completion]:
    """Answers of the target, with what was measured at each token.

    Args:
        model: The ``hf-speculative`` model.
        requests: What is asked.
        quiet: Whether to show no progress.

    Raises:
        HarnessError: There is no drafting model, or a request asks for what is not measured.
    """
    if model.drafts.model is None:
        raise HarnessError(
            f"couplings are of a pair of models, and drafter={model.drafts.name} is none: give "
            f"--model_args pretrained=TARGET,drafter=DRAFTER"
        )
    alike: dict[tuple[int, float], list[int]] = {}
    for i, request in enumerate(requests):
        alike.setdefault(_settings(request, model.max_gen_toks), []).append(i)
    answers: dict[int, Completion] = {}
    size = model.decoding.batch_size
    with tqdm(total=len(requests), disable=quiet, desc="Coupling") as bar:
        for (length, temperature), places in alike.items():
            for start in range(0, len(places), size):
                group = places[start : start + size]
                made = _batch(model, [requests[i] for i in group], length, temperature)
                answers |= zip(group, made, strict=True)
                bar.update(len(group))
    return [answers[i] for i in range(len(requests))]


def _batch(
    model: Any, requests: Sequence[Any], length: int, temperature: float
) -> list[Completion]:
    noise = model.noise
    prompts = [_prompt(model, request.args[0], length) for request in requests]
    draws = [int(request.doc[DRAWS]) for request in requests]
    keys = [
        [request_key(noise.seed, prompt, repeat) for repeat in range(1 + count)]
        for prompt, count in zip(prompts, draws, strict=True)
    ]
    records: list[list[dict[str, Any]]] = [[] for _ in requests]
    active = list(range(len(requests)))
    asked = [
        Request(prompt, row[0], length, request.args[0])
        for prompt, row, request in zip(prompts, keys, requests, strict=True)
    ]
    for t, p, q, tokens in _walk(model, asked, temperature):
        for row, closed in zip(active, closed_forms(p[active], q[active]), strict=True):
            hits = sampled_hits(p[row], q[row], noise, keys[row][1:], t)
            at = {"position": t, "token": tokens[row]}
            records[row].append(at | record(closed, hits, draws[row]))
        active = [row for row in active if records[row][-1]["token"] not in model.ends()]
        if not active:
            break
    return [
        Completion(
            model.tok_decode([at["token"] for at in found]),
            {TRACE: {"draws": count, "temperature": temperature, "positions": found}},
        )
        for found, count in zip(records, draws, strict=True)
    ]


def _walk(
    model: Any,
    requests: Sequence[Request],
    temperature: float,
) -> Iterator[tuple[int, Tensor, Tensor, list[int]]]:
    """The target's own answers: at each t, p and q [rows, V] and the tokens chosen [rows]."""
    texts, length = [list(request.prompt) for request in requests], requests[0].limit
    asked, keys = [one.asked for one in requests], [one.key for one in requests]
    capacity = max(map(len, texts)) + length
    pair = [
        SlotModel(one, rows=len(texts), capacity=capacity)
        for one in (model.model, model.drafts.model)
    ]

    def around(k: int, starts: Sequence[int]) -> AbstractContextManager[Any]:
        places = [Place(s, len(r.prompt)) for s, r in zip(starts, requests, strict=True)]
        return nullcontext() if k else model.passes(asked, places)  # the drafter is as it is

    if capacity > 1 + length:
        for k, one in enumerate(pair):
            with around(k, [0] * len(texts)):
                one.prefill(range(len(texts)), [text[:-1] for text in texts])
    for t in range(length):
        ids = torch.tensor([text[-1:] for text in texts])
        starts = [len(text) - 1 for text in texts]
        read = []
        for k, one in enumerate(pair):
            with around(k, starts):
                read.append(one.step(ids, starts)[:, 0].double())
        logits, other = read
        log_p = torch.log_softmax(logits / temperature, dim=-1)
        q = torch.softmax(of_width(other, logits.shape[-1]) / temperature, dim=-1)
        gumbel = model.noise.gumbel(keys, t, log_p.shape[-1])
        tokens: list[int] = gumbel_sample(log_p, gumbel).tolist()
        yield t, log_p.exp(), q, tokens
        for text, token in zip(texts, tokens, strict=True):
            text.append(token)


def _prompt(model: Any, text: str, length: int) -> list[int]:
    """The prompt's tokens; what does not fit both contexts is cut off at its start."""
    ids: list[int] = model.tok_encode(text)
    limit = getattr(model.drafts.model.config, "max_position_embeddings", model.max_length)
    room = min(model.max_length, limit) - length
    if room < 1:
        raise HarnessError(
            f"max_gen_toks={length} leaves no room for a prompt: the contexts of target and "
            f"drafter are {model.max_length} and {limit} tokens"
        )
    if len(ids) > room:
        log.warning("a prompt of %d tokens is cut to its last %d", len(ids), room)
    return ids[-room:] or [model.prefix_token_id]


def _settings(request: Any, default_length: int) -> tuple[int, float]:
    """Length in tokens, and temperature.

    Raises:
        HarnessError: The request asks for what is not measured.
    """
    options = dict(request.args[1])
    others = [name for name in options if name not in _MEASURED]
    if others or options.get("until"):
        raise HarnessError(
            f"couplings are measured on the whole distribution: leave out "
            f"{', '.join(others) or 'until'} in --gen_kwargs"
        )
    temperature = float(options.get("temperature", 1.0))
    if temperature <= 0 or options.get("do_sample") is False:
        raise HarnessError(
            f"temperature={temperature}, do_sample={options.get('do_sample', True)}: couplings are "
            f"of samples; give a temperature above 0"
        )
    return int(options.get("max_gen_toks", default_length)), temperature
