"""A judged task: questions about each response, put to a judge model, parsed to ratings.

A YAML names a plugin's subclass of ``JudgedTask`` by ``class: !function package.tasks.MyTask``; the
subclass says what to ask (``questions``) and what the ratings mean (``process_results``). Judging
happens between generation and metrics, for all responses of the task in one batch, or in several
where it depends on the ratings so far which responses need one (``rounds``):

    response ─ questions() ─▶ prompts × votes ─ judge ─▶ answers ─ parse() ─▶ ratings ─▶ Judgement

Run-level keys, all under ``--metadata``:

- ``judge``: any lm-eval model, ``{"model": "local-chat-completions", "model_args": {…}}``, or a
  bare model name; ``none`` generates without judging (``harness score`` judges later). On testbed
  data the testbed's own judge is the default; elsewhere a missing judge is an error before anything
  is generated.
- ``judge_strict=reference``: an answer without a valid rating counts as ``lowest`` and is not asked
  again. By default it is asked again and stays *unscored* if it never becomes valid: left out of
  the mean, counted (``n_unscored``) and bounded (``worst_mean``, ``best_mean``). A judge that did
  not answer at all is unscored under both rules: a missing answer is no verdict.
- ``judge_max_unscored=0.5``: a task with a larger share of unscored responses fails. The share is
  of the responses that the judge was asked about.
- ``judge_scope=all``: which responses are judged, for tasks that can do with less (``scopes``).

What a failing run keeps: every accepted answer is on disk, so that asking again asks only what is
missing. lm-eval writes responses only when the whole run has ended; when judging fails or is
interrupted, they are saved in the cache folder under ``unscored/<task>`` and the error says how to
judge them with ``harness score``, without the model. That file knows the model's arguments but not
lm-eval's name of it, and holds this task alone (of several processes, each saves its share): where
responses are expensive, run with ``judge=none --log_samples`` and judge afterwards.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from harness.asking.assistant import Assistant, Question
from harness.asking.spec import AssistantSpec
from harness.data.sourced_task import SourcedTask
from harness.data.sources import Row
from harness.errors import JudgeError
from harness.host.lm_eval_seams import BYPASS, append_filter
from harness.judging.judge_filter import JudgeFilter
from harness.judging.judgement import Judgement, Rounds
from harness.judging.options import ALL, SILENT, judge_options
from harness.judging.ratings import (
    BoundedMean,
    best_mean,
    bounded_mean,
    count_unscored,
    filled_mean,
    parse_rating,
    reference_rating,
    scored_mean,
    worst_mean,
)
from harness.models.responses import trace_of

log = logging.getLogger(__name__)

__all__ = [
    "BoundedMean",
    "JudgeFilter",
    "JudgedTask",
    "Judgement",
    "Question",
    "Rounds",
    "best_mean",
    "bounded_mean",
    "count_unscored",
    "filled_mean",
    "parse_rating",
    "scored_mean",
    "worst_mean",
]


class JudgedTask(SourcedTask):
    """A generation task whose responses are rated by a judge model.

    A subclass defines ``questions`` and ``process_results(doc, [judgement])``; the latter emits
    ``n_unscored: judgement.unscored`` beside its metrics, and None for what cannot be computed from
    missing ratings. ``scored_mean``, ``worst_mean`` and ``best_mean`` average such values.

    One that has several judges overrides ``choose_judge``, ``judge``, ``note_judge`` and
    ``build_all_requests``; a run's ``judge`` may then be a list.

    Attributes:
        judge_keys: Keys of a run's ``judge`` that are the task's own.
        file_keys: Keys of a run's metadata that name files of the user's.
        row_kind: What a row is, as pydantic checks it: saved samples that come from elsewhere are
            held against it before they are judged.
        scopes: The values of ``judge_scope`` that mean something to the task.
        judging: The run's options of judging.
    """

    judge_keys: ClassVar[frozenset[str]] = frozenset()
    file_keys: ClassVar[frozenset[str]] = frozenset()
    row_kind: ClassVar[Any] = dict
    scopes: ClassVar[frozenset[str]] = frozenset({ALL})
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = 2.0

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.judging = judge_options(self.config.metadata or {})
        spec = self.choose_judge()
        self.assistant = Assistant(spec) if spec else None
        append_filter(self, partial(JudgeFilter, self))
        if self.judging.scope not in self.scopes:
            log.warning(
                "task '%s' has all of its responses judged: judge_scope=%s is for other tasks",
                *(self.config.task, self.judging.scope),
            )
        self.note_judge()

    def questions(self, doc: Row, response: str) -> Mapping[str, Question]:
        """What to ask about a response, by rating name; a subclass must say."""
        raise NotImplementedError(f"{type(self).__name__} must define questions(doc, response)")

    def wording(self) -> Mapping[str, Question]:
        """The questions about a stand-in row, whose hash tells judges' prompts apart.

        In it every field is its own name in brackets; override this where ``questions`` computes
        with fields.
        """
        return self.questions(_StandIn(), _StandIn()["response"])

    def parse(self, answer: str) -> float | None:
        """The rating in a judge's answer; None where there is none within the bounds."""
        read = reference_rating if self.judging.strict else parse_rating
        return read(answer, self.lowest, self.highest)

    @property
    def scope(self) -> str:
        """Which responses are judged: the run's ``judge_scope``, or ``all`` if the task has one."""
        return self.judging.scope if self.judging.scope in self.scopes else ALL

    def rounds(self, docs: Sequence[Row]) -> Rounds:
        """Which responses to judge, one round after the other; by default all of them in one.

        A generator that yields places in ``docs`` and is sent the judgements of the responses
        there; what it has not yielded when it ends stays unjudged.
        """
        yield range(len(docs))

    def judge(self, docs: Sequence[Row], responses: Sequence[str]) -> Sequence[Judgement]:
        """Rate the responses of the task, each round in one batch.

        Raises:
            JudgeError: The judge is misconfigured, or left more than ``judge_max_unscored``.
        """
        if self.assistant is None:
            return self._judged(docs, responses)
        found = [self.unjudged(response) for response in responses]
        plan = self.rounds(docs)
        places = next(plan, None)
        while places is not None:
            batch = [(docs[place], responses[place]) for place in places]
            judgements = self._judged(*zip(*batch, strict=True)) if batch else []
            for place, judgement in zip(places, judgements, strict=True):
                found[place] = judgement
            try:
                places = plan.send(judgements)
            except StopIteration:
                places = None
        self.note_judge(prompt_hash=prompt_hash(self.wording()))
        self.note_calls(found)
        self._check(sum(one.unscored for one in found), sum(one.judged for one in found))
        return found

    def unjudged(self, response: str) -> Judgement:
        """What is known of a response that the judge is not asked about."""
        ratings: dict[str, float | None] = dict.fromkeys(self.wording())
        return Judgement(str(response), trace_of(response), ratings, {}, judged=False)

    def build_all_requests(self, **options: Any) -> None:
        """Build the requests; a judge that cannot be made fails here, before the generation.

        Raises:
            JudgeError: There is no such judge; or it depends on ratings what is judged, and each of
                several processes would know its own only.
        """
        if self.assistant is not None:
            if self.scope != ALL and int(options.get("world_size", 1)) > 1:
                raise JudgeError(
                    f"task '{self.config.task}': judge_scope={self.scope} needs all responses in "
                    "one process; run several with judge=none --log_samples, then judge with "
                    f"harness score RESULTS --scope {self.scope}"
                )
            self.assistant.prepare()
        super().build_all_requests(**options)

    def override_metric(self, metric_name: str) -> None:
        """Under ``--predict_only`` nothing is asked: every response is unscored."""
        super().override_metric(metric_name)
        if metric_name == BYPASS:
            self._aggregation_list["n_unscored"] = count_unscored
            self._higher_is_better["n_unscored"] = False
            self.assistant = None
            self.note_judge()

    def predicted(self, doc: Row, results: Sequence[Judgement]) -> dict[str, Any]:
        """Nothing, and that the response is unscored."""
        return super().predicted(doc, results) | {"n_unscored": results[0].unscored}

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations, and the count of responses without a rating."""
        return {"n_unscored": count_unscored, **super().aggregation()}

    def higher_is_better(self) -> dict[str, bool]:
        return {"n_unscored": False, **super().higher_is_better()}

    def _judged(self, docs: Sequence[Row], responses: Sequence[str]) -> list[Judgement]:
        """Rate some responses in one batch."""
        named = [self.questions(*pair) for pair in zip(docs, responses, strict=True)]
        answers = self._ask([q for questions in named for q in questions.values()])
        judgements = []
        for response, questions in zip(responses, named, strict=True):
            votes = {name: next(answers) for name in questions}
            ratings = {name: self._rating(given) for name, given in votes.items()}
            judgements.append(Judgement(str(response), trace_of(response), ratings, votes))
        return judgements

    def note_calls(self, found: Sequence[Judgement], **more: Any) -> None:
        """Put into the configuration that is saved how much of the responses was judged."""
        note = {
            "scope": self.scope,
            "responses": len(found),
            "judged": sum(one.judged for one in found),
            "questions": sum(len(votes) for one in found for votes in one.answers.values()),
        }
        self.config.metadata = dict(self.config.metadata) | {"judging": note | more}

    def _ask(self, questions: list[Question]) -> Iterator[list[str | None]]:
        """The votes on each question, in order."""
        if self.assistant is None:
            return iter([list[str | None]() for _ in questions])
        votes = self.assistant.spec.votes
        asked = [replace(q, vote=vote) for q in questions for vote in range(votes)]
        answers = self.assistant.ask(asked, self._accepts)
        return iter([answers[i : i + votes] for i in range(0, len(answers), votes)])

    def _accepts(self, answer: str) -> bool:
        return self.judging.strict or self.parse(answer) is not None

    def _rating(self, votes: Sequence[str | None]) -> float | None:
        """The median of the valid votes."""
        parsed = [self.parse(vote) for vote in votes if vote is not None]
        if self.judging.strict:
            parsed = [self.lowest if rating is None else rating for rating in parsed]
        valid = [rating for rating in parsed if rating is not None]
        return statistics.median(valid) if valid else None

    def _check(self, unscored: int, total: int) -> None:
        if self.assistant is None or unscored <= self.judging.max_unscored * total:
            return
        raise JudgeError(
            f"task '{self.config.task}': judge '{self.assistant.spec.model}' left {unscored} of "
            f"{total} responses unscored, more than judge_max_unscored="
            f"{self.judging.max_unscored}; "
            f"{self.assistant.trouble}. {self.assistant.kept} Try again when the judge is well: "
            "only what is missing is asked. To accept the gap, raise judge_max_unscored"
        )

    def choose_judge(self) -> AssistantSpec | None:
        """The judge the run asks for; None for ``judge=none``.

        Raises:
            JudgeError: It is missing or misconfigured.
        """
        value = self.judging.judge
        if value is not SILENT:
            return None if value in (None, "none") else AssistantSpec.parse(value)
        if self.config.metadata.get("data_source") == "testbed":
            return AssistantSpec(model="testbed-judge")
        raise JudgeError(
            f"task '{self.config.task}' needs a judge: --metadata "
            '\'{"judge": {"model": "local-chat-completions", "model_args": {…}}}\' (any lm-eval '
            "model), or judge=none to generate now and judge the saved samples later with "
            "`harness score RESULTS --judge …`"
        )

    def note_judge(self, **more: Any) -> None:
        """Put the judge into the configuration that lm-eval saves with the results.

        ``prompt_hash`` is of the questions about a stand-in row and response: it changes with
        their wording only.
        """
        note: dict[str, Any] = {"model": "none"}
        if self.assistant is not None:
            note = self.assistant.info() | {"strict": self.judging.strict} | more
        self.config.metadata = dict(self.config.metadata or {}) | {"judge": note}


class _StandIn(dict[str, Any]):
    """A row that has every field: its own name in brackets."""

    def __missing__(self, field: str) -> str:
        return f"({field})"


def prompt_hash(questions: Mapping[str, Question]) -> str:
    """A content hash of the prompts asked about one response."""
    text = json.dumps({name: q.prompt for name, q in questions.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
