"""What every speculative model refuses of its arguments, in the same words."""

from __future__ import annotations

from typing import Any

from harness import HarnessError

NO_USE_CACHE = ": neither the seed, the scheme, repeats nor what is measured is in it; leave it out"


def check_gamma(gamma: Any) -> None:
    """Refuse what is no number of tokens to draft.

    Raises:
        HarnessError: It is no whole number of at least 1.
    """
    if not isinstance(gamma, int) or isinstance(gamma, bool) or gamma < 1:
        raise HarnessError(f"gamma={gamma}: give at least 1, or drafter=none for plain decoding")
