"""The card of a repository of results: a table of headline results, and what the hub reads of it.

A data set's card names its tables, so that the hub shows them. A model's card has a model index
(``huggingface_hub.EvalResult``), so that the hub shows the results beside the model; what was in
the card before stays, but for an earlier table and earlier values of the same metrics.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.export.runs import Evaluations
from harness.leaderboard.rows import Row
from harness.leaderboard.tables import standings
from harness.reports.values import printable

DATASET, MODEL = "dataset", "model"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_TABLES = {"scores": "scores.csv", "leaderboard": "leaderboard.csv"}
_MARKUP = re.compile(r"([\\`*\[\]<>|~$&])")
_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def card_of(found: Evaluations, kind: str, *, before: str = "", name: str = "") -> str:
    """The card, with the hub's metadata at its head.

    Args:
        found: The results.
        kind: Of the repository: ``dataset`` or ``model``.
        before: The card that is there.
        name: ``owner/name`` of the repository; empty for none.

    Raises:
        HarnessError: The card that is there cannot be read, or the results are of several models.
    """
    from huggingface_hub.repocard_data import CardData

    rows = _headlines(found)
    data, text = _parts(before, name)
    if kind == MODEL:
        data |= _index(data, rows, name)
    else:
        data |= {"configs": _configs()}
    data["tags"] = list(dict.fromkeys([*(data.get("tags") or []), "lm-eval", "paperharness"]))
    return f"---\n{CardData(**data).to_yaml()}\n---\n{_body(text, found, rows)}"


def _parts(card: str, name: str) -> tuple[dict[str, Any], str]:
    """A card's metadata, and its text."""
    from huggingface_hub import RepoCard

    if not card.startswith("---"):
        return {}, card
    try:
        read = RepoCard(card, ignore_metadata_errors=False)
    except Exception as cause:  # yaml's, and what huggingface_hub raises of a strange head
        raise HarnessError(
            f"the README.md of {name} cannot be read as a card ({one_line(cause, 200)}): put its "
            "head, between the lines of three dashes, right"
        ) from cause
    data: dict[str, Any] = read.data.to_dict()  # type: ignore[no-untyped-call]
    return data, read.text


def _configs() -> list[dict[str, Any]]:
    first, *_ = _TABLES
    return [
        {"config_name": name, "data_files": file} | ({"default": True} if name == first else {})
        for name, file in _TABLES.items()
    ]


def _headlines(found: Evaluations) -> list[Row]:
    """What counts of each headline metric, groups first, the best first."""
    ranked = standings(row for row in found.table.rows if row.headline and row.value is not None)
    return [entry.row for standing in ranked.values() for entry in standing]


def _index(data: dict[str, Any], rows: list[Row], name: str) -> dict[str, Any]:
    """A model's index: what is there, and these results; those of limited runs stay out."""
    from huggingface_hub.repocard_data import (
        EvalResult,
        eval_results_to_model_index,
        model_index_to_eval_results,
    )

    models = sorted({row.run.model for row in rows})
    if len(models) > 1:
        raise HarnessError(
            f"a model's card is of one model, and these results are of {len(models)} "
            f"({', '.join(map(printable, models[:3]))}): give those of one, or --repo-type dataset"
        )
    ours = [
        EvalResult(
            task_type="text-generation",
            dataset_name=row.task.task,
            dataset_type=_dataset(row),
            dataset_split=row.task.split or None,
            metric_type=row.metric,
            metric_name=_metric(row),
            metric_value=row.value,
        )
        for row in rows
        if not row.task.limited
    ]
    try:
        title, theirs = model_index_to_eval_results(data["model-index"])
    except KeyError:
        title, theirs = name.rpartition("/")[2] or Path(models[0] if models else "model").name, []
    except (TypeError, ValueError, IndexError) as cause:
        raise HarnessError(
            f"the model-index of {name}'s README.md cannot be read ({one_line(cause, 100)}): put "
            "it right, or take it out"
        ) from cause
    known = {_identity(one) for one in ours}
    every = [*(one for one in theirs if _identity(one) not in known), *ours]
    return {"model-index": eval_results_to_model_index(title, every)} if every else {}


def _identity(result: Any) -> tuple[Any, ...]:
    return (
        result.dataset_name,
        result.dataset_type,
        result.dataset_split,
        result.metric_type,
        result.metric_name,
    )


def _dataset(row: Row) -> str:
    """The data set's name on the hub, or the task's."""
    source = row.task.data_source.removeprefix("hub:")
    return source if _HUB.fullmatch(source) else row.task.task


def _metric(row: Row) -> str:
    """A metric's name, with what was done to the model."""
    name = row.metric if row.filter == "none" else f"{row.metric}, {row.filter}"
    return f"{name}, {row.run.label}" if row.run.label else name


def _body(text: str, found: Evaluations, rows: list[Row]) -> str:
    """A card's text with the table in the place of an earlier one, or at its end."""
    table = f"{_BEGIN}\n{_section(found, rows)}\n{_END}"
    before, mark, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if mark and closed:
        return f"{before}{table}{after}"
    head = text.strip() or "# Results"
    return f"\n{head}\n\n{table}\n"


def _section(found: Evaluations, rows: list[Row]) -> str:
    lines = [
        "## Headline results",
        "",
        "| Task | Metric | Model | Method | Value | 95 % interval | Documents |",
        "|---|---|---|---|---:|---:|---:|",
        *(_line(row) for row in rows),
        "",
        "Measured with [lm-eval](https://github.com/EleutherAI/lm-evaluation-harness) and "
        "paperharness. Download this repository, then `harness leaderboard FOLDER` reads all runs.",
    ]
    if any(row.task.limited for row in rows):
        lines += ["", "*limited*: not all documents of the task were used."]
    if found.hidden:
        names = ", ".join(_plain(one) for one in found.hidden)
        lines += ["", f"Samples of {names} are not in this repository."]
    return "\n".join(lines)


def _line(row: Row) -> str:
    low, high = row.ci95_low, row.ci95_high
    interval = "" if low is None or high is None else f"{low:.3g} to {high:.3g}"
    arrow = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
    metric = row.metric if row.filter == "none" else f"{row.metric}, {row.filter}"
    model = Path(row.run.model).name if row.run.model.startswith("/") else row.run.model
    count = "" if row.n is None else f"{row.n:,}"
    cells = (row.task.task, metric, model, row.run.label)
    value = "" if row.value is None else f"{row.value:.4g}"
    task, named, shown, method = map(_plain, cells)
    mark = " *limited*" if row.task.limited else ""
    return (
        f"| {task} | {named}{arrow} | {shown} | {method} | {value} | {interval} | {count}{mark} |"
    )


def _plain(text: str) -> str:
    """A stranger's name as Markdown that shows it as it is, on one line."""
    return _MARKUP.sub(r"\\\1", printable(text))
