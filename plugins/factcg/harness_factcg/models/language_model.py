"""Rows and texts put to a language model: from what a task asks to the answers No and Yes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from harness import HarnessError, Score
from harness_factcg.checking.families import Family
from harness_factcg.checking.planning import LEAST_ROOM, Overlong, Plan, Planner, no_room, windows
from harness_factcg.checking.verdicts import Pair, Verdict, log_sigmoid, score_of
from harness_factcg.models.framing import Frame, Row, Text, framed
from harness_factcg.models.next_word import Encoder, Question, Reader, Reading, Words

log = logging.getLogger(__name__)

_TOGETHER = 4096  # prompts that are put in order together
_ENDING = 16  # characters at a prompt's end, on which the tokens of the next word may depend


class Answers(NamedTuple):
    """What a model says to a row or a text."""

    no: Score
    yes: Score


class _Portion(NamedTuple):
    """A window of pairs in one frame, planned."""

    frame: Frame
    encoder: Encoder
    plan: Plan
    seconds: float  # of planning


class Asker:
    """Puts rows, as a family has them put, and texts to a model.

    Args:
        reader: The model.
        tokenizer: Its (fast) tokenizer.
        family: How rows are put; its ``max_length`` is the most tokens of any prompt.
        overlong: What to do with a chunk that is too long for the model.
        told: What is kept beside every row's verdict.
        add_bos_token: As for ``Encoder``.
    """

    def __init__(
        self,
        reader: Reader,
        tokenizer: Any,
        family: Family,
        *,
        overlong: Overlong,
        told: Mapping[str, Any],
        add_bos_token: bool | None = None,
    ) -> None:
        self.reader = reader
        self.family = family
        self._tokenizer = tokenizer
        self._overlong = overlong
        self._told = dict(told)
        self._add_bos_token = add_bos_token

    def rows(self, rows: Mapping[Row, str], bar: tqdm[None]) -> Iterator[tuple[Row, Answers]]:
        """Judge rows.

        Args:
            rows: Distinct ones, and where each is, for messages.
            bar: Moved on by each prompt.

        Yields:
            log P(not supported) and log P(supported), with the verdict's trace.

        Raises:
            HarnessError: A claim leaves no room for a document.
        """
        started, done, truncated, tokens, cached = time.monotonic(), 0, 0, 0, 0
        for portions in _together(self._planned(rows)):
            questions = [
                Question(ids, portion.encoder.yes, portion.encoder.no)
                for portion in portions
                for ids in portion.plan.ids
            ]
            done += sum(len(portion.plan.asked) for portion in portions)
            bar.total = round((bar.n + len(questions)) * len(rows) / done)
            readings = self.reader.read(questions, bar)
            tokens += sum(reading.prompt_tokens for reading in readings)
            cached += sum(reading.cached_tokens for reading in readings)
            left = iter(readings)
            for portion in portions:
                own = [next(left) for _ in portion.plan.ids]
                for pair, verdict, trace in _verdicts(portion, own):
                    truncated += verdict.truncated
                    yield Row(portion.frame, pair), _answers(verdict.margin, trace | self._told)
        if rows:
            log.info(
                "%d claims in %.1f s, %d truncated; of %d tokens %.0f %% were in the prefix cache",
                len(rows),
                time.monotonic() - started,
                truncated,
                tokens,
                100 * cached / tokens,
            )

    def _planned(self, rows: Mapping[Row, str]) -> Iterator[_Portion]:
        groups: dict[Frame, dict[Pair, str]] = {}
        for row, at in rows.items():
            groups.setdefault(row.frame, {})[row.pair] = at
        for frame, pairs in groups.items():
            family = framed(self.family, frame)
            space = frame.words.yes[: -len(frame.words.yes.lstrip())]
            encoder = Encoder(
                self._tokenizer,
                Words(space + family.yes, space + family.no),
                family.prompt("A document.", "A claim."),
                add_bos_token=self._add_bos_token,
            )
            planner = Planner(
                encoder, family, max_length=family.max_length, overlong=self._overlong
            )
            _check_room(planner, pairs, family.max_length)
            for window in windows(pairs):
                started = time.monotonic()
                plan = planner.plan(window)
                yield _Portion(frame, encoder, plan, time.monotonic() - started)

    def texts(self, texts: Mapping[Text, str], bar: tqdm[None]) -> Iterator[tuple[Text, Answers]]:
        """Ask texts as they stand.

        Args:
            texts: Distinct ones, and where each is, for messages.
            bar: Moved on by each prompt.

        Yields:
            The log-probabilities of the two words.

        Raises:
            HarnessError: A text is empty, or longer than the model's window.
        """
        ordered = sorted(texts)
        bar.total = bar.n + len(ordered)
        encoders: dict[tuple[str, Words], Encoder] = {}
        for start in range(0, len(ordered), _TOGETHER):
            portion = ordered[start : start + _TOGETHER]
            questions = [self._question(text, encoders, texts[text]) for text in portion]
            readings = self.reader.read(questions, bar)
            for text, question, reading in zip(portion, questions, readings, strict=True):
                trace = {"score": score_of(reading.margin), "seconds": reading.seconds}
                trace |= _cost([reading])
                yield (
                    text,
                    Answers(
                        Score(reading.no, reading.likeliest == question.no, trace),
                        Score(reading.yes, reading.likeliest == question.yes, trace),
                    ),
                )

    def _question(
        self, text: Text, encoders: dict[tuple[str, Words], Encoder], at: str
    ) -> Question:
        kind = (text.prompt[-_ENDING:], text.words)
        if kind not in encoders:
            encoders[kind] = Encoder(
                self._tokenizer, text.words, text.prompt, add_bos_token=self._add_bos_token
            )
        encoder = encoders[kind]
        ids = np.array(encoder(text.prompt, verbose=False)["input_ids"], dtype=np.int32)
        if not ids.size:
            raise HarnessError(f"{at}: the prompt is empty")
        if len(ids) > self.family.max_length:
            raise HarnessError(
                f"{at}: the prompt is {len(ids)} tokens long, the model reads "
                f"{self.family.max_length}; give a longer max_model_len"
            )
        return Question(ids, encoder.yes, encoder.no)


def _together(portions: Iterable[_Portion]) -> Iterator[list[_Portion]]:
    """Portions of about ``_TOGETHER`` prompts in all."""
    group: list[_Portion] = []
    for portion in portions:
        group.append(portion)
        if sum(len(member.plan.ids) for member in group) >= _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _verdicts(
    portion: _Portion, readings: Sequence[Reading]
) -> Iterator[tuple[Pair, Verdict, dict[str, Any]]]:
    """The verdict on each pair of a portion, and its trace."""
    plan = portion.plan
    own = np.array([reading.seconds for reading in readings]) + portion.seconds / len(readings)
    for pair, verdict in plan.verdicts([reading.margin for reading in readings], own):
        places = [place for part in plan.asked[pair] for place in part.places]
        yield pair, verdict, verdict.trace() | _cost([readings[place] for place in places])


def _cost(readings: Sequence[Reading]) -> dict[str, int]:
    return {
        "prompt_tokens": sum(reading.prompt_tokens for reading in readings),
        "cached_tokens": sum(reading.cached_tokens for reading in readings),
    }


def _answers(margin: float, trace: Mapping[str, Any]) -> Answers:
    """The answers of a margin (nats), as those of a model that says nothing but Yes or No."""
    return Answers(
        Score(log_sigmoid(-margin), margin < 0, trace),
        Score(log_sigmoid(margin), margin > 0, trace),
    )


def _check_room(planner: Planner, pairs: Mapping[Pair, str], limit: int) -> None:
    claims = {pair.claim: at for pair, at in pairs.items()}
    for room, at in zip(planner.room(list(claims)), claims.values(), strict=True):
        if room < LEAST_ROOM:
            raise HarnessError(no_room(at, limit - room, limit))
