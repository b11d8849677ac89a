"""``astral_safety``: a suite is put to the model under test, and oracles judge what it answers.

Every input is asked as it stands; any lm-eval model can be the target. Each oracle of the run
(``--metadata '{"judge": …}'``, one or a list; ``harness_astral.oracles.oracles``) judges every
output, as many times as it has votes: its verdict is that of most of its votes, the outcome that of
most oracles. Keys of a run, all under ``--metadata`` (``harness_astral.options``):

- ``astral_data``: the suite (``harness_astral.tasks.rows``).
- ``astral_see_prompt=false``: oracles see the output alone.
- ``astral_max_unknown=0.5``: a larger share of ``unknown`` among the judged outputs, or among those
  to the probes, fails the run; an oracle that leaves more than ``judge_max_unscored=0.5`` without a
  verdict does as well.
- ``astral_refusal=pattern``: whether a benign twin was declined is told by the output's first
  words; by default the oracles say it, of which one at least has to be able to.
- ``astral_labels=FILE.csv``: human labels (``id``, ``label``) of this run's outputs to the probes;
  they calibrate the oracles (``harness_astral.metrics.calibration``).

The tables by factor and the calibration are saved with the task's metadata under ``astral``. A
sample's ``filtered_resps`` holds the whole ``Outcome`` as JSON.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from harness import AssistantSpec, DataError, JudgedTask, JudgeError, Row
from harness.host.lm_eval_seams import BYPASS
from harness.statistics import Noting
from harness_astral import metrics
from harness_astral.metrics.calibration import read_labels
from harness_astral.options import run_options
from harness_astral.oracles import outcomes
from harness_astral.oracles.oracles import KEY, Oracle, oracles_of
from harness_astral.oracles.outcomes import Outcome
from harness_astral.requests import BENIGN, FACTORS, PROBE, UNKNOWN

log = logging.getLogger(__name__)
_OF_TWINS = ("over_refusal", "over_refusal_ci95")
_OF_SEVERAL = ("fleiss_kappa", "krippendorff_alpha")
_OF_LABELS = tuple(
    f"{name}{end}"
    for name in ("sensitivity", "specificity", "corrected_unsafe_rate")
    for end in ("", "_ci95")
)


class SafetyRow(BaseModel):
    """What of an input's fields an output is judged by."""

    model_config = ConfigDict(strict=True)

    id: str
    kind: Literal["probe", "benign"]
    prompt: str
    category: str
    style: str
    persuasion: str


class SafetyTask(JudgedTask):
    """A suite's inputs, answered by the model under test and judged by oracles."""

    judge_keys: ClassVar[frozenset[str]] = frozenset({KEY})
    file_keys: ClassVar[frozenset[str]] = frozenset({"astral_labels"})
    row_kind: ClassVar[Any] = SafetyRow

    def __init__(self, config: dict[str, Any]) -> None:
        self.oracles: list[Oracle] = []
        self.options = run_options(config.get("metadata") or {})
        super().__init__(config)
        if self.judging.strict:
            raise JudgeError("judge_strict is for ratings; a verdict is never made up")
        self._by_pattern = self.options.refusal == "pattern"
        data = self.dataset[self.config.test_split]
        kinds = dict(zip(data["id"], data["kind"], strict=True))
        self._twins = BENIGN in kinds.values()
        if self._twins and self.oracles and not self._by_pattern:
            self._check_refusals()
        place = self.options.labels
        self._labels = read_labels(Path(place), kinds) if place else {}
        if self._labels and not any(kinds[name] == PROBE for name in self._labels):
            raise DataError(f"astral_labels={place}: none of the labels is of a probe")

    def choose_judge(self) -> AssistantSpec | None:
        """Make the oracles; there is no judge of the host's kind beside them."""
        value = self.judging.judge
        if not isinstance(value, (list, tuple, dict)):
            spec = super().choose_judge()
            value = spec if spec is None else spec.model
        if value is not None:
            self.oracles = oracles_of(value, see_prompt=self.options.see_prompt)
        return None

    def judge(self, docs: Sequence[Row], responses: Sequence[str]) -> list[Outcome]:
        """What came of each response.

        Raises:
            JudgeError: An oracle cannot be asked or leaves too much without a verdict, or too many
                outputs are ``unknown``.
        """
        found = [outcomes.blocked(response) for response in responses]
        places = [place for place, one in enumerate(found) if one is None]
        pairs = [(str(docs[place]["prompt"]), str(responses[place])) for place in places]
        given = {
            one.name: one.ask(pairs, see_prompt=self.options.see_prompt) for one in self.oracles
        }
        for number, place in enumerate(places):
            votes = {name: own[number] for name, own in given.items()}
            found[place] = outcomes.judged(
                responses[place], votes, by_pattern=self._by_pattern and bool(votes)
            )
        self.note_judge()
        whole = [one for one in found if one is not None]
        self._check_verdicts([whole[place] for place in places])
        self._check_decided([whole[place] for place in places])
        probed = [whole[place] for place in places if docs[place]["kind"] == PROBE]
        self._check_decided(probed, " to probes")
        return whole

    def process_results(self, doc: Row, results: Sequence[Outcome]) -> dict[str, Any]:
        (one,) = results
        counted: dict[str, Any] = {"n_unscored": one.unscored}
        if not self.oracles:
            return counted
        item = self.item(doc, one)
        return dict.fromkeys(self.aggregation(), item) | counted

    def item(self, doc: Row, outcome: Outcome) -> dict[str, Any]:
        """What the metrics know of one input."""
        item = {name: doc[name] for name in ("id", "kind", *FACTORS)}
        item |= {"outcome": outcome.outcome, "refused": outcome.refused}
        item |= {"verdicts": outcome.verdicts or None}
        human = self._labels.get(doc["id"])
        return item | {"human": human} if human else item

    def build_all_requests(self, **options: Any) -> None:
        """Build the requests; an oracle that cannot be made fails here, before the generation."""
        for oracle in self.oracles:
            oracle.assistant.prepare()
        super().build_all_requests(**options)

    def override_metric(self, metric_name: str) -> None:
        """Under ``--predict_only`` no oracle is asked."""
        if metric_name == BYPASS:
            self.oracles = []
        super().override_metric(metric_name)

    def aggregation(self) -> dict[str, Any]:
        """The YAML's aggregations that this run has something for; one also notes the tables."""
        named = self._known(super().aggregation())
        if "unsafe_rate" in named:
            named["unsafe_rate"] = Noting(named["unsafe_rate"], self._note_tables)
        return named

    def higher_is_better(self) -> dict[str, bool]:
        return self._known(super().higher_is_better())

    def note_judge(self, **more: Any) -> None:
        """Put the oracles into the configuration that lm-eval saves with the results."""
        notes = [oracle.note() | {"see_prompt": self.options.see_prompt} for oracle in self.oracles]
        note: Any = notes if len(notes) > 1 else notes[0] if notes else {"model": "none"}
        self.config.metadata = dict(self.config.metadata or {}) | {"judge": note}

    def _known(self, named: dict[str, Any]) -> dict[str, Any]:
        absent: tuple[str, ...] = () if self._twins else _OF_TWINS
        absent += () if len(self.oracles) > 1 else _OF_SEVERAL
        absent += () if self._labels else _OF_LABELS
        return {name: value for name, value in named.items() if name not in absent}

    def _note_tables(self, items: Sequence[metrics.Item]) -> None:
        probes = metrics.probes(items)
        note: dict[str, Any] = {"all": metrics.summary(probes), "tables": metrics.tables(probes)}
        if self._labels:
            found, corrected = metrics.calibration_of(items), metrics.corrected(items)
            note["calibration"] = asdict(found)
            if corrected.trouble:
                note["calibration"]["trouble"] = corrected.trouble
                log.warning("%s", corrected.trouble)
        self.config.metadata = {**self.config.metadata, "astral": note}

    def _check_refusals(self) -> None:
        if not any(oracle.template.tells_refusals for oracle in self.oracles):
            named = ", ".join(oracle.template.name for oracle in self.oracles)
            raise JudgeError(
                f"the suite has benign twins, and no oracle ({named}) says whether they were "
                "declined: add one that does (judge, wildguard), or "
                "--metadata astral_refusal=pattern"
            )

    def _check_verdicts(self, judged: Sequence[Outcome]) -> None:
        """Refuse a run whose oracles said too little; thresholds are in the message."""
        for oracle in self.oracles:
            missing = sum(one.verdicts[oracle.name] is None for one in judged)
            if missing > self.judging.max_unscored * len(judged):
                raise JudgeError(
                    f"task '{self.config.task}': oracle '{oracle.name}' left {missing} of "
                    f"{len(judged)} outputs without a verdict, more than "
                    f"judge_max_unscored={self.judging.max_unscored}; {oracle.assistant.trouble}. "
                    f"{oracle.assistant.kept} A rerun asks only what is missing"
                )

    def _check_decided(self, judged: Sequence[Outcome], which: str = "") -> None:
        """Refuse a run in which little was decided, of all outputs or of those to the probes."""
        count = Counter(one.outcome for one in judged)[UNKNOWN]
        if count > self.options.max_unknown * len(judged):
            named = ", ".join(oracle.name for oracle in self.oracles)
            raise JudgeError(
                f"task '{self.config.task}': {count} of {len(judged)} outputs{which} came out "
                f"'unknown' ({named}), more than "
                f"astral_max_unknown={self.options.max_unknown}: rates would say little. Choose "
                "another judge, or raise the threshold"
            )
