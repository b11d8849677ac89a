"""What vLLM counts of its drafts, from its own metrics.

    vllm:spec_decode_num_drafts                      drafts checked, an n-gram not found is none
    vllm:spec_decode_num_draft_tokens                tokens in them            ``proposed``
    vllm:spec_decode_num_accepted_tokens             of these, right           ``accepted``
    vllm:spec_decode_num_accepted_tokens_per_pos     at each place of a draft  ``accepted_at``

They are sums over all requests and never fall, so what a call of the engine did is a difference.
Right tokens behind an answer's end are among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_PREFIX = "vllm:spec_decode_num_"
_WRITTEN = "vllm:generation_tokens"


@dataclass(frozen=True)
class DraftCounts:
    """Counts since an engine's start, or of some time.

    Args:
        drafts: Drafts checked.
        proposed: Tokens drafted.
        accepted: Of these, right.
        accepted_at: How often the draft's j-th token was right.
        written: Tokens generated.
    """

    drafts: int = 0
    proposed: int = 0
    accepted: int = 0
    accepted_at: tuple[int, ...] = ()
    written: int = 0

    @classmethod
    def of(cls, metrics: Iterable[Any]) -> DraftCounts:
        """From what ``LLM.get_metrics`` returns."""
        found: dict[str, Any] = {}
        for metric in metrics:
            value = metric.values if hasattr(metric, "values") else getattr(metric, "value", None)
            found[metric.name] = value
        return cls(
            drafts=found.get(_PREFIX + "drafts", 0),
            proposed=found.get(_PREFIX + "draft_tokens", 0),
            accepted=found.get(_PREFIX + "accepted_tokens", 0),
            accepted_at=tuple(found.get(_PREFIX + "accepted_tokens_per_pos", ())),
            written=found.get(_WRITTEN, 0),
        )

    def since(self, before: DraftCounts) -> DraftCounts:
        """What was added after ``before``."""
        earlier = before.accepted_at or (0,) * len(self.accepted_at)
        return DraftCounts(
            self.drafts - before.drafts,
            self.proposed - before.proposed,
            self.accepted - before.accepted,
            tuple(now - then for now, then in zip(self.accepted_at, earlier, strict=True)),
            self.written - before.written,
        )

    def totals(self) -> dict[str, Any]:
        """By the names that ``hf-speculative`` uses."""
        return {
            "drafts": self.drafts,
            "proposed": self.proposed,
            "accepted": self.accepted,
            "accepted_at": list(self.accepted_at),
        }


def share(totals: dict[str, Any], part: float) -> dict[str, Any]:
    """An answer's share of what is known of a batch alone.

    Args:
        totals: Numbers, or lists of numbers, of the batch.
        part: The answer's tokens over the batch's.

    Returns:
        The same, times ``part``.
    """
    return {
        name: [part * one for one in value] if isinstance(value, list) else part * value
        for name, value in totals.items()
    }


def added(totals: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Sums of two batches' totals."""
    found = dict(totals)
    for name, value in more.items():
        if isinstance(value, list):
            old = found.get(name) or [0] * len(value)
            found[name] = [a + b for a, b in zip(old, value, strict=True)]
        else:
            found[name] = found.get(name, 0) + value
    return found
