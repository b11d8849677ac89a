"""What a model has said, before anybody reads it: without its thoughts, of a bounded length.

A reply holds what strangers wrote, quoted or obeyed. Reading one takes time linear in it.
"""

from __future__ import annotations

LONGEST = 200_000
"""Characters of a reply that is read; a longer one is a flood, and says nothing."""
_FENCE = "```"


def spoken(reply: str) -> str:
    """What is said after the thoughts; nothing, where these do not end, or of a flood of words.

    >>> spoken("<think>Yes? No.</think> No."), spoken("<think>Yes"), spoken(" Yes ")
    ('No.', '', 'Yes')
    """
    if len(reply) > LONGEST:
        return ""
    said = reply.rpartition("</think>")[2].strip()
    return "" if "<think>" in said else said


def fenced(text: str) -> list[str]:
    r"""What stands in code fences, bare ones or of JSON, each with one line at least.

    >>> fenced("So:\n```json\n{}\n```\nand\n```\n[]\n```")
    ['{}', '[]']
    """
    found: list[str] = []
    lines = text.split("\n")
    opened: int | None = None
    for number, line in enumerate(lines):
        mark = line.strip()
        if opened is None and mark.startswith(_FENCE):
            if mark.removeprefix(_FENCE).strip().lower() in ("", "json"):
                opened = number
        elif opened is not None and mark == _FENCE and number > opened + 1:
            found.append("\n".join(lines[opened + 1 : number]))
            opened = None
    return found
