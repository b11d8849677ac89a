"""Any lm-eval results, ours or not, as one leaderboard: long CSV, wide CSV, one HTML page.

``read_results(["results/"])`` gives a table, which ``write_csv``, ``write_wide`` and
``write_html`` put into files; ``compared`` sets its rows against a teacher's.
"""

from __future__ import annotations

from harness.leaderboard.files import write_csv, write_wide
from harness.leaderboard.page import write_html
from harness.leaderboard.reading import read_results
from harness.leaderboard.relative import compared
from harness.leaderboard.rows import Contest, Row, Run, Share, Skipped, Table, TaskRun

__all__ = [
    "Contest",
    "Row",
    "Run",
    "Share",
    "Skipped",
    "Table",
    "TaskRun",
    "compared",
    "read_results",
    "write_csv",
    "write_html",
    "write_wide",
]
