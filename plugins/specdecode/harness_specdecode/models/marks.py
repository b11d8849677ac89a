"""An answer token by token: what a draft had right, what it had wrong, what the target wrote."""

from __future__ import annotations

from collections.abc import Callable

from harness.models.responses import pieces
from harness_specdecode.decoding.rounds import Answer

ACCEPTED, REJECTED, WRITTEN = "accepted", "rejected", "written"
_BEFORE = 4
"""Tokens behind which a rejected one is read."""

Decode = Callable[[list[int]], str]


def marks_of(answer: Answer, text: str, decode: Decode) -> list[list[str]]:
    """Pieces of an answer with their kinds, as ``harness view`` draws them.

    Args:
        answer: The answer.
        text: What of it is kept.
        decode: Token ids → text.

    Returns:
        The pieces, what was rejected between them; none where nothing was drafted, or where the
        text is no beginning of the tokens'.
    """
    if not answer.proposed:
        return []
    words = pieces(answer.tokens, decode)
    if not "".join(words).startswith(text):
        return []
    found: list[list[str]] = []
    left = len(text)
    starts = [start for start, _, _ in answer.rounds] + [len(answer.tokens)]
    for (start, accepted, wrong), end in zip(answer.rounds, starts[1:], strict=True):
        for place in range(start, end):
            own, before = place - start >= accepted, max(0, place - _BEFORE)
            if own and wrong.numel() and left > 0:
                said = pieces([*answer.tokens[before:place], *wrong.tolist()], decode)[
                    place - before :
                ]
                found += [[piece, REJECTED] for piece in said if piece]
            if piece := words[place][:left]:
                found.append([piece, WRITTEN if own else ACCEPTED])
            left -= len(words[place])
    return found
