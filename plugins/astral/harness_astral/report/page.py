"""The report as one HTML page that needs nothing but itself.

It looks like the leaderboard's page. Its content security policy lets no script run and no style
hold but the page's own, and nothing is loaded. What comes from a suite, a model or a judge is
escaped, or stands as JSON in an element that runs nothing and is put on screen as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from harness.reports.page import report_page
from harness.reports.values import mapping, text
from harness_astral.report.facts import calibrations, costs, coverages, judgings
from harness_astral.report.pictures import MOST, by_level
from harness_astral.report.reading import Run
from harness_astral.report.report import Report
from harness_astral.report.tables import Cell, Rate, cells, refused, spaced, tally, worst
from harness_astral.requests import FACTORS, OUTCOMES

_ROOM = "harness_astral.report"
_STEPS = 10
FEW = 5
"""Decided probes below which a cell is drawn paler."""
HEAT_MAPS = (("category", "style"), ("category", "persuasion"))


def percent(value: float) -> str:
    """A share in percent; a dash for none.

    >>> percent(0.125), percent(0.0), percent(float("nan"))
    ('12.5 %', '0.0 %', '–')
    """
    return "–" if isnan(value) else f"{100 * value:.1f} %"


def between(low: float, high: float) -> str:
    """An interval of shares in percent; empty for none."""
    return "" if isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"


def signed(value: float) -> str:
    """A difference in percentage points.

    >>> signed(-0.2857), signed(0.1)
    ('−28.6', '+10.0')
    """
    return "–" if isnan(value) else f"{100 * value:+.1f}".replace("-", "−")


def probability(value: float | None) -> str:
    """A p-value.

    >>> probability(0.0703), probability(0.00001), probability(None)
    ('0.070', '< 0.001', '–')
    """
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


@dataclass(frozen=True)
class HeatMap:
    """Rates of a run for each pair of levels of two factors.

    Attributes:
        columns: Levels of the second factor.
        lines: For each level of the first: its name, a cell or None a column, and all together.
        totals: The second factor's cells alone.
    """

    factors: tuple[str, str]
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Cell | None], Cell | None]]
    totals: Sequence[Cell | None]


def heat_map(run: Run, factors: tuple[str, str], levels: Mapping[str, Sequence[str]]) -> HeatMap:
    """The heat map of a run's probes."""
    down, across = factors
    pairs, rows, columns = (cells(run.probes, own) for own in (factors, (down,), (across,)))
    lines = [
        (level, [pairs.get((level, other)) for other in levels[across]], rows.get((level,)))
        for level in levels[down]
    ]
    totals = [columns.get((other,)) for other in levels[across]]
    return HeatMap(factors, levels[across], lines, totals)


def heat(rate: Rate) -> str:
    """The classes that colour a rate: ``h0`` … ``h10``, ``few``; ``none`` if nothing is decided."""
    if not rate.n:
        return "none"
    return f"h{round(_STEPS * rate.value)}" + (" few" if rate.n < FEW else "")


def told(cell: Cell) -> str:
    """What a cell's title says."""
    rate = cell.tally.of_decided
    counts = ", ".join(f"{spaced(k)} {v}" for k, v in cell.tally.counts.items() if v)
    shown = f"{percent(rate.value)}, 95 % interval {between(*rate.interval)}"
    return f"{cell.name}: {shown if rate.n else 'none decided'}; of {cell.tally.n}: {counts}"


def render(report: Report, title: str, view: str = "") -> str:
    """The page.

    Args:
        report: What to show.
        title: Its heading.
        view: The folder of ``harness view`` as seen from the page; empty for none.
    """
    runs = report.runs
    levels = {factor: _by_rate(runs[0], factor, report.levels[factor]) for factor in FACTORS}
    return report_page(
        _ROOM,
        title=text(title),
        view=view,
        report=report,
        runs=runs,
        tallies=[(run, tally(run.probes), refused(run.twins)) for run in runs],
        benign=any(run.twins for run in runs),
        outcomes=OUTCOMES,
        pictures=[(factor, by_level(runs, factor, levels[factor])) for factor in FACTORS],
        most=MOST,
        few=FEW,
        maps=[(run, [heat_map(run, pair, report.levels) for pair in HEAT_MAPS]) for run in runs],
        worst=[(run, worst(run.probes)) for run in runs],
        coverages=coverages(report),
        judgings=judgings(runs),
        calibrations=calibrations(runs),
        costs=costs(report.manifest),
        generation=mapping(report.manifest.get("outcomes")),
        holes=len(report.manifest.get("holes") or ()),
        sha256=runs[0].sha256,
        percent=percent,
        between=between,
        signed=signed,
        probability=probability,
        heat=heat,
        told=told,
        spaced=spaced,
        data=payload(report),
    )


def _by_rate(run: Run, factor: str, levels: Iterable[str]) -> list[str]:
    """Levels, the most unsafe first."""
    found = {key[0]: cell.tally.of_decided for key, cell in cells(run.probes, (factor,)).items()}
    known = {level: rate.value for level, rate in found.items() if rate.n}
    return sorted(levels, key=lambda level: -known.get(level, -1.0))


def payload(report: Report) -> dict[str, Any]:
    """What the page's script knows: names once, and an input and run as a short array.

    An array holds the places of run, category, style, persuasion and outcome in their lists, the
    id, whether it is a twin, whether it was declined, both lengths and the verdicts; where texts
    are shown also the prompt, the output and the reasons.
    """
    levels = {factor: [text(one) for one in report.levels[factor]] for factor in FACTORS}
    places = {factor: {own: k for k, own in enumerate(report.levels[factor])} for factor in FACTORS}
    rows: list[list[Any]] = []
    for number, run in enumerate(report.runs):
        for one in run.answers:
            row: list[Any] = [number, text(one.input.id), int(not one.probe)]
            row += [places[factor][getattr(one.input, factor)] for factor in FACTORS]
            row += [OUTCOMES.index(one.outcome), one.refused]
            row += [one.prompt_length, one.response_length]
            row.append([[name, label] for name, label in one.verdicts.items()])
            if report.show_text:
                reasons = [[name, text(own)] for name, all_ in one.reasons.items() for own in all_]
                row += [text(one.input.prompt), one.response, reasons]
            rows.append(row)
    return {
        "runs": [text(run.label) for run in report.runs],
        "levels": [levels[factor] for factor in FACTORS],
        "outcomes": [spaced(outcome) for outcome in OUTCOMES],
        "texts": report.show_text,
        "rows": rows,
    }
