"""A study's results as one page: which method is better, by how much, is it real, what it costs.

``view`` says what is shown, ``costs`` reads what cells cost; ``matrix``, ``tradeoff`` and
``summary`` find what there is to say, ``pictures`` draws, ``page`` writes.
"""

from __future__ import annotations

from harness.studies.report.costs import cost_of, costs_of
from harness.studies.report.page import write_report
from harness.studies.report.view import Cost, Failure, StudyCell, View

__all__ = ["Cost", "Failure", "StudyCell", "View", "cost_of", "costs_of", "write_report"]
