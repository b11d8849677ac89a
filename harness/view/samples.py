"""What one line of samples says: document, prompt, answers, metrics, judgement, traces.

A line, shortened, as lm-eval writes it::

    {"doc_id": 0, "doc": {…}, "target": "B", "arguments": {"gen_args_0": {"arg_0": "…"}},
     "resps": [["…"]], "filtered_resps": ["…"], "filter": "none", "metrics": ["acc"], "acc": 1.0,
     "doc_hash": "9c…"}

Values come from files of others: what is too large is cut and counted, and what JSON has no word
for (NaN) becomes None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from harness.artefacts.reading import loads
from harness.reports.values import number, real

LONGEST = 50_000
"""Characters of a text that are kept."""
_MOST = 2_000
"""Entries of a list or an object that are kept."""
_DEEPEST = 8
_OPTIONS = 40
_JUDGEMENT = frozenset({"text", "trace", "ratings", "answers"})

Plain: TypeAlias = Any
"""A value of JSON."""


class Cutter:
    """Makes values fit for the page.

    Attributes:
        cut: How many values were too large.
    """

    def __init__(self) -> None:
        self.cut = 0

    def text(self, value: object) -> str:
        """A text; the middle of one that is too long is left out, and it says so."""
        words = value if isinstance(value, str) else str(value)
        if len(words) <= LONGEST:
            return words
        self.cut += 1
        half = LONGEST // 2
        return (
            f"{words[:half]}\n[… {len(words) - LONGEST:,} characters left out …]\n{words[-half:]}"
        )

    def plain(self, value: object, depth: int = 0) -> Plain:
        """A value as JSON has it."""
        if value is None or isinstance(value, (bool, int, float)):
            return value if value is None or isinstance(value, bool) else number(value)
        if isinstance(value, (list, dict)) and depth >= _DEEPEST:
            self.cut += 1
            return "[…]"
        if isinstance(value, list):
            self.cut += len(value) > _MOST
            return [self.plain(one, depth + 1) for one in value[:_MOST]]
        if isinstance(value, dict):
            self.cut += len(value) > _MOST
            kept = list(value.items())[:_MOST]
            return {self.text(key): self.plain(one, depth + 1) for key, one in kept}
        return self.text(value)


@dataclass(slots=True)
class Sample:
    """One document of one run, under one of the task's filters.

    Args:
        number: lm-eval's number of the document.
        digest: The hash of its row.
        row: The row.
        target: What is right, as lm-eval writes it.
        prompt: What the model was given; of several, the first.
        options: Of a task that scores continuations: each with its log-probability.
        answers: What the model wrote.
        filtered: The same behind the task's filters, where that is something else.
        filter: The filter's name.
        metrics: Each metric's value for this document.
        ratings: By question what the judge gave.
        reasons: By question the judge's words, one for each vote.
        judged: Whether there is a judgement.
        traces: What the model's wrapper and the task said about the making of the answer.
    """

    number: int
    digest: str
    row: dict[str, Any]
    target: str
    prompt: str = ""
    options: list[tuple[str, float | None]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    filtered: list[str] = field(default_factory=list)
    filter: str = "none"
    metrics: dict[str, Plain] = field(default_factory=dict)
    ratings: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    judged: bool = False
    traces: list[dict[str, Plain]] = field(default_factory=list)


def read_sample(line: Mapping[str, Any], cutter: Cutter) -> Sample | None:
    """What a line says; None where it is no sample."""
    number, digest = line.get("doc_id"), line.get("doc_hash", "")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(digest, str):
        return None
    row = line.get("doc")
    found = Sample(
        number,
        digest[:80],
        cutter.plain(row) if isinstance(row, dict) else {"doc": cutter.plain(row)},
        cutter.text(line.get("target", "")),
        filter=str(line.get("filter", "none"))[:200],
    )
    names = line.get("metrics")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name in line and not name.endswith("_ci95"):
            found.metrics[name] = cutter.plain(line[name])
    _read_arguments(found, line.get("arguments"), line.get("resps"), cutter)
    _read_filtered(found, line.get("filtered_resps"), cutter)
    given = line.get("traces")
    found.traces += cutter.plain([one for one in _list(given) if isinstance(one, dict)])
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_arguments(found: Sample, given: object, resps: object, cutter: Cutter) -> None:
    """The prompt, and what was written or scored behind it."""
    sets = list(given.values()) if isinstance(given, dict) else _list(given)
    pairs = [_pair(one) for one in sets]
    answers = _list(resps)
    if pairs:
        found.prompt = cutter.text(pairs[0][0] if isinstance(pairs[0][0], str) else _shown(pairs))
    if any(isinstance(second, str) for _, second in pairs):
        cutter.cut += len(pairs) > _OPTIONS
        same = len({first for first, _ in pairs if isinstance(first, str)}) == 1
        for place, (first, second) in enumerate(pairs[:_OPTIONS]):
            words = second if same else f"{first}{second}"
            value = _likelihood(answers[place]) if place < len(answers) else None
            found.options.append((cutter.text(words), value))
        if not same:
            found.prompt = ""
        return
    for one in answers:
        for said in one if isinstance(one, list) else [one]:
            found.answers.append(cutter.text(said if isinstance(said, str) else _shown(said)))


def _pair(one: object) -> tuple[Any, Any]:
    if isinstance(one, dict):
        return one.get("arg_0"), one.get("arg_1")
    listed = _list(one)
    return (listed[0] if listed else one), (listed[1] if len(listed) > 1 else None)


def _likelihood(answer: object) -> float | None:
    """The log-probability in ``[["-1.5", "False"]]``."""
    while isinstance(answer, list) and answer:
        answer = answer[0]
    return real(answer)


def _shown(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _read_filtered(found: Sample, given: object, cutter: Cutter) -> None:
    """Answers behind the filters; a judgement among them is taken apart."""
    for one in _list(given):
        words = one[0] if isinstance(one, list) and one else one
        judgement = _judgement(words)
        if judgement is not None:
            _read_judgement(found, judgement, cutter)
            words = judgement["text"]
        if isinstance(words, str) and not found.options:
            found.filtered.append(cutter.text(words))
    if found.filtered == found.answers or found.options:
        found.filtered = []


def _judgement(words: object) -> dict[str, Any] | None:
    """A judgement as ``harness.judging`` writes it; None for any other answer."""
    if not isinstance(words, str) or not words.startswith('{"text": '):
        return None
    try:
        value = loads(words)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.keys() >= _JUDGEMENT else None


def _read_judgement(found: Sample, value: dict[str, Any], cutter: Cutter) -> None:
    found.judged = value.get("judged") is not False
    if isinstance(value["trace"], dict) and value["trace"]:
        found.traces.append(cutter.plain(value["trace"]))
    if isinstance(value["ratings"], dict):
        for name, rating in value["ratings"].items():
            found.ratings[name[:200]] = None if isinstance(rating, str) else real(rating)
    if isinstance(value["answers"], dict):
        for name, votes in value["answers"].items():
            found.reasons[name[:200]] = [cutter.text(v) for v in _list(votes) if v is not None]
