"""What every speculative model refuses of its arguments, in the same words."""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError


def check_gamma(gamma: Any) -> None:
    """Refuse what is no number of tokens to draft.

    Raises:
        HarnessError: It is no whole number of at least 1.
    """
    if not isinstance(gamma, int) or isinstance(gamma, bool) or gamma < 1:
        raise HarnessError(f"gamma={gamma}: give at least 1, or drafter=none for plain decoding")


def refuse_cache(cache_hook: Any) -> None:
    """Refuse ``--use_cache``.

    Raises:
        HarnessError: The hook has a cache behind it.
    """
    if getattr(cache_hook, "dbdict", None) is not None:
        raise HarnessError(
            "--use_cache keeps answers by prompt alone: neither the seed, the scheme, repeats "
            "nor what is measured is in it; leave it out"
        )


def in_a_line(cause: Exception) -> str:
    """An exception's message without its line breaks."""
    return " ".join(str(cause).split())
