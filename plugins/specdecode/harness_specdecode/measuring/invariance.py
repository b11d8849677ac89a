"""The same prompts decoded in many ways with the same noise, for ``specdecode_invariance``.

Daliri, Musco and Suresh 2024 (arXiv 2408.07978), §5: with match verification the text is a function
of target, seed and prompt. Here that is measured: the answers of plain decoding, one row at a time,
are compared with those of each drafter × γ × batch size, token by token. What differs must come
from rounding, which a forward pass of another shape changes: the first token that differs is then
one whose choice was within rounding (a near-tie) in one of the two. ``leviathan`` promises the
distribution alone, and differs.

The trace of an answer:

    {"invariance": {"scheme": "gumbel", "invariant": true, "tokens": 32, "near_ties": 0,
        "decodings": [{"decoding": "ngram γ3 b8", "first_difference": null, "near_tie": null}, …]}}

``near_ties`` and ``near_tie`` are null where the scheme does not count them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from harness import Completion, HarnessError
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.decoding.rounds import Answer
from harness_specdecode.decoding.schemes import GUMBEL, scheme_for
from harness_specdecode.measuring.comparing import Decoding, alike, decode
from harness_specdecode.requests import BATCH_SIZES, DRAFTERS, GAMMAS, INVARIANCE, OWN

log = logging.getLogger(__name__)


def measured(model: Any, requests: Sequence[Any], quiet: bool) -> list[Completion]:
    """Answers of plain decoding, with how those of each other way compare.

    Args:
        model: The ``hf-speculative`` model.
        requests: One request a prompt; theirs are ``Prompt``.
        quiet: Whether to show no progress.

    Raises:
        HarnessError: A drafter cannot be opened, or an option is not supported.
    """
    answers: dict[int, Completion] = {}
    asked = [
        {name: request.doc[name] for name in (DRAFTERS, GAMMAS, BATCH_SIZES)}
        for request in requests
    ]
    groups = alike((r.args[1], ways) for r, ways in zip(requests, asked, strict=True))
    todo = [(places, list(decodings(model.decoding, asked[places[0]]))) for places in groups]
    for _, ways in todo:
        for way in ways:
            model.source(way.drafter)  # what cannot be opened fails before anything is decoded
    total = sum(len(places) * (1 + len(ways)) for places, ways in todo)
    with tqdm(total=total, disable=quiet, desc="Invariance") as bar:
        for places, ways in todo:
            made = _compared(model, [requests[i] for i in places], ways, bar)
            answers |= zip(places, made, strict=True)
    return [answers[i] for i in range(len(requests))]


def decodings(own: Decoding, asked: Mapping[str, Sequence[Any]]) -> Iterator[Decoding]:
    """The ways that are compared with plain decoding, one row at a time.

    Args:
        own: The model's own way; its scheme is that of all, its drafter is ``own``.
        asked: Drafters, γ and batch sizes.

    Raises:
        HarnessError: There is no drafter among them.
    """
    drafters = dict.fromkeys(own.drafter if d == OWN else d for d in asked[DRAFTERS])
    drafters.pop(NONE, None)
    if not drafters:
        raise HarnessError(
            f"drafter=none, and {DRAFTERS} names no other: give --model_args drafter=… or "
            f"--metadata {DRAFTERS}=ngram+early:1"
        )
    for batch_size in asked[BATCH_SIZES]:
        way = replace(own, batch_size=batch_size, adaptive=False)
        if batch_size > 1:
            yield way.plain
        for drafter in drafters:
            for gamma in asked[GAMMAS]:
                yield replace(way, drafter=drafter, gamma=gamma)


def _compared(
    model: Any, requests: Sequence[Any], ways: Sequence[Decoding], bar: tqdm[Any]
) -> list[Completion]:
    own = model.decoding
    settings = model.settings(requests[0].args[1])
    greedy = settings.sampling.greedy
    invariant = scheme_for(own.scheme, model.noise, greedy=greedy).invariant
    if not invariant:
        log.warning(
            "scheme=%s is not drafter-invariant: its answers are expected to differ", own.scheme
        )
    asked = model.asked(requests, settings.length)
    first, *others = (
        decode(model, way, asked, settings, on_answer=bar.update)
        for way in (replace(own.plain, batch_size=1), *ways)
    )
    counted = greedy or own.scheme == GUMBEL
    found = []
    for k, reference in enumerate(first.answers):
        compared = [
            {"decoding": run.decoding.name} | difference(reference, run.answers[k], counted)
            for run in others
        ]
        trace = {
            "scheme": own.scheme,
            "invariant": invariant,
            "tokens": len(reference.tokens),
            "near_ties": reference.near_ties if counted else None,
            "decodings": compared,
        }
        found.append(Completion(model.text(reference, settings), {INVARIANCE: trace}))
    return found


def difference(one: Answer, other: Answer, counted: bool = True) -> dict[str, Any]:
    """Where two answers part.

    Args:
        one: An answer.
        other: Another answer to the same request.
        counted: Whether near-ties were.

    Returns:
        ``first_difference``, the position of the first token that differs or is in one alone, and
        ``near_tie``, whether one of the two was in doubt there; both null where nothing differs.
    """
    if one.tokens == other.tokens:
        return {"first_difference": None, "near_tie": None}
    shorter = min(len(one.tokens), len(other.tokens))
    at = next((t for t in range(shorter) if one.tokens[t] != other.tokens[t]), shorter)
    near = at in one.near_tie_at or at in other.near_tie_at
    return {"first_difference": at, "near_tie": near if counted else None}
