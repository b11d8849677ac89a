"""What every wrapper does around an lm-eval model, whatever its method and whatever runs the model.

A wrapper is a mixin in front of lm-eval's own class, so that all of that class stays as it is:

    class MajorityMixin(Wrapper): …
    class MajorityHF(MajorityMixin, HFLM): …
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from harness.errors import HarnessError, one_line
from harness.host.lm_eval_seams import uses_cache
from harness.testbed import resolve

_Base: Any = object  # whatever the mixin is put in front of
_FAULTS = (OSError, ValueError, AssertionError, RuntimeError, TypeError)


class Wrapper(_Base):  # type: ignore[misc]  # lm-eval is untyped
    """Put in front of an lm-eval model's class.

    Attributes:
        cannot_load: The start of the message where the model cannot be made; ``{}`` is its name.
        no_use_cache: Why lm-eval's ``--use_cache``, which keeps answers by prompt alone, would
            give wrong ones; None where the prompt alone decides.

    Args:
        pretrained: Model id or path, ``testbed:NAME``, or a loaded model.
        **kwargs: As for the class behind.

    Raises:
        HarnessError: The model cannot be made.
    """

    cannot_load: ClassVar[str] = "model {} cannot be loaded"
    no_use_cache: ClassVar[str | None] = None
    cache_hook: Any

    def __init__(self, pretrained: Any, **kwargs: Any) -> None:
        path = resolve(pretrained) if isinstance(pretrained, str) else pretrained
        try:
            super().__init__(pretrained=path, **kwargs)
        except _FAULTS as cause:
            raise HarnessError(
                f"{self.cannot_load.format(pretrained)}: {one_line(cause)}"
            ) from cause

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Called by lm-eval; one with a cache behind it is that of ``--use_cache``.

        Raises:
            HarnessError: It would give wrong answers.
        """
        if self.no_use_cache and uses_cache(cache_hook):
            raise HarnessError(f"--use_cache keeps answers by prompt alone{self.no_use_cache}")
        super().set_cache_hook(cache_hook)

    def autocast(self) -> AbstractContextManager[Any]:
        """The mixed precision of lm-eval's ``hf``, for passes made beside its own."""
        import torch

        dtype = self.mixed_precision_dtype
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: the model's, and the tokenizer's end of turn."""
        ends = self.model.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        return frozenset(token for token in (*named, self.eot_token_id) if token is not None)
