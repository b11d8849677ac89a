r"""Metrics of ``taid_fidelity`` and ``taid_generation``, with intervals over rows.

Fidelity. An item holds the figures of each token of one row (``fidelity.FIGURES``). Means, the 90 %
and 99 % quantiles and the calibration error are over all tokens of all rows; standard errors and
intervals resample rows, as tokens of one row belong together. A quantile is the smallest value that
the stated share of the tokens does not exceed. The exposure-bias gap is the mean KL along the
student's own samples less that along the references of the same rows.

Perplexity is the exponential of the mean of −ln q over the tokens of the references.

Calibration: in 15 bins of equal width, how far the student's confidence in its most likely token
lies from the share of tokens where that token follows, averaged over tokens. It has no interval:
resampling adds noise to every bin, so its resamples lie above the value.

Generation. An item holds an answer's figures; see ``texts``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness import Statistic
from harness.statistics import Floats
from harness_taid.metrics import texts

BINS = 15


class Measured:
    """A row's figures by name, shown in samples by their number alone: one metric keeps them all.

    Args:
        figures: For each name one number a token.
    """

    def __init__(self, figures: Mapping[str, Sequence[float]]) -> None:
        self._figures = figures

    def __getitem__(self, name: str) -> Sequence[float]:
        return self._figures[name]

    def __str__(self) -> str:
        return f"{len(next(iter(self._figures.values()), ()))} tokens"


Item = Measured | Mapping[str, Any]


def _sums(items: Sequence[Item], name: str) -> tuple[Floats, Floats]:
    """Sum of a figure and number of tokens of each row [rows]."""
    sums = np.array([np.sum(item[name]) for item in items], dtype=np.float64)
    return sums, np.array([len(item[name]) for item in items], dtype=np.float64)


def _mean(name: str, items: Sequence[Item], weights: Floats) -> Floats:
    sums, counts = _sums(items, name)
    with np.errstate(invalid="ignore"):  # an infinite divergence of a row that is not drawn
        found: Floats = (weights @ sums) / (weights @ counts)
    return found


def quantile(name: str, share: float, items: Sequence[Item], weights: Floats) -> Floats:
    """The quantile of a figure over tokens, each with its row's weight.

    Args:
        name: The figure.
        share: Between 0 and 1.
        items: One a row [rows].
        weights: [B, rows].

    Returns:
        [B].
    """
    values = np.concatenate([np.asarray(item[name], dtype=np.float64) for item in items])
    rows = np.repeat(np.arange(len(items)), [len(item[name]) for item in items])
    order = np.argsort(values, kind="stable")
    values, rows = values[order], rows[order]
    found = np.empty(len(weights))
    for place, row in enumerate(weights):  # one at a time: there may be millions of tokens
        below = np.cumsum(row[rows])
        found[place] = values[np.searchsorted(below, share * below[-1] * (1 - 1e-12))]
    return found


def _gap(one: str, other: str, items: Sequence[Item], weights: Floats) -> Floats:
    return _mean(one, items, weights) - _mean(other, items, weights)


def calibration_error(items: Sequence[Item], weights: Floats) -> Floats:
    """The expected calibration error [B] for weights [B, rows]."""
    table = np.zeros((len(items), BINS + 1))
    for place, item in enumerate(items):
        confidence = np.asarray(item["confidence"], dtype=np.float64)
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        np.add.at(table[place], bins, np.asarray(item["correct"]) - confidence)
        table[place, BINS] = len(confidence)
    totals = weights @ table
    found: Floats = np.abs(totals[:, :BINS]).sum(1) / totals[:, BINS]
    return found


_SHARE, _FROM_ZERO = (0.0, 1.0), (0.0, math.inf)
_BOUNDS = {
    **dict.fromkeys(("forward_kl", "reverse_kl"), _FROM_ZERO),
    **dict.fromkeys(("tvd", "top1", "top5", "teacher_head", "student_head"), _SHARE),
    "jsd": (0.0, math.log(2)),
}


def _of(name: str, figure: str | None = None) -> Statistic:
    of = figure or name
    return Statistic(
        f"{__name__}.{name}",
        lambda items, weights: _mean(of, items, weights),
        bounds=_BOUNDS[of],
    )


def _perplexity_of(side: str) -> Statistic:
    return Statistic(
        f"{__name__}.{side}_perplexity",
        lambda items, weights: np.exp(_mean(f"{side}_nll", items, weights)),
        bounds=(1.0, math.inf),
    )


def _quantile_of(figure: str, percent: int) -> Statistic:
    return Statistic(
        f"{__name__}.{figure}_q{percent}",
        lambda items, weights: quantile(figure, percent / 100, items, weights),
        bounds=_BOUNDS[figure],
    )


def _gap_of(name: str, one: str, other: str) -> Statistic:
    return Statistic(f"{__name__}.{name}", lambda items, w: _gap(one, other, items, w))


def _share_beyond(name: str, figure: str) -> Statistic:
    return Statistic(
        f"{__name__}.{name}", lambda items, w: 1 - _mean(figure, items, w), bounds=_SHARE
    )


forward_kl = _of("forward_kl")
forward_kl_ci95 = forward_kl.ci95
forward_kl_q90, forward_kl_q99 = (_quantile_of("forward_kl", p) for p in (90, 99))
reverse_kl = _of("reverse_kl")
reverse_kl_ci95 = reverse_kl.ci95
reverse_kl_q90, reverse_kl_q99 = (_quantile_of("reverse_kl", p) for p in (90, 99))
jsd = _of("jsd")
jsd_ci95 = jsd.ci95
jsd_q90, jsd_q99 = (_quantile_of("jsd", p) for p in (90, 99))
tvd = _of("tvd")
tvd_ci95 = tvd.ci95
tvd_q90, tvd_q99 = (_quantile_of("tvd", p) for p in (90, 99))
acceptance = _share_beyond("acceptance", "tvd")
acceptance_ci95 = acceptance.ci95
top1_agreement = _of("top1_agreement", "top1")
top1_agreement_ci95 = top1_agreement.ci95
top5_agreement = _of("top5_agreement", "top5")
entropy_gap = _gap_of("entropy_gap", "student_entropy", "teacher_entropy")
teacher_head_mass = _of("teacher_head_mass", "teacher_head")
student_head_mass = _of("student_head_mass", "student_head")
teacher_tail_mass = _share_beyond("teacher_tail_mass", "teacher_head")
student_tail_mass = _share_beyond("student_tail_mass", "student_head")
student_perplexity, teacher_perplexity = map(_perplexity_of, ("student", "teacher"))
student_perplexity_ci95 = student_perplexity.ci95
ece = Statistic(f"{__name__}.ece", calibration_error, bounds=_SHARE)
exposure_bias = _gap_of("exposure_bias", "forward_kl", "reference_forward_kl")
exposure_bias_ci95 = exposure_bias.ci95
exposure_bias_reverse = _gap_of("exposure_bias_reverse", "reverse_kl", "reference_reverse_kl")


# Generation


def answer_figures(text: str, reference: str) -> dict[str, float]:
    """ROUGE-L and lengths of an answer against a reference."""
    return {
        "rouge_l": texts.rouge_l(text, reference),
        "words": texts.length(text),
        "reference_words": texts.length(reference),
    }


def _mean_rouge(items: Sequence[Mapping[str, float]], weights: Floats) -> Floats:
    values = np.array([item["rouge_l"] for item in items], dtype=np.float64)
    found: Floats = weights @ values / weights.sum(1)
    return found


def _length_ratio(items: Sequence[Mapping[str, float]], weights: Floats) -> Floats:
    written, wanted = (
        weights @ np.array([item[name] for item in items], dtype=np.float64)
        for name in ("words", "reference_words")
    )
    found = np.full(len(weights), np.nan)
    np.divide(written, wanted, out=found, where=wanted > 0)
    return found


def distinct_1(answers: Sequence[str]) -> float:
    """Distinct-1 of all answers."""
    return texts.distinct(answers, 1)


def distinct_2(answers: Sequence[str]) -> float:
    """Distinct-2 of all answers."""
    return texts.distinct(answers, 2)


def distinct_3(answers: Sequence[str]) -> float:
    """Distinct-3 of all answers."""
    return texts.distinct(answers, 3)


rouge_l = Statistic(f"{__name__}.rouge_l", _mean_rouge, bounds=_SHARE)
rouge_l_ci95 = rouge_l.ci95
rouge_l_teacher = Statistic(f"{__name__}.rouge_l_teacher", _mean_rouge, bounds=_SHARE)
rouge_l_teacher_ci95 = rouge_l_teacher.ci95
length_ratio = Statistic(f"{__name__}.length_ratio", _length_ratio, bounds=_FROM_ZERO)
length_ratio_teacher = Statistic(
    f"{__name__}.length_ratio_teacher", _length_ratio, bounds=_FROM_ZERO
)
