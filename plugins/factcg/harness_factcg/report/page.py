"""The report as one HTML page that needs nothing but itself.

It looks like the leaderboard's page. Its content security policy lets no script run and no style
hold but the page's own, and nothing is loaded. Each document is in it once, however many claims are
about it. Where documents are too long together for a page that opens at once, only the chunks that
decided are kept; the page says so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from harness.reports.page import report_page
from harness.reports.values import text
from harness_factcg.assessing.assessment import Assessment, Part
from harness_factcg.report.pictures import reliability, spread
from harness_factcg.report.summary import About, items_of, summarise

_ROOM = "harness_factcg.report"
MOST_CHARACTERS = 20_000_000
"""Characters of documents on a page."""
MOST_MARKED = 12
"""Sentences marked for a verdict, those it rests on and others that count."""
LEAST_MARKED = 0.3
"""Nats by which those others change the log-odds, at least."""


def render(found: Sequence[Assessment], about: About, title: str) -> str:
    """The page.

    Args:
        found: The assessed claims, in order.
        about: How they were assessed.
        title: The page's heading.
    """
    labelled = [one for one in found if one.claim.label is not None]
    return report_page(
        _ROOM,
        title=text(title),
        about=about,
        summary=summarise(found, about.threshold),
        spread=spread(found, about.threshold),
        reliability=reliability(items_of(labelled)) if labelled else "",
        shortened=_too_long(found),
        data=payload(found),
    )


def payload(found: Sequence[Assessment]) -> dict[str, Any]:
    """What the page's script knows; places count UTF-16 units, as in JavaScript.

    A document is its length and the stretches of it that are kept, each with its place. A claim is
    a short array: document, text, id, data set, label, score, log-odds, supported, truncated,
    chunks, deciding chunk, what decided, sentences.
    """
    documents = _documents(found)
    kept = _kept(found) if _too_long(found) else {}
    units = {document: _Units(document) for document in documents}
    numbers = {document: k for k, document in enumerate(documents)}
    return {
        "documents": [
            [
                units[document](len(document)),
                [
                    [units[document](start), text(document[start:end])]
                    for start, end in kept.get(document, [(0, len(document))])
                ],
            ]
            for document in documents
        ],
        "claims": [
            _claim(one, numbers[one.claim.document], units[one.claim.document]) for one in found
        ],
    }


def _documents(found: Sequence[Assessment]) -> list[str]:
    return list(dict.fromkeys(one.claim.document for one in found))


def _too_long(found: Sequence[Assessment]) -> bool:
    return sum(map(len, _documents(found))) > MOST_CHARACTERS


def _kept(found: Sequence[Assessment]) -> dict[str, list[tuple[int, int]]]:
    """For each document the stretches in which its claims were decided, in order and apart."""
    places: dict[str, set[tuple[int, int]]] = {}
    for one in found:
        chunks = [part.explanation for part in one.deciding if part.explanation]
        places.setdefault(one.claim.document, set()).update((c.start, c.end) for c in chunks)
    return {document: merged(own) for document, own in places.items()}


def merged(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches without those that overlap or touch: they become one.

    >>> merged([(7, 9), (0, 4), (2, 5)])
    [(0, 5), (7, 9)]
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


class _Units:
    """Places in a text, counted in UTF-16 units: characters beyond the first plane count twice."""

    def __init__(self, document: str) -> None:
        plain = document.isascii() or max(document) <= "\uffff"
        self._wide = [] if plain else [k for k, sign in enumerate(document) if sign > "\uffff"]

    def __call__(self, place: int) -> int:
        return place + bisect_left(self._wide, place)


def _claim(one: Assessment, document: int, units: _Units) -> list[Any]:
    claim, verdict = one.claim, one.verdict
    return [
        document,
        text(claim.text),
        text(claim.id),
        text(claim.dataset),
        claim.label,
        round(verdict.score, 4),
        round(verdict.margin, 3),
        int(one.supported),
        int(verdict.truncated),
        verdict.chunks,
        verdict.deciding_chunk,
        [_part(part, units) for part in one.deciding],
        [[text(part.text), round(part.score, 4), int(part.supported)] for part in one.sentences],
    ]


def _part(part: Part, units: _Units) -> list[Any]:
    """Where the deciding chunk is, the verdict, and the sentences that count most, in order."""
    explanation = part.explanation
    assert explanation is not None, "what decides is located"
    named = set(explanation.rests_on(part.supported))
    order = sorted(
        range(len(explanation.passages)),
        key=lambda k: (k not in named, -abs(explanation.passages[k].drop or 0.0)),
    )
    marks = [
        [
            units(passage.start),
            units(passage.end),
            None if passage.drop is None else round(passage.drop, 2),
            int(place in named),
        ]
        for place in sorted(order[:MOST_MARKED])
        for passage in [explanation.passages[place]]
        if place in named or abs(passage.drop or 0.0) >= LEAST_MARKED
    ]
    sufficient = int(explanation.sufficient is not None)
    return [
        units(explanation.start),
        units(explanation.end),
        int(part.supported),
        sufficient,
        marks,
    ]
