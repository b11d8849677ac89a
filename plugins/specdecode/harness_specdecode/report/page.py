"""The report as one HTML page that needs nothing but itself.

It looks like the leaderboard's. It has no script, and its content security policy lets none run:
nothing is loaded, no style but the page's own holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reports.page import report_page
from harness.reports.values import text
from harness_specdecode.report.pictures import agreement, colours, speed_ups, tokens
from harness_specdecode.report.table import Line, Result
from harness_specdecode.report.terminal import best, figure

_ROOM = "harness_specdecode.report"


@dataclass(frozen=True)
class Price:
    """A line of the prices: at each batch size, milliseconds or passes of the target."""

    what: str
    values: tuple[str, ...]


def render(recipe: Mapping[str, Any], result: Result) -> str:
    """The page.

    Args:
        recipe: What the bench follows from.
        result: What it found.
    """
    lines = result.lines
    colour = colours(lines)
    drawn = [speed_ups(lines, colour), tokens(lines, colour)]
    if result.along:
        draws = 0 if recipe["temperature"] == 0 else recipe["draws"]
        drawn.append(agreement(result.along, draws, colour))
    return report_page(
        _ROOM,
        title="Speculative decoding",
        recipe=recipe,
        target=text(recipe["target"]),
        machine=result.facts["machine"],
        parameters=result.facts["parameters"],
        chat=result.facts["chat_template"],
        n_ways=sum(not line.plain for line in lines),
        best=best(lines),
        pictures=drawn,
        sizes=[(size, [x for x in lines if x.batch_size == size]) for size in _sizes(lines)],
        prices=prices(result.facts["prices"]),
        shapes=result.facts["prices"],
        figure=figure,
    )


def _sizes(lines: Sequence[Line]) -> list[int]:
    return list(dict.fromkeys(line.batch_size for line in lines))


def prices(found: Mapping[str, Any]) -> list[Price]:
    """What passes cost: the first in milliseconds, all others in such passes.

    Args:
        found: By batch size, ``seconds`` as ``costs.measure`` returns them.
    """
    seconds = [one["seconds"] for one in found.values()]
    units = [one["pass:1"] for one in seconds]
    made = [Price("target, 1 token a row (ms)", tuple(f"{1e3 * unit:.2f}" for unit in units))]
    for name in seconds[0]:
        if name != "pass:1":
            values = tuple(f"{one[name] / u:.2f}" for one, u in zip(seconds, units, strict=True))
            made.append(Price(_in_words(name), values))
    return made


def _in_words(name: str) -> str:
    """What was timed.

    >>> _in_words("pass:4"), _in_words("rest:gumbel:3:given")
    ('target, 4 tokens a row', 'gumbel: the rest of a round, 3 tokens looked up')
    >>> _in_words("draft:testbed:student"), _in_words("prefill:testbed:student")
    ('drafter testbed:student, 1 token a row', 'drafter testbed:student, a batch of prompts')
    """
    kind, _, rest = name.partition(":")
    if kind == "pass":
        return f"target, {rest} tokens a row"
    if kind == "draft":
        return f"drafter {rest}, 1 token a row"
    if kind == "prefill":
        return f"drafter {rest}, a batch of prompts" if rest else "target, a batch of prompts"
    scheme, _, count = rest.partition(":")
    gamma, _, given = count.partition(":")
    if gamma == "0":
        return f"{scheme}: the rest of a round, plain"
    return f"{scheme}: the rest of a round, {gamma} tokens {'looked up' if given else 'drawn'}"
