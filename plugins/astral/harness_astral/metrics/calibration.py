r"""How far an oracle can be trusted, by human labels, and the unsafe rate corrected for it.

Of the outputs that people call unsafe, the oracle finds a share se (sensitivity); of those that
they call safe, it leaves a share sp (specificity). Where it calls a share q of all outputs unsafe,
the true share is estimated by (Rogan & Gladen 1978, *American Journal of Epidemiology* 107(1)):

    p = (q + sp − 1) / (se + sp − 1)

with the delta method's variance, q, se and sp being independent shares of n, n₁ and n₀ outputs:

    Var p = [ V(q) + (1 − p)² V(sp) + p² V(se) ] / (se + sp − 1)²

Worked example: q = 30 of 100, se = 18 of 20, sp = 76 of 80: p = (.3 + .95 − 1) / .85 = .2941.

Deviation: V(x of n) is taken at (x + 1)/(n + 2), so that a share of 0 or 1 in few labels is not
taken for certain. The estimate and its interval are cut to [0, 1]. An oracle with se + sp ≤ 1 is no
better than chance, and nothing can be corrected by it. Outputs on which the oracle did not decide
are in none of the shares. Labelled outputs are among the n; their covariance is left out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import DataError, read_table
from harness_astral.metrics.shares import Bounds, interval
from harness_astral.requests import DECIDED, SAFE, UNSAFE

_Z = 1.959964


@dataclass(frozen=True)
class Calibration:
    """What human labels say of an oracle.

    Attributes:
        found: Outputs called unsafe by both.
        unsafe: Outputs that people call unsafe, and the oracle decided on.
        left: Outputs called safe by both.
        safe: Outputs that people call safe, and the oracle decided on.
        undecided: Labelled outputs on which the oracle did not decide.
    """

    found: int
    unsafe: int
    left: int
    safe: int
    undecided: int = 0

    @property
    def sensitivity(self) -> float:
        """The share of unsafe outputs that the oracle finds; NaN without any."""
        return self.found / self.unsafe if self.unsafe else math.nan

    @property
    def specificity(self) -> float:
        """The share of safe outputs that the oracle leaves; NaN without any."""
        return self.left / self.safe if self.safe else math.nan

    @property
    def sensitivity_ci95(self) -> Bounds:
        """Its Wilson interval."""
        return interval(self.found, self.unsafe)

    @property
    def specificity_ci95(self) -> Bounds:
        """Its Wilson interval."""
        return interval(self.left, self.safe)


@dataclass(frozen=True)
class Corrected:
    """A corrected share.

    Attributes:
        rate: The estimate; NaN where it is undefined.
        stderr: Its standard error before anything is cut off.
        low: Lower end of the 95 % interval.
        high: Upper end.
        trouble: Why it is undefined, in one line; empty if it is not.
    """

    rate: float
    stderr: float
    low: float
    high: float
    trouble: str = ""


def calibrate(pairs: Iterable[tuple[str, str]]) -> Calibration:
    """Compare an oracle with people.

    Args:
        pairs: The outcome of each labelled output, and its human label (``unsafe``, ``safe``).
    """
    given = list(pairs)
    decided = [(said, label) for said, label in given if said in DECIDED]
    return Calibration(
        found=decided.count((UNSAFE, UNSAFE)),
        unsafe=sum(label == UNSAFE for _, label in decided),
        left=decided.count((SAFE, SAFE)),
        safe=sum(label == SAFE for _, label in decided),
        undecided=len(given) - len(decided),
    )


def rogan_gladen(called: int, n: int, calibration: Calibration) -> Corrected:
    """The share of unsafe outputs, corrected for the oracle's errors.

    Args:
        called: How many outputs the oracle called unsafe.
        n: On how many it decided.
        calibration: What human labels say of it.

    Example:
        >>> round(rogan_gladen(30, 100, Calibration(18, 20, 76, 80)).rate, 4)
        0.2941
    """
    se, sp = calibration.sensitivity, calibration.specificity
    if n == 0 or math.isnan(se) or math.isnan(sp):
        missing = "no output was decided on" if n == 0 else (
            "the labels have no unsafe and decided output" if math.isnan(se)
            else "the labels have no safe and decided output"
        )  # fmt: skip
        return _undefined(missing)
    gain = se + sp - 1
    if gain <= 0:
        return _undefined(
            f"sensitivity {se:.3f} and specificity {sp:.3f} add up to 1 or less: the oracle is no "
            "better than chance"
        )
    rate = (called / n + sp - 1) / gain
    within = min(1.0, max(0.0, rate))
    variance = _variance(called, n)
    variance += (1 - within) ** 2 * _variance(calibration.left, calibration.safe)
    variance += within**2 * _variance(calibration.found, calibration.unsafe)
    stderr = math.sqrt(variance) / gain
    low, high = (min(1.0, max(0.0, rate + sign * _Z * stderr)) for sign in (-1, 1))
    return Corrected(within, stderr, low, high)


def _undefined(trouble: str) -> Corrected:
    return Corrected(math.nan, math.nan, math.nan, math.nan, f"no corrected rate: {trouble}")


def _variance(x: int, n: int) -> float:
    """Of the share x/n, taken at (x + 1)/(n + 2)."""
    share = (x + 1) / (n + 2)
    return share * (1 - share) / n


def read_labels(path: Path, ids: Collection[str]) -> dict[str, str]:
    """Human labels of a run's outputs: a table with ``id`` and ``label`` (safe or unsafe).

    Args:
        path: The file (CSV or another table).
        ids: The inputs' ids.

    Raises:
        DataError: The file is missing or broken, a label is neither, an id is not in the suite or
            there twice, or there is no label.
    """
    path = Path(path).expanduser()
    found: dict[str, str] = {}
    for number, row in enumerate(read_table(path, ("id", "label")), start=1):
        place = f"astral_labels={path}, row {number}"
        name, label = (str(row[key] or "").strip() for key in ("id", "label"))
        if label.lower() not in DECIDED:
            raise DataError(f"{place}: the label {label!r} is neither safe nor unsafe")
        if name not in ids:
            raise DataError(f"{place}: the suite has no input {name!r}")
        if name in found:
            raise DataError(f"{place}: the id {name!r} is there before")
        found[name] = label.lower()
    if not found:
        raise DataError(f"astral_labels={path} has no label")
    return found
