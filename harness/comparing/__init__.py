"""Two runs of lm-eval on the same documents: paired differences, their intervals and p-values.

``compare({"plain": ["a/"], "steered": ["b/"]}, "plain")`` gives ``Comparisons``; ``named`` gives
runs the leaderboard's names, ``write_csv`` puts a table into a file.
"""

from __future__ import annotations

from harness.comparing.comparison import compare
from harness.comparing.difference import Comparisons, Difference, Uncompared
from harness.comparing.files import write_csv
from harness.comparing.naming import named

__all__ = ["Comparisons", "Difference", "Uncompared", "compare", "named", "write_csv"]
