"""Runs of AxBench's tasks, read from their samples and grouped by what may be compared.

A *series* is one method on one task: the samples of one run. A *section* holds the series of one
family of tasks (detection, steering, suppression) that share the data, by their hash, and the
judge. Of repeated runs the newest full one counts, as on the leaderboard.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import DataError, HarnessError, Row
from harness.artefacts.reading import fitting, loads
from harness.errors import one_line
from harness.judging.run_files import read_results as read_document
from harness.judging.run_files import read_samples
from harness.leaderboard import read_results
from harness.leaderboard.rows import Run, TaskRun
from harness.reports.values import mapping, printable, text
from harness_axbench.metrics.concept_mean import Item
from harness_axbench.metrics.items import Detected, Rated, Suppressed

DETECTION, STEERING, SUPPRESSION = "Detection", "Steering", "Suppression"
FAMILIES = (DETECTION, STEERING, SUPPRESSION)
TASKS = {
    "axbench_detect": DETECTION,
    "axbench_detect_prompt": DETECTION,
    "axbench_steer": STEERING,
    "axbench_steer_prompt": STEERING,
    "axbench_suppress": SUPPRESSION,
}
_ITEM = {DETECTION: "auroc", STEERING: "overall_score", SUPPRESSION: "overall_score"}
_KINDS: dict[str, type] = {DETECTION: Detected, STEERING: Rated, SUPPRESSION: Suppressed}

METHODS = {
    "diffmean": "DiffMean",
    "pca": "PCA",
    "lat": "LAT",
    "probe": "LinearProbe",
    "ssv": "SSV",
    "reft_r1": "ReFT-r1",
    "loreft": "LoReFT",
    "lora": "LoRA",
    "sft": "SFT",
    "sae": "SAE",
    "sae_a": "SAE-A",
    "bow": "BoW",
    "ig": "IG",
    "ixg": "IxG",
    "random": "Random",
    "reps": "RePS",
    "reps_dpo": "RePS (DPO)",
    "reps_ipo": "RePS (IPO)",
    "reps_simpo": "RePS (SimPO)",
}
"""Methods as the paper writes them."""
_STOCK = {
    "axbench_detect": "Yes or No",
    "axbench_detect_prompt": "Prompt",
    "axbench_steer": "Unsteered",
    "axbench_steer_prompt": "Prompt",
    "axbench_suppress": "Prompt alone",
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One method on one task.

    Attributes:
        label: What tells it from the others of its section.
        task: The task's name.
        run: The run.
        task_run: The task as it was run.
        facts: What the model said of itself: layer, intervention, ….
        items: What the metrics know of each sample.
        concepts: Text of each concept, by id.
    """

    label: str
    task: str
    run: Run
    task_run: TaskRun
    facts: Mapping[str, Any] = field(repr=False)
    items: Sequence[Item] = field(repr=False)
    concepts: Mapping[int, str] = field(repr=False)

    @property
    def steered(self) -> bool:
        """Whether a method was at work, rather than a model alone or a prompt."""
        return bool(self.run.method)

    @property
    def limited(self) -> bool:
        """Whether only a part of the data was evaluated."""
        return self.task_run.limited


@dataclass(frozen=True)
class Section:
    """Series that may be compared."""

    family: str
    data_source: str
    data_sha256: str
    judge: str
    series: tuple[Series, ...]

    @property
    def concepts(self) -> dict[int, str]:
        """Text of each concept of its series, by id, in the order of the ids."""
        found = {number: text for one in self.series for number, text in one.concepts.items()}
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Runs:
    """What was found, and what was left out, with the reason."""

    sections: tuple[Section, ...]
    left_out: tuple[str, ...]


def read_runs(paths: Iterable[Path]) -> Runs:
    """Read all AxBench samples below some folders.

    Args:
        paths: Results files, or folders that are searched at any depth.

    Raises:
        HarnessError: A path does not exist, or no run has samples of an AxBench task.
    """
    from tqdm import tqdm

    table = read_results(paths)
    left_out = [f"{skipped.path}: {skipped.reason}" for skipped in table.skipped]
    found = {
        (row.run.run_id, row.task.task): (row.run, row.task)
        for row in table.rows
        if row.task.task in TASKS
    }
    if not found:
        wanted = ", ".join(TASKS)
        raise HarnessError(
            f"no run of an AxBench task in {len(table.runs)} results files; a report is of {wanted}"
        )
    chosen, repeats = _newest(found.values())
    left_out += repeats
    series = []
    for run, task in tqdm(chosen, desc="samples", unit="task", disable=None):
        try:
            series.append(_series(run, task))
        except DataError as cause:
            left_out.append(one_line(cause))
    if not series:
        raise HarnessError(f"no samples of an AxBench task can be read; the first: {left_out[-1]}")
    return Runs(tuple(_sections(series)), tuple(map(printable, left_out)))


def _newest(
    found: Iterable[tuple[Run, TaskRun]],
) -> tuple[list[tuple[Run, TaskRun]], list[str]]:
    """Of runs that repeat each other the newest full one, and a line on each of the others."""
    kept: dict[Any, tuple[Run, TaskRun]] = {}
    repeats = []
    for run, task in sorted(found, key=lambda pair: (not pair[1].limited, pair[0].date)):
        key = (run.variant, task.task, task.data_sha256, task.judge)
        if key in kept:
            repeats.append(f"{kept[key][0].file}: {task.task} was run again, newer or in full")
        kept[key] = (run, task)
    return list(kept.values()), repeats


def _series(run: Run, task: TaskRun) -> Series:
    path = Path(run.file)
    saved = read_document(path)
    rows = read_samples(path, saved, task.task)
    items = [_item(row, number, path, task.task) for number, row in enumerate(rows, start=1)]
    concepts = {
        int(item["concept_id"]): printable(text(row["doc"].get("concept")))
        for item, row in zip(items, rows, strict=True)
    }
    run = replace(
        run,
        model=printable(run.model),
        method=printable(run.method),
        lm_eval_version=printable(run.lm_eval_version),
    )
    facts = mapping(saved.get("config"))
    return Series(
        label=_label(run, task.task, facts),
        task=task.task,
        run=run,
        task_run=task,
        facts=facts,
        items=items,
        concepts=concepts,
    )


def _item(row: Row, number: int, path: Path, task: str) -> Item:
    family = TASKS[task]
    item = row.get(_ITEM[family])
    where = f"{path}: sample {number} of {task}"
    if not isinstance(item, dict) or (
        mapping(row["doc"]).get("concept_id") != item.get("concept_id")
    ):
        raise DataError(f"{where} has nothing to draw; was it judged?")
    fitting(_KINDS[family], item, where)
    return item


def _label(run: Run, task: str, facts: Mapping[str, Any]) -> str:
    if not run.method:
        return _STOCK[task]
    name = METHODS.get(run.method, run.label if "(" in run.method else run.method)
    more = [text(facts.get(key)) for key, usual in (("intervention", "add"), ("positions", "all"))
            if facts.get(key) not in (None, usual)]  # fmt: skip
    if TASKS[task] == DETECTION or not more:
        return name
    return printable(f"{name} ({', '.join(more)})")


def _sections(series: Iterable[Series]) -> list[Section]:
    groups: dict[tuple[int, str, str, str], list[Series]] = {}
    for one in series:
        task = one.task_run
        family = FAMILIES.index(TASKS[one.task])
        judge = task.judge if family else ""
        groups.setdefault((family, task.data_sha256, judge, task.data_source), []).append(one)
    return [
        Section(FAMILIES[family], printable(source), printable(sha256), judge, _told_apart(own))
        for (family, sha256, judge, source), own in sorted(groups.items(), key=lambda pair: pair[0])
    ]


def _told_apart(series: Sequence[Series]) -> tuple[Series, ...]:
    """Labels with as much of model, layer, arguments and run as tells them apart."""
    several = len({short(one.run.model) for one in series}) > 1
    named = list(series)
    if several:
        named = [replace(one, label=f"{one.label}, {short(one.run.model)}") for one in named]
    for more in (_layer, _model, _arguments, _identity):
        counts = Counter(one.label for one in named)
        named = [
            replace(one, label=printable(f"{one.label}, {more(one)}"))
            if counts[one.label] > 1 and more(one)
            else one
            for one in named
        ]
    return tuple(named)


def short(model: str) -> str:
    """The last part of a model's path or name."""
    return re.split("[/:]", model.rstrip("/"))[-1] or model


def _model(one: Series) -> str:
    return one.run.model


def _layer(one: Series) -> str:
    return "" if one.facts.get("layer") is None else f"layer {text(one.facts['layer'])}"


def _arguments(one: Series) -> str:
    given = one.run.gen_kwargs
    try:
        pairs = mapping(loads(given)) if given else {}
    except ValueError:
        return given
    return ", ".join(f"{key} {text(value)}" for key, value in pairs.items())


def _identity(one: Series) -> str:
    return f"run {one.run.run_id[:6]}"
