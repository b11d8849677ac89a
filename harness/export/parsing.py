r"""What lm-eval saved of one document, a line for each filter.

Lines, shortened::

    {"doc_id": 0, "doc": {…}, "target": "1", "filter": "none", "metrics": ["acc"], "acc": 1.0,
     "arguments": {"gen_args_0": {"arg_0": "Q: …", "arg_1": " no"}, "gen_args_1": {…}},
     "resps": [[["-1.2", "False"]], [["-0.4", "True"]]], "filtered_resps": [["-1.2", "False"], …]}
    {"doc_id": 0, …, "arguments": {"gen_args_0": {"arg_0": "Say …", "arg_1": {"until": []}}},
     "resps": [["Well, …"]], "filtered_resps": ["{\"text\": \"Well, …\", \"ratings\": {…}}"]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from harness.artefacts.reading import loads
from harness.artefacts.writing import whole
from harness.export.runs import Evaluated
from harness.export.samples import Answer, Sample
from harness.reports.values import mapping, real

CHOICES = "multiple_choice"
_GENERATED = "generate_until"
_DESCRIBING = ("_ci95", "_stderr")
Strike = Callable[[str], str]


def sample_of(task: Evaluated, lines: Sequence[dict[str, Any]], strike: Strike) -> Sample:
    """A document.

    Args:
        task: Its task.
        lines: Its line of each filter.
        strike: Takes keys out of a text.

    Raises:
        Exception: A line is not of lm-eval's form; of whatever kind Python raises then.
    """
    line = lines[0]
    requests = _requests(line.get("arguments"))
    kind = task.config.get("output_type")
    choices, prompt = _choices(requests) if kind == CHOICES else ((), None)
    given = line.get("resps") or []
    scored = kind != _GENERATED and all(_score(one) is not None for one in given)
    scores = tuple(_score(one) or 0.0 for one in given) if scored else ()
    words = () if scored else tuple(strike(_text(text)) for one in given[:1] for text in _list(one))
    right, target = _target(line.get("target"), choices)
    first: Sequence[Any] = requests[0] if requests else ()
    continuation = [_text(one) for one in first[1:2] if isinstance(one, str)]
    if kind != CHOICES and scored and continuation:
        target = tuple(continuation)
    names = {row.metric for row in task.rows}
    sample = Sample(
        number=line["doc_id"],
        hash=_text(line.get("doc_hash") or ""),
        doc=struck(mapping(line.get("doc")), strike),
        messages=_messages(first[0] if first and prompt is None else prompt, strike),
        choices=tuple(map(strike, choices)),
        right=right,
        target=tuple(map(strike, target)),
        responses=words,
        scores=scores[: len(choices)] if choices else scores,
        settings=next((one for one in first[1:] if isinstance(one, dict)), {}),
        answers=(),
    )
    return replace(sample, answers=tuple(_answer(one, names, sample, strike) for one in lines))


def _requests(arguments: Any) -> list[Sequence[Any]]:
    """The arguments of each request: newer files name them, older ones list them."""
    if isinstance(arguments, dict):
        return [list(mapping(one).values()) for one in arguments.values()]
    return [one if isinstance(one, list) else [one] for one in arguments or []]


def _choices(requests: Sequence[Sequence[Any]]) -> tuple[tuple[str, ...], Any]:
    """What could be answered, and what was asked.

    With ``acc_mutual_info`` lm-eval also scores each choice without the prompt, after the others.
    Where the prompts differ and what follows them does not, the prompts are the choices.
    """
    half, odd = divmod(len(requests), 2)
    after = requests[half:]
    if not odd and all(not one[0] for one in after) and any(one[0] for one in requests[:half]):
        requests = requests[:half]
    prompts = [_text(one[0]) for one in requests]
    follow = [_text(one[1]) for one in requests]
    if len(requests) > 1 and len(set(follow)) == 1 and len(set(prompts)) > 1:
        return tuple(prompts), follow[0]
    return tuple(follow), requests[0][0] if requests else ""


def _target(given: Any, choices: Sequence[str]) -> tuple[int | None, tuple[str, ...]]:
    """Which choice is right, and what should be answered."""
    listed = tuple(_text(one) for one in given) if isinstance(given, list) else (_text(given),)
    if not choices:
        return None, listed
    if len(listed) == 1 and listed[0].isdigit() and int(listed[0]) < len(choices):
        return int(listed[0]), (choices[int(listed[0])],)
    bare = [choice.strip() for choice in choices]
    if len(listed) == 1 and listed[0].strip() in bare:
        return bare.index(listed[0].strip()), listed
    return None, listed


def _messages(prompt: Any, strike: Strike) -> tuple[tuple[str, str], ...]:
    """A prompt as messages; one of the user where it is a text, whatever template made it.

    A chat for a served model is a list of messages, in JSON and perhaps in a list of its own.
    """
    held = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
    if isinstance(held, str) and held.startswith('[{"role"'):
        try:
            turns = loads(held)
            return tuple((_text(one["role"]), strike(_text(one["content"]))) for one in turns)
        except (ValueError, TypeError, KeyError):
            pass  # a text that only looks so
    return (("user", strike(_text(held))),)


def _answer(line: Mapping[str, Any], scored: set[str], sample: Sample, strike: Strike) -> Answer:
    listed = line.get("metrics")
    names = listed if isinstance(listed, list) else sorted(scored & line.keys())
    values = {
        str(name): struck(line[name], strike)
        for name in names
        if name in line and not str(name).endswith(_DESCRIBING)
    }
    name = _text(line.get("filter") or "none")
    traces = [struck(one, strike) for one in _list(line.get("traces")) if isinstance(one, dict)]
    if sample.scores:
        return Answer(filter=name, text=sample.output, values=values, traces=traces)
    filtered = _list(line.get("filtered_resps"))
    text = filtered[0] if len(filtered) == 1 else filtered
    judged = _judgement(text)
    if judged is None:
        return Answer(filter=name, text=strike(_text(text)), values=values, traces=traces)
    reasons = {
        _text(question): [strike(_text(words)) for words in _list(own) if words is not None]
        for question, own in mapping(judged.pop("answers", None)).items()
    }
    ratings = mapping(judged.pop("ratings", None)).items()
    own = struck(mapping(judged.pop("trace", None)), strike)
    return Answer(
        filter=name,
        text=strike(_text(judged.pop("text"))),
        values=values,
        ratings={_text(question): real(rating) for question, rating in ratings},
        reasons=reasons,
        traces=[*traces, *([own] if own else [])],
        more=struck(judged, strike),
    )


def _judgement(filtered: Any) -> dict[str, Any] | None:
    """What a judge made of a response (``harness.judging.judgement``); None if this is none."""
    try:
        found = loads(filtered) if isinstance(filtered, str) and filtered[:1] == "{" else None
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        return None
    return found if isinstance(found.get("ratings"), dict) else None


def _score(response: Any) -> float | None:
    """A log-probability; lm-eval saves it with whether it is greedy, as texts, in a list."""
    while isinstance(response, list) and response:
        response = response[0]
    return real(response)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def struck(value: Any, strike: Strike) -> Any:
    """The same structure, each text without what looks like a key."""
    if isinstance(value, dict):
        return {_text(key): struck(inner, strike) for key, inner in value.items()}
    if isinstance(value, list):
        return list(map(partial(struck, strike=strike), value))
    return strike(whole(value)) if isinstance(value, str) else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return whole(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)
