"""LLM-AggreFact in lm-eval's terms: the prompt of a row, and the items of its metrics."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.responses import margin, trace_of
from harness_factcg.scoring import prompt


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The question put to a generative model: the whole document, then the claim."""
    return prompt(doc["doc"], doc["claim"])


def process_results(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, dict[str, Any]]:
    """One item a metric; that of the balanced accuracy also keeps the model's trace.

    Args:
        doc: A row of LLM-AggreFact.
        results: The answers for the choices No and Yes, in this order.

    Raises:
        HarnessError: The model gave no number.
    """
    no, yes = results
    document = hashlib.sha256(doc["doc"].encode()).hexdigest()[:16]
    item = {"label": doc["label"], "margin": margin(no, yes), "document": document}
    if math.isnan(item["margin"]):
        raise HarnessError(
            f"no score for the claim {doc['claim'][:80]!r}: log P(No) = {no[0]}, log P(Yes) = "
            f"{yes[0]}; the model overflows in its number format, try dtype=float32"
        )
    plain = dict.fromkeys(("balanced_accuracy_ci95", "auroc", "auroc_ci95"), item)
    return {"balanced_accuracy": item | trace_of(yes), **plain}
