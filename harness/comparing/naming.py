"""What runs are called: model and method, as on the leaderboard, and the path where need be."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.leaderboard.reading import read_results


def named(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Runs by name.

    Args:
        paths: A results file, or a folder of them, for each run; one that is given twice counts
            once.

    Raises:
        HarnessError: There are no results in one.
    """
    places = list({os.path.realpath(path): path for path in paths}.values())
    names = [_name(path) for path in places]
    often = Counter(names)
    return {
        name if often[name] == 1 else f"{name} ({path})": [path]
        for name, path in zip(names, places, strict=True)
    }


def _name(path: Path) -> str:
    """The model of the newest results, with the methods that are in them."""
    runs = sorted(read_results([path]).runs, key=lambda run: run.date)
    model = runs[-1].model
    shown = Path(model).name if model.startswith("/") else model
    methods = dict.fromkeys(run.method for run in runs if run.method)
    return " ".join([shown, *methods])
