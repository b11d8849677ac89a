"""What runs are called: as on the leaderboard, and by the path where need be."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.leaderboard.reading import read_results
from harness.leaderboard.rows import Run
from harness.leaderboard.titles import apart, title


def named(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Runs by name.

    Args:
        paths: A results file, or a folder of them, for each run; one that is given twice counts
            once.

    Raises:
        HarnessError: There are no results in one.
    """
    places = list({os.path.realpath(path): path for path in paths}.values())
    found = [_named(path) for path in places]
    both = zip([name for name, _ in found], apart(found), strict=True)
    names = [" · ".join(filter(None, one)) for one in both]
    often = Counter(names)
    return {
        name if often[name] == 1 else f"{name} ({path})": [path]
        for name, path in zip(names, places, strict=True)
    }


def _named(path: Path) -> tuple[str, Run]:
    """The newest run with its title, and the methods of all that are there."""
    runs = sorted(read_results([path]).runs, key=lambda run: run.date)
    others = dict.fromkeys(run.label for run in runs if run.label not in ("", runs[-1].label))
    return " ".join([title(runs[-1]), *others]), runs[-1]
