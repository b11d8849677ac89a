"""The report's pictures, drawn: methods compared, ROC curves, factor curves, concepts.

Small multiples share their axes, so that panels can be compared at a glance. The headline is in the
accent colour, what belongs to it in the base colour, everything else recedes. Numbers that are not
on a picture are in its CSV file.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness_axbench.metrics import factors_in
from harness_axbench.report.curves import Standing
from harness_axbench.report.pictures.comparison import comparison
from harness_axbench.report.pictures.concepts import concepts
from harness_axbench.report.pictures.factors import factors
from harness_axbench.report.pictures.parts import Picture, headline_of
from harness_axbench.report.pictures.roc_curves import roc_curves
from harness_axbench.report.reading import DETECTION, Section

__all__ = ["Picture", "headline_of", "pictures"]


def pictures(section: Section, order: Sequence[Standing], name: str) -> list[Picture]:
    """All pictures of a section, in the order of the page.

    Args:
        section: The section.
        order: Its methods, best first.
        name: Begins the names of the pictures.
    """
    made = [comparison(section, order, f"{name}-comparison")]
    if section.family == DETECTION:
        made.append(roc_curves(order, f"{name}-roc"))
    elif any(factors_in(one.series.items) for one in order):
        made.append(factors(section, order, f"{name}-factors"))
    made.append(concepts(section, order, f"{name}-concepts"))
    return made
