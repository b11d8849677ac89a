"""A causal language model run token by token on rows of different length."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Stepper:
    """Runs a model on left-padded prompts, then one token a row at a time, with its own cache.

    Args:
        model: A transformers causal language model.
        prompts: Token ids of each row; at least one token each.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        self._takes = inspect.signature(model.forward).parameters
        self._cache: Any = None
        width = max(map(len, prompts))
        padded = [[0] * (width - len(row)) + list(row) for row in prompts]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in prompts]
        self._ids = torch.tensor(padded, device=model.device)
        self._mask = torch.tensor(mask, device=model.device)

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Logits [rows, vocabulary] of the token that comes next."""
        new = self._ids.shape[1]
        options: dict[str, Any] = {"logits_to_keep": 1}
        options["position_ids"] = (self._mask.cumsum(-1) - 1).clamp_(min=0)[:, -new:]
        answer = self._model(
            input_ids=self._ids,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            **{name: value for name, value in options.items() if name in self._takes},
        )
        self._cache = answer.past_key_values
        found: Tensor = answer.logits[:, -1]
        return found

    def append(self, tokens: Tensor) -> None:
        """Put one token [rows] behind each row."""
        self._ids = tokens.to(self._ids.device).unsqueeze(-1)
        self._mask = torch.cat([self._mask, torch.ones_like(self._ids)], dim=-1)
