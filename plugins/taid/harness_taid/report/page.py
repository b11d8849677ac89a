"""The report as one HTML page that needs nothing but itself, without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.artefacts.writing import replacing_text
from harness.reports.page import folder_from, report_page
from harness.reports.values import mapping, number, text
from harness_taid.report.fidelity_pictures import fidelity
from harness_taid.report.pictures import pictures
from harness_taid.report.reading import Comparison, Student

_ROOM = "harness_taid.report"


def write_report(
    students: Sequence[Student],
    comparisons: Sequence[Comparison],
    file: Path,
    *,
    title: str,
    view: Path | None = None,
) -> None:
    """Write the page.

    Args:
        students: What ``read_students`` returned.
        comparisons: What ``read_comparisons`` returned.
        file: Where; it appears only when complete.
        title: The page's heading.
        view: The folder that ``harness view`` wrote of the same runs, to link samples there.

    Raises:
        HarnessError: The file cannot be written.
    """
    place = "" if view is None else folder_from(file, view)
    page = render(students, comparisons, title, place)
    with replacing_text(file) as page_file:
        page_file.write(page)


def render(
    students: Sequence[Student], comparisons: Sequence[Comparison], title: str, view: str = ""
) -> str:
    """The page."""
    drawn = [
        (one, fidelity(one, f"fidelity-{k}"))
        for k, one in enumerate(comparisons, start=1)
        if any(run.row.value is not None for run in one.runs)
    ]
    return report_page(
        _ROOM,
        title=text(title),
        view=view,
        students=[_line(one) for one in students],
        n_methods=len({one.label for one in students}),
        teachers=sorted({text(one.made.recipe.get("teacher")) for one in students} - {""}),
        training=pictures(students),
        sections=_sections(drawn),
    )


def _sections(drawn: Sequence[tuple[Comparison, Any]]) -> list[dict[str, Any]]:
    """Pictures by task, data and part of it."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for one, picture in drawn:
        contest = one.contest
        count = {run.row.n for run in one.runs}.pop() if one.limited else ""
        key = (contest.task, contest.data_sha256, contest.split, text(count))
        section = found.setdefault(
            key,
            {
                "task": contest.task,
                "data": contest.data_source,
                "sha256": contest.data_sha256[:12],
                "split": contest.split,
                "rows": text(count),
                "pictures": [],
                "runs": {},
            },
        )
        section["runs"] |= {run.row.run.run_id: text(run.label) for run in one.runs}
        section["pictures"].append(picture)
    return list(found.values())


def _line(one: Student) -> dict[str, str]:
    """A student in the table."""
    facts = one.made.facts
    dev = mapping(facts.get("dev"))
    last = one.steps[-1] if one.steps else {}
    return {
        "label": text(one.label),
        "seed": one.seed,
        "folder": text(one.made.folder.name),
        "student": text(one.made.recipe.get("student")),
        "steps": f"{one.made.steps:,}",
        "chosen": text(facts.get("chosen_step")),
        "dev_loss": _short(dev.get("dev_loss")),
        "dev_kl": _short(dev.get("dev_kl")),
        "dev_rouge_l": _short(dev.get("dev_rouge_l")),
        "t": _short(last.get("t")),
        "won": "" if one.share_won is None else f"{100 * one.share_won:.0f} %",
        "seconds": _short(facts.get("seconds"), 0),
    }


def _short(value: object, places: int = 4) -> str:
    plain = number(value)
    return "" if plain is None else f"{plain:,.{places}f}"
