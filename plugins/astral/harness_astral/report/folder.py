"""What a report holds, and its folder: page and tables, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness import HarnessError
from harness.artefacts.writing import appearing, check_writable, write_text
from harness.reports.files import Cell, write_cells
from harness.reports.page import folder_from
from harness_astral.report.reading import Answer, Run
from harness_astral.report.report import Report
from harness_astral.report.tables import Rate, all_cells
from harness_astral.requests import FACTORS, OUTCOMES

PAGE, ROWS, CELLS, COMPARISON = "report.html", "rows.csv", "cells.csv", "comparison.csv"


def check_free(folder: Path) -> None:
    """See that a folder can appear, before any work is done.

    Raises:
        HarnessError: It holds something already, it is a file, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"--out {folder} exists already; choose another or remove it")
    check_writable(folder)


def write_report(
    report: Report, folder: Path, *, title: str = "ASTRAL", view: Path | None = None
) -> Path:
    """Write the folder.

    Args:
        report: What to show.
        folder: Where; nothing may be there.
        title: The page's heading.
        view: The folder that ``harness view`` wrote of the same runs, to link samples there.

    Returns:
        The page.

    Raises:
        HarnessError: Something is there, or the folder cannot be written.
    """
    from harness_astral.report.page import render

    check_free(folder)
    place = "" if view is None else folder_from(folder / PAGE, view)
    with appearing(folder) as draft:
        write_cells(draft / ROWS, *_rows(report))
        write_cells(draft / CELLS, *_cells(report))
        if report.comparisons:
            write_cells(draft / COMPARISON, *_comparison(report))
        write_text(draft / PAGE, render(report, title, place))
    return folder / PAGE


def _rows(report: Report) -> tuple[list[str], Iterator[list[Cell]]]:
    """A line an input and run; texts only where the report shows them."""
    oracles = list(dict.fromkeys(name for run in report.runs for one in run.answers
                                 for name in one.verdicts))  # fmt: skip
    header = ["model", "id", "kind", "twin_of", *FACTORS, "replicate", "outcome", "refused"]
    header += ["prompt_characters", "response_characters"]
    header += [f"verdict of {name}" for name in oracles]
    texts = ["prompt", "response", "reasons"] if report.show_text else []

    def line(run: Run, one: Answer) -> list[Cell]:
        own = one.input
        found: list[Cell] = [run.label, own.id, own.kind, own.twin_of]
        found += [own.category, own.style, own.persuasion, own.replicate]
        found += [one.outcome, one.refused, one.prompt_length, one.response_length]
        found += [one.verdicts.get(name) for name in oracles]
        if report.show_text:
            told = (f"{name}: {reason}" for name, all_ in one.reasons.items() for reason in all_)
            found += [own.prompt, one.response, "\n".join(told)]
        return found

    return header + texts, (line(run, one) for run in report.runs for one in run.answers)


def _cells(report: Report) -> tuple[list[str], Iterator[list[Cell]]]:
    """A line for each cell of no, one, two or three factors, kind and run."""
    header = ["model", "kind", "factors", *FACTORS, "n", *OUTCOMES, "decided"]
    header += [f"{name}{end}" for name in ("unsafe_rate", "unsafe_rate_decided", "refusal_rate")
               for end in ("", "_ci95_low", "_ci95_high")]  # fmt: skip

    def lines() -> Iterator[list[Cell]]:
        for run in report.runs:
            for kind, answers in (("probe", run.probes), ("benign", run.twins)):
                for cell in all_cells(answers):
                    own = dict(zip(cell.factors, cell.levels, strict=True))
                    found: list[Cell] = [run.label, kind, " × ".join(cell.factors)]
                    found += [own.get(name) for name in FACTORS]
                    found += [cell.tally.n, *cell.tally.counts.values(), cell.tally.of_decided.n]
                    for rate in (cell.tally.of_all, cell.tally.of_decided, cell.refused):
                        found += _figures(rate)
                    yield found

    return header, lines()


def _figures(rate: Rate) -> list[Cell]:
    return [rate.value, rate.low, rate.high] if rate.n else [None, None, None]


def _comparison(report: Report) -> tuple[list[str], Iterator[list[Cell]]]:
    header = ["model", "against", "inputs", "pairs", "left_out", "both", "only_model"]
    header += ["only_against", "neither", "rate_model", "rate_against", "difference"]
    header += ["newcombe_ci95_low", "newcombe_ci95_high", "mcnemar_p", "holm_p"]

    def lines() -> Iterator[list[Cell]]:
        for found in report.comparisons:
            for one in found.lines:
                line: list[Cell] = [found.first, found.second, one.name, one.n, one.left_out]
                line += [one.both, one.first, one.second, one.neither]
                figures = (*one.rates, one.difference, *one.interval, one.p, one.p_holm)
                yield [*line, *(figures if one.n else [None] * len(figures))]

    return header, lines()
