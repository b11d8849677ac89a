"""A bench on a terminal: theory beside measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.reports.values import printable
from harness_specdecode.report.table import Line

if TYPE_CHECKING:
    from rich.table import Table

_HEADS = ("γ", "accepted", "a pass", "thm 3.8", "here", "measured", "tok/s")


def tables(lines: Sequence[Line]) -> list[Table]:
    """A table for each batch size and scheme, a line a way to decode.

    Accepted is the share of right ones among the drafts looked at, and ``a pass`` the tokens that a
    pass of the target writes, both as expected / as measured; then speed-ups over plain decoding:
    by theorem 3.8, expected at this machine's prices, and measured with the interval.
    """
    groups = dict.fromkeys((line.batch_size, line.scheme) for line in lines)
    return [_table(size, scheme, lines) for size, scheme in groups]


def _table(size: int, scheme: str, lines: Sequence[Line]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    screen = Table(
        title=f"batch {size}, {scheme}", title_justify="left", box=SIMPLE_HEAD,
        padding=0, pad_edge=False,
    )  # fmt: skip
    screen.add_column("drafter", overflow="fold")
    for name in _HEADS:
        screen.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        if (line.batch_size, line.scheme) == (size, scheme):
            name = "plain" if line.plain else printable(line.drafter)
            screen.add_row(Text(name), *_figures(line))
    return screen


def _figures(line: Line) -> list[str]:
    ends = [
        f"{line.speed_up:.2f}, {line.speed_up_low:.2f}–{line.speed_up_high:.2f}",
        f"{line.tokens_per_second:.0f}",
    ]
    if line.plain:
        return ["", "", "", "", "", *ends]
    return [
        str(line.gamma),
        f"{figure(line.acceptance_expected, 2)}/{figure(line.acceptance, 2)}",
        f"{line.tokens_expected:.2f}/{line.tokens_per_pass:.2f}",
        f"{line.speed_up_theorem:.2f}",
        f"{line.speed_up_expected:.2f}",
        *ends,
    ]


def figure(value: float | None, digits: int = 3) -> str:
    """A number, or a dash for none.

    >>> figure(0.5), figure(None)
    ('0.500', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def best(lines: Sequence[Line]) -> list[str]:
    """The way to decode at each batch size whose interval begins highest, in words."""
    found = []
    for size in dict.fromkeys(line.batch_size for line in lines):
        own = [line for line in lines if line.batch_size == size and not line.plain]
        line = max(own, key=lambda one: (one.speed_up_low, one.speed_up))
        doubt = "" if line.speed_up_low > 1 else ", no faster than plain decoding for certain"
        found.append(
            f"batch {size}: {printable(line.drafter)}, γ {line.gamma}, {line.scheme}, "
            f"{line.speed_up:.2f} × ({line.speed_up_low:.2f} to {line.speed_up_high:.2f}){doubt}"
        )
    return found
