"""Assessments on a terminal: one in full, many in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.errors import shown
from harness_factcg.assessing.assessment import Assessment, Part
from harness_factcg.report.records import verdict_of
from harness_factcg.report.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

MOST_ROWS = 50
"""Claims in a table."""

_FOR, _AGAINST = "bold green", "bold red"


def show(console: Console, found: Sequence[Assessment], summary: Summary) -> None:
    """Print assessments: one in full, several in a table with a line of counts."""
    if len(found) == 1:
        for line in full(found[0]):
            console.print(line)
        return
    console.print(table(found[:MOST_ROWS]))
    if len(found) > MOST_ROWS:
        console.print(f"… and {len(found) - MOST_ROWS:,} more; --out FOLDER keeps them all")
    console.print(counts(summary))


def counts(summary: Summary) -> str:
    """How many claims are supported, and how that compares with labels."""
    line = f"{summary.n_supported:,} of {summary.n:,} claims supported"
    if summary.n_truncated:
        line += f", {summary.n_truncated:,} truncated"
    if summary.figures:
        every = summary.figures[0]
        line += f"; {every.right:,} of {every.n:,} as labelled"
        if every.balanced_accuracy.value == every.balanced_accuracy.value:
            line += f", balanced accuracy {every.balanced_accuracy.value:.3f}"
    return line


def full(one: Assessment) -> Iterator[RenderableType]:
    """The verdict, that on each sentence, and the deciding chunk with what it rests on."""
    from rich.text import Text

    yield _verdict(one.supported, one.verdict.score).append(f"  {shown(one.claim.text)}", "bold")
    for part in one.sentences:
        yield (
            Text("  ").append(_verdict(part.supported, part.score)).append(f"  {shown(part.text)}")
        )
    told = []
    for part in one.deciding:
        chunk = _chunk(one, part)
        if chunk.plain not in told:
            told.append(chunk.plain)
            yield Text()
            yield chunk
        yield from _reasons(one, part)
    if one.verdict.truncated:
        yield Text("The document was truncated.", "yellow")


def _verdict(supported: bool, score: float) -> Text:
    from rich.text import Text

    words = Text(verdict_of(supported).capitalize(), _FOR if supported else _AGAINST)
    return words.append(f"  {score:.3f}", "default")


def _chunk(one: Assessment, part: Part) -> Text:
    """The deciding chunk, with the sentences that its verdict rests on in colour."""
    from rich.text import Text

    explanation = part.explanation
    assert explanation is not None, "what decides is located"
    document, found, at = one.claim.document, Text(style="dim"), explanation.start
    if explanation.start > 0:
        found.append("… ")
    for start, end, drop in part.reasons:
        found.append(shown(document[at:start]))
        style = _AGAINST if (drop or 0) < 0 else _FOR
        found.append(shown(document[start:end]), f"not dim {style}")
        at = end
    found.append(shown(document[at : explanation.end]))
    if explanation.end < len(document.rstrip()):
        found.append(" …")
    return found


def _reasons(one: Assessment, part: Part) -> Iterator[Text]:
    """Each sentence of them with its drop, or what there is to say where there is none."""
    from rich.text import Text

    occluded = part.explanation is not None and part.explanation.passages
    of = f" ({shown(part.text)})" if len(one.deciding) > 1 else ""
    if part.reasons:
        words = "rests on" if part.supported else "speaks against it"
        yield Text(f"\n{words}{of}, with what the log-odds lose without it:")
    elif occluded and not part.supported:
        yield Text(f"\nNo sentence speaks against it{of}; none supports all of it.")
    for start, end, drop in part.reasons:
        number = "" if drop is None else f"{drop:+.2f}"
        sentence = " ".join(shown(one.claim.document[start:end]).split())
        yield Text(f"{number:>7}  {sentence}")


def table(found: Sequence[Assessment]) -> Table:
    """A line a claim: verdict, score, claim, and the first sentence it rests on."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "verdict", "score"):
        screen.add_column(name, no_wrap=True)
    for name in ("claim", "rests on"):
        screen.add_column(name, overflow="fold", ratio=1)
    for one in found:
        wrong = one.claim.label is not None and one.supported != (one.claim.label == 1)
        reasons = [
            " ".join(shown(one.claim.document[passage.start : passage.end]).split())
            for part in one.deciding
            for passage in part.reasons
        ]
        verdict = Text(verdict_of(one.supported), _FOR if one.supported else _AGAINST)
        if wrong:
            verdict.append(" (wrong)", "default")
        screen.add_row(
            Text(shown(one.claim.id)),
            verdict,
            f"{one.verdict.score:.3f}",
            Text(shown(one.claim.text)),
            Text(" … ".join(reasons)),
        )
    return screen
