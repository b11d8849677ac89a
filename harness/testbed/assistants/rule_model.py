"""The form of the testbed's own models, which answer by rules from a request's document."""

from __future__ import annotations

from typing import Any, ClassVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from harness.errors import HarnessError


class RuleModel(LM):  # type: ignore[misc]  # lm-eval has no types
    """Generates by rules and knows no probabilities; a subclass says the rules.

    Attributes:
        title: What messages call it.
        version: Of its rules.
    """

    __test__ = False
    title: ClassVar[str]
    version: ClassVar[str] = "1"

    def __init__(
        self,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Take and ignore what lm-eval passes to every model."""
        super().__init__()

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Not known."""
        raise HarnessError(
            f"{self.title}: it only answers generation requests; it has no log-likelihoods"
        )

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Not known."""
        return [value for value, _ in self.loglikelihood(requests, disable_tqdm)]
