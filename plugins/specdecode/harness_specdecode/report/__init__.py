"""The folder that a bench leaves: table, page, pictures' data and manifest.

``page`` makes one HTML page, ``pictures`` draws, ``folder`` writes all of it whole or not at all.
"""

from __future__ import annotations

from harness_specdecode.report.folder import MANIFEST, write_report

__all__ = ["MANIFEST", "write_report"]
