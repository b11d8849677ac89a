"""One family of exceptions: a message says what failed, where, and what to do."""

from __future__ import annotations


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


def one_line(error: BaseException) -> str:
    """The text shown at a command's edge: ``error: <message>``, line breaks folded."""
    return f"error: {' '.join(str(error).split())}"
