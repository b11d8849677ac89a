"""One family of exceptions: a message says what failed, where, and what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

_EVEN = 0.04
"""How much less alike a second name may be to be meant as well."""


class HarnessError(Exception):
    """Something the user can put right; shown as one line, without a traceback."""


class DataError(HarnessError):
    """A data source is missing, unreachable or of the wrong shape."""


class ArtefactError(HarnessError):
    """An artefact (dictionary, checkpoint, suite) is missing, damaged or does not fit the model."""


class JudgeError(HarnessError):
    """A judge is missing, misconfigured, or answered too little to score a run."""


class PluginError(HarnessError):
    """A plugin is broken, or claims a name that already has an owner."""


class UnknownNameError(PluginError, ValueError):
    """Nobody provides a model or task of this name; lm-eval's own error for it is a ValueError."""


def meant(
    given: object, known: Iterable[str], there: str = "use one of", *, near: float = 0.7
) -> str:
    """How a message on a name that nobody has ends: with what was meant, or with what there is.

    Args:
        given: The name.
        known: Names that there are.
        there: What stands before all of them, where none is near.
        near: How alike two names must be, from 0 to 1.
    """
    from difflib import SequenceMatcher  # slow to import, and this module always is

    names = list(known)
    alike = {name: SequenceMatcher(None, name, str(given)).ratio() for name in names}
    best = max(alike.values(), default=0.0)
    if best >= near:
        return f"did you mean {' or '.join(n for n in names if alike[n] > best - _EVEN)}?"
    return f"{there} {', '.join(names) or 'none'}"


def and_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and each that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def shown(text: str) -> str:
    """A text as a terminal may have it: control characters, and what turns text round, escaped.

    Names and contents of strangers' files come into messages and cells; an escape sequence in one
    would move the cursor, hide what was said or set the window's title.
    """
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if _controls(c) else c for c in text)


def _controls(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and (
        character not in "\t\n\u200c\u200d"  # the last two join letters and emoji
    )


def one_line(error: object, limit: int | None = None) -> str:
    """What an exception says, line breaks folded; its type's name where it says nothing.

    Control characters are escaped.

    Args:
        error: The exception, or a text.
        limit: Characters at most; what is over is cut at a space, and shown as cut.
    """
    text = shown(" ".join(str(error).split())) or type(error).__name__
    if limit is None or len(text) <= limit:
        return text
    return text[:limit].rsplit(" ", 1)[0] + " …"
