"""Where what need not be made twice lives."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where answers, responses and unpacked models live unless a path is given.

    ``PAPERHARNESS_CACHE``, else ``$XDG_CACHE_HOME/paperharness``, else ``~/.cache/paperharness``.
    """
    own = os.environ.get("PAPERHARNESS_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "paperharness"
