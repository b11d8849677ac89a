r"""One document of a task as lm-eval saved it, with what every metric and judge said of it.

lm-eval writes a line for each document and filter, all lines of one filter before those of the
next; here they are brought together, one document at a time, however large the file. Lines,
shortened::

    {"doc_id": 0, "doc": {…}, "target": "1", "filter": "none", "metrics": ["acc"], "acc": 1.0,
     "arguments": {"gen_args_0": {"arg_0": "Q: …", "arg_1": " no"}, "gen_args_1": {…}},
     "resps": [[["-1.2", "False"]], [["-0.4", "True"]]], "filtered_resps": [["-1.2", "False"], …]}
    {"doc_id": 0, …, "arguments": {"gen_args_0": {"arg_0": "Say …", "arg_1": {"until": []}}},
     "resps": [["Well, …"]], "filtered_resps": ["{\"text\": \"Well, …\", \"ratings\": {…}}"]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from harness.artefacts.reading import loads
from harness.artefacts.writing import whole
from harness.data.lines import numbered
from harness.errors import DataError
from harness.export.runs import NOT_SHOWN, Evaluated
from harness.reports.values import mapping, number, real
from harness.secrets import data_striker

CHOICES = "multiple_choice"
GENERATED = "generate_until"
_DESCRIBING = ("_ci95", "_stderr")
_NAME = re.compile(r"[\w.,:+-]{1,80}")
Strike = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one filter made of the responses, and how it was scored.

    Attributes:
        filter: lm-eval's filter.
        text: What was scored, as text.
        values: By metric: the document's value.
        ratings: By question of a judge: its rating; None where it gave none.
        reasons: By question: the judge's words.
        trace: What the model said of the making of its answer.
        more: What else the judge noted.
    """

    filter: str
    text: str
    values: Mapping[str, Any]
    ratings: Mapping[str, float | None] = field(default_factory=dict)
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    trace: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A document, what was asked, and what was answered.

    Attributes:
        number: lm-eval's number of the document.
        hash: Of its row.
        doc: Its row.
        messages: What was asked: pairs of role and words.
        choices: What could be answered, where that was given.
        right: Which choice is right; None where that is unknown.
        target: What should be answered; several where several are right.
        responses: The model's words, unfiltered.
        scores: Of each choice, or of the text scored: its log-probability (nats).
        settings: How the answer was generated.
        answers: One for each filter.
    """

    number: int
    hash: str
    doc: Mapping[str, Any]
    messages: Sequence[tuple[str, str]]
    choices: Sequence[str]
    right: int | None
    target: Sequence[str]
    responses: Sequence[str]
    scores: Sequence[float]
    settings: Mapping[str, Any]
    answers: Sequence[Answer]

    @property
    def prompt(self) -> str:
        """What was asked, as one text."""
        if len(self.messages) == 1:
            return self.messages[0][1]
        return "\n\n".join(f"{role}: {words}" for role, words in self.messages)

    @property
    def chosen(self) -> int | None:
        """The most probable choice; None where there are none."""
        if not self.choices or len(self.scores) != len(self.choices):
            return None
        return max(range(len(self.scores)), key=self.scores.__getitem__)

    @property
    def output(self) -> str:
        """The model's answer: its words, or the choice that it finds most probable."""
        if self.chosen is not None:
            return self.choices[self.chosen]
        return self.responses[0] if self.responses else ""

    @property
    def correct(self) -> bool | None:
        """Whether the most probable choice is the right one; None where this is no choice."""
        return None if self.chosen is None or self.right is None else self.chosen == self.right


def samples_of(task: Evaluated) -> Iterator[Sample]:
    """The documents of a task, in the order of its samples.

    Texts of a sensitive task are replaced, and its rows and judges' words dropped; what looks like
    a key is struck from all texts.

    Raises:
        DataError: The samples are damaged, incomplete or not of one kind; the message says where.
    """
    if task.samples is None:
        return
    filters = _filters(task)
    strike = data_striker()
    of_filters = [_of_filter(task, name) for name in filters]
    for lines in zip(*of_filters, strict=True):
        numbers = {line["doc_id"] for _, line in lines}
        if len(numbers) > 1:
            places = ", ".join(str(place) for place, _ in lines)
            raise DataError(f"{task.samples}: lines {places} are of different documents")
        try:
            made = _sample(task, [line for _, line in lines], strike)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as cause:
            where = f"{task.samples}, line {lines[0][0]}"
            raise DataError(f"{where} is no sample of lm-eval ({type(cause).__name__})") from cause
        yield _hidden(made) if task.hidden else made


def _filters(task: Evaluated) -> list[str]:
    """The filters of a task's samples; each has every document once."""
    assert task.samples is not None
    seen: dict[str, set[int]] = {}
    for place, line in numbered(task.samples):
        document, name = line.get("doc_id"), line.get("filter") or "none"
        where = f"{task.samples}, line {place}"
        if not isinstance(document, int) or isinstance(document, bool):
            raise DataError(f"{where}: doc_id is no whole number")
        if not isinstance(name, str):
            raise DataError(f"{where}: filter is no name")
        known = seen.setdefault(name, set())
        if document in known:
            raise DataError(f"{where}: document {document} is there twice")
        known.add(document)
    count = max(map(len, seen.values()), default=0) if task.documents is None else task.documents
    for known in seen.values():
        if len(known) != count:
            raise DataError(
                f"{task.samples} holds {len(known)} of {count} samples; it is cut or damaged"
            )
    return list(seen)


def _of_filter(task: Evaluated, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    assert task.samples is not None
    for place, line in numbered(task.samples):
        if (line.get("filter") or "none") == name:
            yield place, line


def _sample(task: Evaluated, lines: Sequence[dict[str, Any]], strike: Strike) -> Sample:
    line = lines[0]
    requests = _requests(line.get("arguments"))
    kind = task.config.get("output_type")
    choices, prompt = _choices(requests) if kind == CHOICES else ((), None)
    given = line.get("resps") or []
    scored = kind != GENERATED and all(_score(one) is not None for one in given)
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
    if sample.scores:
        return Answer(filter=name, text=sample.output, values=values)
    filtered = _list(line.get("filtered_resps"))
    text = filtered[0] if len(filtered) == 1 else filtered
    judged = _judgement(text)
    if judged is None:
        return Answer(filter=name, text=strike(_text(text)), values=values)
    reasons = {
        _text(question): [strike(_text(words)) for words in _list(own) if words is not None]
        for question, own in mapping(judged.pop("answers", None)).items()
    }
    ratings = mapping(judged.pop("ratings", None)).items()
    return Answer(
        filter=name,
        text=strike(_text(judged.pop("text"))),
        values=values,
        ratings={_text(question): real(rating) for question, rating in ratings},
        reasons=reasons,
        trace=struck(mapping(judged.pop("trace", None)), strike),
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


def _hidden(sample: Sample) -> Sample:
    answers = [
        Answer(
            filter=one.filter,
            text=NOT_SHOWN,
            values={name: _bare(value) for name, value in one.values.items()},
            ratings=one.ratings,
        )
        for one in sample.answers
    ]
    return replace(
        sample,
        doc={},
        messages=tuple((role, NOT_SHOWN) for role, _ in sample.messages),
        choices=(),
        scores=(),
        right=None,
        target=(NOT_SHOWN,),
        responses=tuple(NOT_SHOWN for _ in sample.responses),
        answers=answers,
    )


def _bare(value: Any) -> Any:
    """A value without texts; numbers and single names (a verdict, a category) stay."""
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items()}
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) else NOT_SHOWN
    return number(value)


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
