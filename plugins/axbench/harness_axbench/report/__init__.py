"""A page of pictures of AxBench runs: ROC curves, factor curves, comparisons, concepts.

    harness axbench report RUN… --out DIR

``reading`` finds the runs' samples and groups what may be compared, ``curves`` computes what is
drawn, ``pictures`` draws it, ``page`` writes one HTML page, with the data of every picture as a CSV
file beside it.
"""

from __future__ import annotations

from harness_axbench.report.page import write_report
from harness_axbench.report.reading import read_runs

__all__ = ["read_runs", "write_report"]
