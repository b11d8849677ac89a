"""Runs of ``astral_safety``, read from lm-eval's results and samples.

Without ``show_text`` the texts are dropped here, and only their lengths are kept: prompts, outputs,
the judges' reasons (they quote outputs) and what a provider said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import DataError, HarnessError, Row
from harness.artefacts.reading import loads
from harness.judging import run_files
from harness.leaderboard import read_results
from harness.leaderboard.rows import Run as Provenance
from harness.leaderboard.rows import TaskRun
from harness.reports.values import mapping, text
from harness_astral.requests import LABELS, OUTCOMES, PROBE, SAFE, UNSAFE
from harness_astral.suites.suite import Input, parse_row

TASK = "astral_safety"
HIDDEN = "(not shown)"
_OF_JUDGES = (
    "model", "model_args", "revision", "temperature", "votes", "oracle", "prompt_hash", "see_prompt"
)  # fmt: skip
_FIELDS = tuple(Input.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one input.

    Attributes:
        input: The input; where texts are hidden its prompt is ``HIDDEN``.
        outcome: One of ``OUTCOMES``.
        refused: Whether the model, or its provider, declined; None where nobody says.
        verdicts: By oracle: its label; None where it gave none.
        prompt_length: Characters of the prompt.
        response_length: Characters of the output.
        response: The output; empty where texts are hidden.
        reasons: By oracle: its reasons; empty where texts are hidden.
    """

    input: Input
    outcome: str
    refused: bool | None
    verdicts: Mapping[str, str | None]
    prompt_length: int
    response_length: int
    response: str = ""
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def probe(self) -> bool:
        """Whether it is a probe, and not a benign twin."""
        return self.input.kind == PROBE

    @property
    def unsafe(self) -> bool | None:
        """The verdict; None where there is none."""
        return {UNSAFE: True, SAFE: False}.get(self.outcome)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model's answers to a suite.

    Attributes:
        label: What tells it from the other runs of the report.
        provenance: Which model, and how it was run.
        task: The task as it was run.
        judges: What the results say of the judges.
        note: What the task noted with its metadata: tables, calibration.
        answers: In the order of the suite.
    """

    label: str
    provenance: Provenance
    task: TaskRun
    judges: Sequence[Mapping[str, Any]] = field(repr=False)
    note: Mapping[str, Any] = field(repr=False)
    answers: Sequence[Answer] = field(repr=False)

    @property
    def probes(self) -> list[Answer]:
        """The answers to probes."""
        return [one for one in self.answers if one.probe]

    @property
    def twins(self) -> list[Answer]:
        """The answers to benign twins."""
        return [one for one in self.answers if not one.probe]

    @property
    def sha256(self) -> str:
        """The suite's hash."""
        return self.task.data_sha256


def read_runs(paths: Iterable[Path], *, show_text: bool = False) -> list[Run]:
    """Read the runs of the task below some folders; of repeated runs the newest full one counts.

    Args:
        paths: Results files, or folders that are searched at any depth.
        show_text: Whether texts are kept.

    Raises:
        HarnessError: A path does not exist, or there is no run of the task.
        DataError: Samples were not saved, are damaged or were not judged; or the runs are of
            different suites.
    """
    from tqdm import tqdm

    table = read_results(paths)
    found = {
        (row.run.run_id, row.task.task): (row.run, row.task)
        for row in table.rows
        if row.task.task == TASK and not row.task.group
    }
    if not found:
        tasks = ", ".join(sorted({row.task.task for row in table.rows})[:5])
        raise HarnessError(f"no run of {TASK} among the results; there is {tasks or 'none'}")
    runs = []
    for provenance, task in tqdm(_newest(found.values()), desc="samples", unit="run"):
        runs.append(_run(provenance, task, show_text=show_text))
    check_same_suite(runs)
    return told_apart(runs)


def _newest(found: Iterable[tuple[Provenance, TaskRun]]) -> list[tuple[Provenance, TaskRun]]:
    kept: dict[Any, tuple[Provenance, TaskRun]] = {}
    for run, task in sorted(found, key=lambda pair: (not pair[1].limited, pair[0].date)):
        kept[run.variant, task.data_sha256, task.judge] = (run, task)
    return list(kept.values())


def check_same_suite(runs: Sequence[Run]) -> None:
    """See that all runs answered the same suite.

    Raises:
        DataError: They did not.
    """
    for other in runs[1:]:
        if other.sha256 != runs[0].sha256:
            raise DataError(
                f"{other.provenance.file} is on another suite ({other.sha256[:12] or 'unknown'}) "
                f"than {runs[0].provenance.file} ({runs[0].sha256[:12] or 'unknown'}); one report, "
                "and one comparison, is of one suite"
            )


def check_same_judges(run: Run, base: Run) -> None:
    """See that two runs were judged alike: what differs is to be the models.

    Raises:
        DataError: They were not.
    """
    of_run, of_base = ([_asked(one) for one in each.judges] for each in (run, base))
    if of_run != of_base:
        raise DataError(
            f"--against {base.provenance.file} was judged otherwise than {run.provenance.file} "
            f"({_named(base)}; {_named(run)}): judge one of them again, harness score does it "
            "without the model"
        )


def _asked(judge: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge's verdicts depend on, as far as results say it."""
    return {name: judge.get(name) for name in _OF_JUDGES}


def _named(run: Run) -> str:
    return ", ".join(text(one.get("name") or one.get("model")) for one in run.judges)


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """Labels with as much of method, model, arguments and run as tells them apart."""
    named = [replace(run, label=_short(run.provenance.model)) for run in runs]
    more = (
        lambda run: run.provenance.method,
        lambda run: run.provenance.model_type,
        lambda run: run.provenance.gen_kwargs,
        lambda run: f"run {run.provenance.run_id[:6]}",
    )
    for part in more:
        counts = Counter(run.label for run in named)
        named = [
            replace(run, label=f"{run.label}, {part(run)}")
            if counts[run.label] > 1 and part(run)
            else run
            for run in named
        ]
    return named


def _short(model: str) -> str:
    return re.split("[/:]", model.rstrip("/"))[-1] or model or "model"


def _run(provenance: Provenance, task: TaskRun, *, show_text: bool) -> Run:
    path = Path(provenance.file)
    saved = run_files.read_results(path)
    rows = run_files.read_samples(path, saved, task.task)
    metadata = mapping(mapping(mapping(saved["configs"]).get(task.task)).get("metadata"))
    judges = metadata.get("judge") or []
    judges = [mapping(one) for one in (judges if isinstance(judges, list) else [judges])]
    if all(one.get("model") in (None, "none") for one in judges):
        raise DataError(f"{path} was not judged; `harness score {path} --judge …` does it")
    answers = [
        _answer(row, f"{path}, sample {number} of {task.task}", show_text=show_text)
        for number, row in enumerate(rows, start=1)
    ]
    if len({one.input.id for one in answers}) < len(answers):
        raise DataError(f"{path}: an input is answered twice in the samples of {task.task}")
    return Run(
        label=provenance.model,
        provenance=provenance,
        task=task,
        judges=judges,
        note=mapping(metadata.get("astral")),
        answers=answers,
    )


def _answer(row: Row, place: str, *, show_text: bool) -> Answer:
    doc = mapping(row["doc"])
    one = parse_row({name: _plain(doc[name]) for name in _FIELDS if name in doc}, place)
    found = _outcome(row, place)
    response = text(found.get("text"))
    answer = Answer(
        input=one if show_text else replace(one, prompt=HIDDEN),
        outcome=found["outcome"],
        refused=found.get("refused") if isinstance(found.get("refused"), bool) else None,
        verdicts=_verdicts(found, place),
        prompt_length=len(one.prompt),
        response_length=len(response),
    )
    if not show_text:
        return answer
    reasons = {text(name): _reasons(own) for name, own in mapping(found.get("votes")).items()}
    why = {"why": [text(found["why"])]} if found.get("why") else {}
    return replace(answer, response=response, reasons=reasons | why)


def _plain(value: Any) -> Any:
    """A text without half surrogate pairs, which no file could hold."""
    return text(value) if isinstance(value, str) else value


def _outcome(row: Row, place: str) -> dict[str, Any]:
    """The sample's ``harness_astral.oracles.outcomes.Outcome``, which lm-eval saved as JSON."""
    given = row["filtered_resps"]
    found: Any = given[0] if isinstance(given, list) and given else given
    try:
        found = loads(found) if isinstance(found, str) else found
    except ValueError:
        found = None
    if mapping(found).get("outcome") not in OUTCOMES:
        raise DataError(f"{place} has no outcome; judge the samples with `harness score`")
    return mapping(found)


def _verdicts(found: Mapping[str, Any], place: str) -> dict[str, str | None]:
    given = mapping(found.get("verdicts"))
    if any(label is not None and label not in LABELS for label in given.values()):
        raise DataError(f"{place}: a verdict is none of {', '.join(LABELS)}")
    return {text(name): label for name, label in given.items()}


def _reasons(votes: object) -> list[str]:
    given = votes if isinstance(votes, list) else []
    return [text(mapping(one).get("reason")) for one in given if mapping(one).get("reason")]
