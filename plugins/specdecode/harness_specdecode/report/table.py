"""The table of a bench: a line a way to decode, what theory expects of it beside what it gave.

A way is run in turn with plain decoding, over and over; each pair gives a ratio of tokens a second.
The speed-up is the median ratio, its interval that of the sign test: the k-th smallest and k-th
largest ratio hold the median with probability 1 − 2 Pr[Bin(n, ½) < k]; k is the largest with at
least 95 %, or 1 (n = 5: 93.8 %, n = 3: 75 %).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from harness.reports.files import Cell
from harness_specdecode.couplings.theory import (
    Costs,
    expected_rounds,
    expected_tokens,
    speed_up,
    speed_up_here,
)
from harness_specdecode.decoding.drafter_sources import NONE
from harness_specdecode.measuring.along import COUPLING, Position, given
from harness_specdecode.measuring.comparing import Decoding

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Line:
    """One way to decode.

    Attributes:
        drafter: Its name; ``none`` is plain decoding, against itself.
        scheme: The scheme; ``greedy`` at temperature 0.
        gamma: Tokens drafted a round; 0 is plain decoding.
        batch_size: Rows decoded together.
        agreement: Mean agreement of the coupling over all positions; None without a model.
        acceptance_expected: Share of right ones expected among the drafts looked at.
        acceptance: That share.
        tokens_formula: Tokens a pass of the target, (1 − α^{γ+1})/(1 − α).
        tokens_expected: The same along the target's answers, position by position.
        tokens_per_pass: What was measured.
        draft_cost: A drafter's pass in passes of the target, c.
        verify_cost: A target's pass over γ + 1 tokens, v.
        rest_cost: All else of a round, h.
        speed_up_theorem: Theorem 3.8, with the expected tokens.
        speed_up_expected: The same with all prices of this machine.
        speed_up: Median ratio of tokens a second to plain decoding's.
        speed_up_low: Lower end of its interval.
        speed_up_high: Upper end of its interval.
        coverage: Probability that the interval holds the median.
        tokens_per_second: Median.
        rows_per_pass: Mean rows in a pass of the target.
        identical: Answers that are plain decoding's, token by token.
        answers: Number of answers.
        tokens: Tokens of all answers.
        near_ties: Tokens whose choice was within rounding.
        accepted: Drafted tokens that were written.
        proposed: Drafted tokens.
        target_calls: Passes of the target, counted by row.
        target_passes: Passes of the target, of whole batches.
        drafter_passes: Those of the drafter.
        repeats: Pairs of runs.
    """

    drafter: str
    scheme: str
    gamma: int
    batch_size: int
    agreement: float | None
    acceptance_expected: float | None
    acceptance: float | None
    tokens_formula: float
    tokens_expected: float
    tokens_per_pass: float
    draft_cost: float
    verify_cost: float
    rest_cost: float
    speed_up_theorem: float
    speed_up_expected: float
    speed_up: float
    speed_up_low: float
    speed_up_high: float
    coverage: float
    tokens_per_second: float
    rows_per_pass: float
    identical: int
    answers: int
    tokens: int
    near_ties: int
    accepted: int
    proposed: int
    target_calls: int
    target_passes: int
    drafter_passes: int
    repeats: int

    @property
    def plain(self) -> bool:
        """Whether nothing is drafted."""
        return self.drafter == NONE


@dataclass(frozen=True)
class Result:
    """What a bench found.

    Attributes:
        lines: The table.
        facts: What it was measured on, and how; JSON-able.
        along: Agreement along the target's answers, for each drafting model.
        present: Whether it was already there.
    """

    lines: list[Line]
    facts: dict[str, Any]
    along: dict[str, list[list[Position]]]
    present: bool = False


COLUMNS = tuple(field.name for field in fields(Line))


def cells(line: Line) -> list[Cell]:
    """A line of the CSV file: six digits."""
    return [round(v, 6) if isinstance(v, float) else v for v in asdict(line).values()]


def line_of(
    decoding: Decoding,
    measured: Mapping[str, Any],
    along: Sequence[Sequence[Position]] | None,
    costs: Costs,
    *,
    limit: int,
    greedy: bool,
) -> Line:
    """Put what was measured beside what theory expects.

    Args:
        decoding: The way to decode.
        measured: What ``bench.measure_cell`` returned.
        along: Agreement at each token of each answer; None where the drafter is no model.
        costs: What passes cost.
        limit: Tokens an answer could have had.
        greedy: Whether the temperature is 0.
    """
    gamma = 0 if decoding.drafter == NONE else decoding.gamma
    counts = measured["counts"]
    looked = counts["accepted"] + counts["wrong"]
    acceptance = counts["accepted"] / looked if looked else None
    expected = _expected(decoding.scheme, gamma, along, counts, limit)
    rows = counts["target_calls"] / counts["target_passes"]
    here = costs if along or not gamma else costs.drafting(1 - (1 - _share(counts, gamma)) ** rows)
    ratio, low, high, coverage = median_interval(
        [own / plain for own, plain in zip(measured["speeds"], measured["plain"], strict=True)]
    )
    return Line(
        drafter=decoding.drafter,
        scheme="greedy" if greedy else decoding.scheme,
        gamma=gamma,
        batch_size=decoding.batch_size,
        acceptance=acceptance,
        tokens_per_pass=counts["tokens"] / counts["target_calls"],
        draft_cost=costs.draft,
        verify_cost=costs.verify,
        rest_cost=costs.rest,
        speed_up_theorem=speed_up(expected["tokens_expected"], gamma, costs.draft),
        speed_up_expected=speed_up_here(expected["tokens_expected"], gamma, here),
        speed_up=ratio,
        speed_up_low=low,
        speed_up_high=high,
        coverage=coverage,
        tokens_per_second=statistics.median(measured["speeds"]),
        rows_per_pass=rows,
        repeats=len(measured["speeds"]),
        **expected,
        **{name: counts[name] for name in COUNTED},
    )


COUNTED = (
    "identical", "answers", "tokens", "near_ties", "accepted", "proposed", "target_calls",
    "target_passes", "drafter_passes",
)  # fmt: skip


def _expected(
    scheme: str,
    gamma: int,
    along: Sequence[Sequence[Position]] | None,
    counts: Mapping[str, int],
    limit: int,
) -> dict[str, Any]:
    """Agreement, and the tokens that it promises."""
    agreement = expected = None
    if not gamma:
        formula = tokens = 1.0
    elif along is None:
        looked = counts["accepted"] + counts["wrong"]
        alpha = counts["accepted"] / looked if looked else 0.0
        formula = tokens = expected_tokens(alpha, gamma, _share(counts, gamma))
    else:
        positions = [position for answer in along for position in answer]
        agreement = math.fsum(p[f"agreement_{COUPLING[scheme]}"] for p in positions)
        agreement /= len(positions)
        rounds = [expected_rounds([p[given(scheme)] for p in a], gamma, limit) for a in along]
        formula = expected_tokens(agreement, gamma)
        tokens = len(positions) / math.fsum(one.calls for one in rounds)
        looked_at = math.fsum(one.looked for one in rounds)
        expected = math.fsum(one.right for one in rounds) / looked_at if looked_at else None
    return {
        "agreement": agreement,
        "acceptance_expected": expected,
        "tokens_formula": formula,
        "tokens_expected": tokens,
    }


def _share(counts: Mapping[str, int], gamma: int) -> float:
    """Share of a row's rounds that have a draft, taking each draft to have γ tokens."""
    return min(1.0, counts["proposed"] / gamma / counts["target_calls"])


def median_interval(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Median, lower and upper end of its interval, and the probability that it holds the median.

    >>> median_interval([1.0, 3.0, 2.0])
    (2.0, 1.0, 3.0, 0.75)
    """
    ranked, n = sorted(values), len(values)
    beyond, k = 0.5**n, 1
    while k < (n + 1) // 2 and 1 - 2 * (beyond + math.comb(n, k) * 0.5**n) >= _LEVEL:
        beyond += math.comb(n, k) * 0.5**n
        k += 1
    return statistics.median(ranked), ranked[k - 1], ranked[n - k], max(0.0, 1 - 2 * beyond)
