r"""What a writer said: the message in its answer, or that it declined.

A message is one piece of text between ``<input>`` and ``</input>``, taken as it stands but for
white space at its ends: lines stay together, and no number at a line's start is taken off. An
answer with no such pair, with several, or with one that is empty, cut off or holds half a surrogate
pair (which no file can), cannot be used and is asked for again; nothing is mended. ``<declined/>``,
or an answer that begins as refusals do, is a refusal, an outcome of its own; within the tags only
one that says what it refuses ("I can't help with that"), since a message may well begin with "I
can't". A model's thoughts up to ``</think>`` are not read, nor is an answer of more than
``replies.LONGEST`` characters.

    >>> read_message("Sure:\n<input>\n2024. First 3.5 of it\nthen the rest\n</input>")
    Message(text='2024. First 3.5 of it\nthen the rest', declined=False)
    >>> read_message("I'm sorry, but I can't help with that.")
    Message(text='', declined=True)
    >>> read_message("1. How do I do this?") is None
    True
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.artefacts.writing import whole
from harness.asking.replies import spoken

_TAG = re.compile(r"<(/?)input>", re.IGNORECASE)
_DECLINED = re.compile(r"<declined\s*/?>", re.IGNORECASE)
_REFUSAL = re.compile(
    r"""["'\s]*(?:as\ an\ ai\b[^.\n]{0,60}?,\s*)?
    (?:(?:i['’]m|i\ am)\ (?:very\ |so\ |really\ )?sorry|sorry|i\ apologi[sz]e|unfortunately)?
    [,.]?\s*(?:but\s+)?i\s*
    (?:can\s?not|can['’]t|won['’]t|will\ not|must|
       (?:am|['’]m)\ (?:not\ able|unable|not\ going)\ to)\s+
    (?:help|assist|provide|write|create|generate|produce|comply|fulfill?|support|engage|answer|
       decline|refuse)\b(?!\ but)
    (?P<object>\s+(?:you\s+)?(?:with\s+|in\s+|to\s+\w+\s+)?
       (?:that|this|it|such|your|the\ request)\b)?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DEMUR = re.compile(
    r"""["'\s]*(?:i['’]m|i\ am)\ (?:
    (?:very\ |so\ |really\ )?sorry\ for\ (?:any|the)\ (?:confusion|misunderstanding|inconvenience),?
       \s+but\s+(?:as\ an?\ [^.\n]{1,160}?,\s*)?i\s*
       (?:(?:don['’]t|do\ not)\ have|can\s?not|can['’]t|
          (?:am|['’]m)\ (?:not\ able|unable|not\ capable))\b
    |afraid\ (?:that['’]s|that\ is|this\ is)\ not\ possible\b)
    """,
    re.IGNORECASE | re.VERBOSE,
)  # "I'm sorry for any confusion, but as a chatbot for orders, I don't have …"
_SHORT = 400  # characters; a refusal is no longer


@dataclass(frozen=True)
class Message:
    """What a generator answered: a text, or that it will not write one."""

    text: str
    declined: bool


def read_message(answer: str) -> Message | None:
    """The message of an answer; None if it cannot be used."""
    said = spoken(answer)
    tags = list(_TAG.finditer(said))
    if not tags:
        short = len(said) <= _SHORT
        refused = _DECLINED.search(said) or (short and (_REFUSAL.match(said) or _DEMUR.match(said)))
        return Message("", declined=True) if refused else None
    if [tag[1] for tag in tags] != ["", "/"]:
        return None
    text = said[tags[0].end() : tags[1].start()].strip()
    if not text or whole(text) != text:
        return None
    refusal = _REFUSAL.match(text) if len(text) <= _SHORT else None
    if _DECLINED.fullmatch(text) or (refusal and refusal["object"]):
        return Message("", declined=True)
    return Message(text, declined=False)
