"""Values of options, for the shell to complete: ``typer.Option(autocompletion=one_of(…))``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module


def one_of(names: Iterable[str] | str) -> Callable[[str], list[str]]:
    """Completes one of some names.

    Args:
        names: They, or ``module:attribute`` of them, which is imported when the shell asks.
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in _known(names) if name.startswith(incomplete)]

    return complete


def some_of(names: Iterable[str] | str) -> Callable[[str], list[str]]:
    """Completes the last of several names between commas.

    Args:
        names: As ``one_of`` takes them.
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        left = [name for name in _known(names) if name not in taken]
        return [before + comma + name for name in left if name.startswith(last)]

    return complete


def _known(names: Iterable[str] | str) -> Iterable[str]:
    if not isinstance(names, str):
        return names
    module, _, attribute = names.partition(":")
    found: Iterable[str] = getattr(import_module(module), attribute)
    return found
