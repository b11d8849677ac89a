"""How far several raters agree on nominal labels, beyond what chance would give.

Fleiss 1971, *Psychological Bulletin* 76(5), for n raters of N items, of whom n_ij gave item i the
label j:

    κ = (P̄ − P_e) / (1 − P_e),   P̄ = mean_i Σ_j n_ij(n_ij − 1) / (n(n − 1)),   P_e = Σ_j p_j²

Krippendorff 2011, *Computing Krippendorff's Alpha-Reliability*, for any number m_u of raters of
unit u, of whom n_uc gave it the value c; n_c = Σ_u n_uc and n = Σ_c n_c over units with two values
or more:

    α = 1 − D_o / D_e,   D_o = 1 − Σ_u Σ_c n_uc(n_uc − 1) / (m_u − 1) / n,
                         D_e = 1 − Σ_c n_c(n_c − 1) / (n(n − 1))

Worked example: two raters, (a, a), (a, b), (b, b), (b, b). κ: P̄ = ¾, p_a = ⅜, P_e = 34/64, so
κ = (¾ − 34/64) / (30/64) = 7/15. α: D_o = ¼, D_e = 1 − (3·2 + 5·4)/56 = 30/56, so α = 8/15.

Both are undefined (NaN) where all labels are the same: there is nothing to agree on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Ratings = Sequence[Sequence[str | None]]
"""Labels [items, raters]; None where a rater gave none."""


def fleiss_kappa(ratings: Ratings) -> float:
    """Fleiss' κ over the items that every rater labelled; NaN where it is undefined."""
    whole = [[label for label in row if label is not None] for row in ratings]
    whole = [row for row, given in zip(whole, ratings, strict=True) if len(row) == len(given)]
    n = len(whole[0]) if whole else 0
    if n < 2:
        return math.nan
    counts = [Counter(row) for row in whole]
    agreed = sum(sum(k * (k - 1) for k in one.values()) / (n * (n - 1)) for one in counts)
    total: Counter[str] = sum(counts, Counter())
    by_chance = sum((k / (n * len(whole))) ** 2 for k in total.values())
    if len(total) < 2:
        return math.nan
    return (agreed / len(whole) - by_chance) / (1 - by_chance)


def krippendorff_alpha(ratings: Ratings) -> float:
    """Krippendorff's α for nominal labels, some of them missing; NaN where it is undefined."""
    units = [Counter(label for label in row if label is not None) for row in ratings]
    units = [unit for unit in units if unit.total() > 1]
    total: Counter[str] = sum(units, Counter())
    n = total.total()
    if len(total) < 2:
        return math.nan
    matched = sum(sum(k * (k - 1) for k in unit.values()) / (unit.total() - 1) for unit in units)
    by_chance = sum(k * (k - 1) for k in total.values()) / (n * (n - 1))
    return 1 - (1 - matched / n) / (1 - by_chance)
