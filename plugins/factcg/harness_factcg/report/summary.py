"""Claims counted, and where labels are known, compared with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness import Statistic
from harness_factcg import metrics
from harness_factcg.assessing.assessment import Assessment
from harness_factcg.assessing.explanation import log_odds_of


@dataclass(frozen=True)
class About:
    """How the claims were assessed.

    Attributes:
        model: The checkpoint.
        sha: Its commit, or the SHA-256 of its files.
        family: How it was asked, and what told.
        threshold: Score above which a claim is supported.
        explained: Whether the sentences that verdicts rest on were sought.
    """

    model: str
    sha: str
    family: str
    threshold: float
    explained: bool


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Figures:
    """How well labelled claims are told apart, over all of them or those of one data set."""

    name: str
    n: int
    n_positive: int
    right: int
    balanced_accuracy: Estimate
    auroc: Estimate
    ece: float


@dataclass(frozen=True)
class Summary:
    """What there is to say of all claims together.

    ``figures`` has a line for each data set, and one for all labelled claims first; none without
    labels.
    """

    n: int
    n_documents: int
    n_supported: int
    n_truncated: int
    n_labelled: int
    figures: tuple[Figures, ...] = field(default=())


def summarise(found: Sequence[Assessment], threshold: float) -> Summary:
    """Count claims and compare them with their labels.

    Args:
        found: The assessments.
        threshold: The score that they were called supported above.
    """
    labelled = [one for one in found if one.claim.label is not None]
    names = list(dict.fromkeys(one.claim.dataset for one in labelled))
    groups = [("", labelled)] if labelled else []
    if len(names) > 1:
        groups += [(name, [one for one in labelled if one.claim.dataset == name]) for name in names]
    return Summary(
        n=len(found),
        n_documents=len({one.claim.document for one in found}),
        n_supported=sum(one.supported for one in found),
        n_truncated=sum(one.verdict.truncated for one in found),
        n_labelled=len(labelled),
        figures=tuple(_figures(name, own, threshold) for name, own in groups),
    )


def items_of(found: Sequence[Assessment]) -> list[metrics.Item]:
    """What the metrics need to know of labelled claims."""
    return [
        {
            "label": one.claim.label,
            "margin": one.verdict.margin,
            "document": metrics.document_id(one.claim.document),
        }
        for one in found
    ]


def _figures(name: str, found: Sequence[Assessment], threshold: float) -> Figures:
    items = items_of(found)
    bar = log_odds_of(threshold)
    shifted = [{**item, "margin": item["margin"] - bar} for item in items]
    return Figures(
        name=name,
        n=len(found),
        n_positive=sum(one.claim.label == 1 for one in found),
        right=sum(one.supported == (one.claim.label == 1) for one in found),
        balanced_accuracy=_estimate(metrics.balanced_accuracy, shifted),
        auroc=_estimate(metrics.auroc, items),
        ece=metrics.ece(items),
    )


def _estimate(statistic: Statistic, items: Sequence[metrics.Item]) -> Estimate:
    value = statistic(items)
    return Estimate(value) if math.isnan(value) else Estimate(value, *statistic.interval(items))
