"""What a method wrote beside what the model writes by itself: answers to one instruction.

    harness axbench show RUN… --concepts 3

Of each concept the first test instruction that all runs answered; a steered run's answer is the one
at the factor that its other instructions chose, as in its score: nothing is picked for its beauty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import HarnessError, Row
from harness.judging.run_files import read_results, read_samples
from harness.reports.values import printable, text
from harness_axbench.metrics.steering import TEST, chosen_factor, score
from harness_axbench.report.reading import STEERING, Runs, Section, Series

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


@dataclass(frozen=True)
class Answer:
    """What one run answered.

    Attributes:
        label: The run.
        factor: How strongly it was steered, in units of max_act; None where it was not.
        score: Harmonic mean of the ratings, 0 to 2; NaN where one is missing.
        text: The answer.
    """

    label: str
    factor: float | None
    score: float
    text: str


@dataclass(frozen=True)
class Beside:
    """Answers to one instruction.

    Attributes:
        concept: The concept that the answers are judged by.
        instruction: The instruction.
        answers: One a run, in the runs' order.
    """

    concept: str
    instruction: str
    answers: tuple[Answer, ...]


_NUMBERS = ("Factor", "Score")
_GAPS = 12  # characters between the columns


def beside(runs: Runs, concepts: int) -> list[Beside]:
    """Answers of all steering runs, side by side, to the first concepts.

    Args:
        runs: What ``read_runs`` found.
        concepts: How many concepts of each section, at most.

    Raises:
        HarnessError: There is no run of steering, or its samples cannot be read.
    """
    sections = [section for section in runs.sections if section.family == STEERING]
    if not sections:
        raise HarnessError("no run of axbench_steer is among these: there is no answer to show")
    return [one for section in sections for one in _of(section, concepts)]


def _of(section: Section, concepts: int) -> Iterator[Beside]:
    answers = [_answers(series) for series in section.series]
    for number, concept in list(section.concepts.items())[:concepts]:
        own = [found.get(number, {}) for found in answers]
        shared = [name for name in own[0] if all(name in others for others in own)]
        if shared:
            name = shared[0]
            yield Beside(concept, printable(name), tuple(found[name] for found in own))


def _answers(series: Series) -> dict[int, dict[str, Answer]]:
    """A run's test answers at each concept's factor: by concept, then by instruction."""
    path = Path(series.run.file)
    rows = read_samples(path, read_results(path), series.task)
    items = defaultdict(list)
    for item in series.items:
        items[item["concept_id"]].append(item)
    factors = {number: chosen_factor(own) for number, own in items.items()}
    found: dict[int, dict[str, Answer]] = defaultdict(dict)
    for item, row in zip(series.items, rows, strict=True):
        number, factor = item["concept_id"], item["factor"]
        if item["split"] == TEST and factor == factors[number]:
            answer = Answer(series.label, factor, score(item), printable(_response(row)))
            found[number].setdefault(text(row["doc"].get("instruction")), answer)
    return found


def _response(row: Row) -> str:
    response = row["resps"]
    while isinstance(response, list) and response:
        response = response[0]
    return text(response)


def table(shown: Sequence[Beside], width: int | None = None) -> Table:
    """The answers, for the terminal.

    Args:
        shown: What ``beside`` found.
        width: Of the screen, where each answer is to be a line: what is over is cut, and shown so.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    longest = max((len(answer.label) for one in shown for answer in one.answers), default=0)
    screen.add_column("", min_width=longest)
    for name in _NUMBERS:
        screen.add_column(name, justify="right", min_width=len(name))
    screen.add_column("Answer", overflow="fold")
    room = None if width is None else max(20, width - longest - len("".join(_NUMBERS)) - _GAPS)
    for one in shown:
        asked = Text.assemble((one.concept, "bold"), f": {one.instruction}")
        screen.add_row("", "", "", _cut(asked, room))
        for answer in one.answers:
            factor = "" if answer.factor is None else f"{answer.factor:g}"
            known = f"{answer.score:.2f}" if answer.score == answer.score else "–"
            screen.add_row(Text(answer.label), factor, known, _cut(Text(answer.text), room))
        screen.add_section()
    return screen


def _cut(text: Text, room: int | None) -> Text:
    if room is not None:
        text.truncate(room, overflow="ellipsis")
    return text
