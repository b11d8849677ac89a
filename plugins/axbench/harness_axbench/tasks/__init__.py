"""AxBench's tasks: steer a model towards a concept or away from it, and detect it in a text.

Rows of the steering tasks say which concept, how strongly (``factor``, in units of max_act), and
which instruction; a steering wrapper reads that from the row. In a run that does not steer, the
rows have no factor and the test instructions only: they are the baseline's.

- ``axbench_steer``: the instruction alone.
- ``axbench_steer_prompt``: a prompt that asks for the concept, then the instruction; never steered.
- ``axbench_suppress``: the same user turn with negated factors. Our reading of the paper's "negated
  factors on an input that asks for the concept": such a text is good if the concept is absent and
  it is still fluent and on task, so its score is the harmonic mean of 2 − concept, relatedness and
  fluency. The factor is chosen as for steering. Without steering it is how far the model resists
  the prompt.

A row of the detection tasks is a text and a concept. ``axbench_detect`` is answered by a generative
model by P(" Yes") against P(" No"), by a steering wrapper by its method's own score;
``axbench_detect_prompt`` by a generative model in words.

Which generations are judged is said by ``judge_scope`` (``tasks.scopes``).

What curves are drawn from is in the samples. Steering: a sample's ``overall_score`` has concept_id,
factor, split and the three ratings (and ``absence``, ``perplexity``, ``baseline``, where there are
any; where not all are judged also ``instruction``, and ``judged`` false of those that are not).
Detection: a sample's ``auroc`` has concept_id, category and score.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

from harness import AssistantSpec, JudgedTask, Judgement, Question, Row, SourcedTask, margin
from harness.judging.judgement import Rounds
from harness.judging.options import ALL, RACE, SCOPES, SCORE
from harness_axbench.assessing import proxy
from harness_axbench.metrics import (
    ABSENCE,
    BASELINE,
    PERPLEXITY,
    absence_score,
    n_unparsed,
    ratings,
)
from harness_axbench.metrics.concept_mean import Item
from harness_axbench.metrics.steering import JUDGED
from harness_axbench.options import run_options
from harness_axbench.tasks import baseline, grids, prompting, scopes

log = logging.getLogger(__name__)


class SteerRow(BaseModel):
    """What of a row's fields a generation is judged by."""

    model_config = ConfigDict(strict=True)

    concept_id: int
    concept: str
    instruction: str
    instruction_index: int | None = None
    factor: FiniteFloat | None
    split: Literal["select", "test"]


class SteerTask(JudgedTask):
    """``axbench_steer``: generations under steering, rated by a judge.

    ``win_rate`` and ``win_rate_ci95`` are computed where ``axbench_baseline`` is in the metadata,
    ``perplexity`` where the responses' traces have it, ``factor`` where the rows have it.
    """

    suppressed: ClassVar[bool] = False
    file_keys: ClassVar[frozenset[str]] = frozenset({baseline.KEY})
    row_kind: ClassVar[Any] = SteerRow
    scopes: ClassVar[frozenset[str]] = frozenset(SCOPES)

    def __init__(self, config: dict[str, Any]) -> None:
        self._baseline: Mapping[int, float | None] = {}
        self._race: Row = {}
        super().__init__(config)
        rows = self.dataset[self.config.test_split]
        self._absent: tuple[str, ...] = () if self._has_factors else ("factor",)
        self._run = run_options(self.config.metadata)
        if self._run.baseline:
            texts = dict(zip(rows["concept_id"], rows["concept"], strict=True))
            self._baseline = baseline.scores(self._run.baseline, texts, suppressed=self.suppressed)
        else:
            self._absent += ("win_rate", "win_rate_ci95")

    @cached_property
    def _has_factors(self) -> bool:
        return any(self.dataset[self.config.test_split]["factor"])

    @property
    def scope(self) -> str:
        """The run's scope; ``all`` where no factor is to be chosen."""
        return super().scope if self._has_factors else ALL

    def rounds(self, docs: Sequence[Row]) -> Rounds:
        """The rounds of the run's scope."""
        if self.scope == ALL:
            yield from super().rounds(docs)
            return
        items: list[Item] = [self.item(doc, self.unjudged("")) for doc in docs]
        race = scopes.Race(docs, items)
        for places in scopes.score_plan(items) if self.scope == SCORE else race.plan():
            judgements = yield places
            for place, judgement in zip(places, judgements, strict=True):
                items[place] = self.item(docs[place], judgement)
        self._race = race.note() if self.scope == RACE else {}

    def judge(self, docs: Sequence[Row], responses: Sequence[str]) -> Sequence[Judgement]:
        """Rate the responses, and say where the best factors are at an end of those tried."""
        found = super().judge(docs, responses)
        concepts: dict[int, list[Item]] = {}
        for doc, judgement in zip(docs, found, strict=True):
            concepts.setdefault(doc["concept_id"], []).append(self.item(doc, judgement))
        if said := grids.beyond(concepts):
            log.warning(
                "%s: %s; others may do better: --metadata axbench_factors=[…] names those to try",
                self.config.task,
                said,
            )
        return found

    def note_calls(self, found: Sequence[Judgement], **more: Any) -> None:
        """Beside the counts, how far the race erred where that was seen."""
        super().note_calls(found, **self._race, **more)

    def note_judge(self, **more: Any) -> None:
        """A race is a part of the judge: its scores are not ranked with others."""
        super().note_judge(**({"scope": RACE} if self.scope == RACE else {}), **more)

    def choose_judge(self) -> AssistantSpec | None:
        """The judge the run asks for; the proxy with what it needs of the run."""
        spec = super().choose_judge()
        if spec is None or spec.model != proxy.PROXY:
            return spec
        metadata = self.config.metadata
        return proxy.completed(spec, metadata, run_options(metadata))

    def questions(self, doc: Row, response: str) -> Mapping[str, Question]:
        return ratings.questions(
            concept=doc["concept"], instruction=doc["instruction"], response=response
        )

    def item(self, doc: Row, judgement: Judgement) -> dict[str, Any]:
        """What the metrics know of one generation."""
        item = {key: doc[key] for key in ("concept_id", "factor", "split")}
        item |= {name: judgement.ratings[name] for name in ratings.NAMES}
        if self.scope != ALL:
            item |= {"instruction": doc.get("instruction_index")}
        if not judgement.judged:
            item |= {JUDGED: False}
        if PERPLEXITY in judgement.trace:
            item[PERPLEXITY] = judgement.trace[PERPLEXITY]
        if self._baseline:
            item[BASELINE] = self._baseline[doc["concept_id"]]
        return item

    def process_results(self, doc: Row, results: Sequence[Judgement]) -> dict[str, Any]:
        item = self.item(doc, results[0])
        names = [name for name in self.aggregation() if name != PERPLEXITY or name in item]
        return dict.fromkeys(names, item)

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations, without those that this run has nothing for."""
        return self._known(super().aggregation())

    def higher_is_better(self) -> dict[str, bool]:
        return self._known(super().higher_is_better())

    def _known(self, named: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in named.items() if name not in self._absent}


class PromptSteerTask(SteerTask):
    """``axbench_steer_prompt``: the writer of the prompts is saved with the results."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        writer = prompting.writer_info(self._run.prompt_writer())
        self.config.metadata = dict(self.config.metadata) | {"writer": writer}


class SuppressTask(PromptSteerTask):
    """``axbench_suppress``: the concept is asked for, and good answers are without it."""

    suppressed = True

    def item(self, doc: Row, judgement: Judgement) -> dict[str, Any]:
        present = judgement.ratings[ratings.CONCEPT]
        absence = None if present is None else self.highest - present
        return super().item(doc, judgement) | {ABSENCE: absence}

    def aggregation(self) -> dict[str, Any]:
        """As for steering, with ``absence_score`` in the place of ``concept_score``."""
        return super().aggregation() | {"absence_score": absence_score}

    def higher_is_better(self) -> dict[str, bool]:
        return super().higher_is_better() | {"absence_score": True}

    def _known(self, named: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in super()._known(named).items() if k != "concept_score"}


class DetectTask(SourcedTask):
    """``axbench_detect``: scores of texts; one log-likelihood each of " No" and " Yes"."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._run = run_options(self.config.metadata)

    def item(self, doc: Row, results: Sequence[Any]) -> dict[str, Any]:
        """What the metrics know of one text: how much more Yes than No."""
        return self._about(doc) | {"score": margin(*results)}

    def process_results(self, doc: Row, results: Sequence[Any]) -> dict[str, Any]:
        return dict.fromkeys(self.aggregation(), self.item(doc, results))

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations; those that a run has to ask for only where it does."""
        return self._known(super().aggregation())

    def higher_is_better(self) -> dict[str, bool]:
        return self._known(super().higher_is_better())

    def _known(self, named: dict[str, Any]) -> dict[str, Any]:
        asked = {"imbalanced": self._run.imbalanced, "f1_without": self._run.f1_without_hard}
        absent = tuple(start for start, wanted in asked.items() if not wanted)
        return {k: v for k, v in named.items() if not k.startswith(absent)}

    def _about(self, doc: Row) -> dict[str, Any]:
        return {key: doc[key] for key in ("concept_id", "category")}


class PromptDetectTask(DetectTask):
    """``axbench_detect_prompt``: the model's own rating; an answer without one counts as −1."""

    def item(self, doc: Row, results: Sequence[str]) -> dict[str, Any]:
        """What the metrics know of one text: the rating in the answer."""
        score = prompting.detection_score(results[0])
        return self._about(doc) | {"score": score, "unparsed": score == prompting.UNPARSED}

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations, and the count of answers without a rating."""
        return super().aggregation() | {"n_unparsed": n_unparsed}

    def higher_is_better(self) -> dict[str, bool]:
        return super().higher_is_better() | {"n_unparsed": False}
