"""A folder that a person can read: one page of claims with the sentences their verdicts rest on.

    harness factcg score --data FILE --model CHECKPOINT --out FOLDER

``records`` says what is kept of a claim, ``summary`` counts, ``pictures`` draws, ``page`` makes the
HTML page, ``folder`` writes it all.
"""

from __future__ import annotations

from harness_factcg.report.folder import check_free, write_report
from harness_factcg.report.summary import About

__all__ = ["About", "check_free", "write_report"]
