"""The report as one HTML page that needs nothing but itself, and a CSV file a picture beside it.

The page looks like the leaderboard's. It has no script, and its content security policy lets none
run: nothing is loaded, no style but the page's own holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import HarnessError
from harness.artefacts.reading import loads
from harness.artefacts.writing import replacing_text
from harness.reports.files import write_cells
from harness.reports.page import folder_from, report_page
from harness.reports.values import mapping, printable, text
from harness_axbench.report.curves import Standing, standings
from harness_axbench.report.pictures import Picture, headline_of, pictures
from harness_axbench.report.reading import Runs, Section

PAGE = "report.html"
_ROOM = "harness_axbench.report"


@dataclass(frozen=True)
class _Shown:
    """A section as the page shows it."""

    name: str
    section: Section
    headline: str
    judge: str
    parts: tuple[str, ...]
    order: list[Standing]
    pictures: list[Picture]


def write_report(
    runs: Runs, folder: Path, *, title: str = "AxBench", view: Path | None = None
) -> Path:
    """Write the page and the pictures' data.

    Args:
        runs: What ``read_runs`` returned.
        folder: Where; each file appears only when complete.
        title: The page's heading.
        view: The folder that ``harness view`` wrote of the same runs, to link samples there.

    Returns:
        The page.

    Raises:
        HarnessError: Nothing of the runs is scored, or a file cannot be written.
    """
    from tqdm import tqdm

    shown: list[_Shown] = []
    left_out = list(runs.left_out)
    for section in tqdm(runs.sections, desc="pictures", unit="section"):
        order = standings(section)
        compared = {id(one.series) for one in order}
        for one in section.series:
            if id(one) not in compared:
                left_out.append(f"{one.run.file}: nothing of {one.task} ({one.label}) is scored")
        if order:
            shown.append(_shown(section, order, f"{section.family.lower()}-{len(shown) + 1}"))
    if not shown:
        raise HarnessError(f"nothing to draw: {left_out[-1]}")
    for part in shown:
        for picture in part.pictures:
            write_cells(folder / f"{picture.name}.csv", picture.header, picture.rows)
    place = "" if view is None else folder_from(folder / PAGE, view)
    page = _render(shown, left_out, title, place)
    with replacing_text(folder / PAGE) as file:
        file.write(page)
    return folder / PAGE


def _shown(section: Section, order: list[Standing], name: str) -> _Shown:
    return _Shown(
        name=name,
        section=section,
        headline=headline_of(section),
        judge=_judge(section.judge),
        parts=tuple(order[0].parts),
        order=order,
        pictures=pictures(section, order, name),
    )


def _judge(judge: str) -> str:
    """A judge by its model; by all that is known of it, where that cannot be read."""
    try:
        known = mapping(loads(judge)) if judge else {}
    except ValueError:
        return printable(judge)
    named = text(mapping(known.get("model_args")).get("model")) or text(known.get("model"))
    return printable(named or judge)


def _render(shown: list[_Shown], left_out: list[str], title: str, view: str) -> str:
    series = [one for part in shown for one in part.section.series]
    return report_page(
        _ROOM,
        title=title,
        view=view,
        shown=shown,
        left_out=left_out,
        n_runs=len({one.run.run_id for one in series}),
        models=sorted({one.run.model for one in series}),
        versions=sorted({one.run.lm_eval_version for one in series} - {""}),
    )
