r"""A language model's head: from its last hidden states to logits.

    z = s · (W h + b),   then   z ← c · tanh(z / c)   where the model caps its logits (Gemma-2)

    >>> head = Head.of(model)                                  # no copy: the model's own weight
    >>> hidden = model.base_model(ids).last_hidden_state[0]    # [tokens, hidden]
    >>> torch.allclose(head.logits(hidden), model(ids).logits[0].float(), atol=1e-5)
    True

Vocabularies. A head is often padded with rows that no token has (Qwen2.5: 151,936 rows in the small
models, 152,064 in the large ones, for 151,665 tokens). With ``vocabulary=len(tokenizer)`` those
rows are left out, so that teacher and student have the same ids. An id that a head lacks is −∞,
never 0: a logit of 0 would be a probability like another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import HarnessError

_PLAIN = (
    "gemma gpt2 gpt_neo gpt_neox llama mistral mixtral olmo olmo2 opt phi phi3 qwen2 qwen2_moe "
    "qwen3 qwen3_moe smollm3 stablelm"
)
_CAPPED = "gemma2 gemma3_text"  # by config.final_logit_softcapping, which may be None
_MULTIPLIED = "cohere cohere2"  # by config.logit_scale
_DIVIDED = "granite granitemoe"  # by config.logits_scaling
KINDS = tuple(sorted(f"{_PLAIN} {_CAPPED} {_MULTIPLIED} {_DIVIDED}".split()))


@dataclass(frozen=True, eq=False)
class Head:
    """The last linear map of a language model, with what follows it.

    Attributes:
        weight: [rows, hidden].
        vocabulary: How many ids the logits have: rows beyond it are left out, ids beyond the rows
            are −∞.
        bias: [rows], or None.
        softcap: c above, or None.
        scale: s above.
    """

    weight: Tensor
    vocabulary: int
    bias: Tensor | None = None
    softcap: float | None = None
    scale: float = 1.0

    @classmethod
    def of(cls, model: Any, *, vocabulary: int | None = None) -> Head:
        """The head of a transformers model, of a PEFT model also; its weight is not copied.

        Args:
            model: A causal language model.
            vocabulary: ``len(tokenizer)``; by default the head's rows.

        Raises:
            HarnessError: What the model does after its last hidden state is not known here.
        """
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        config, name = inner.config, type(inner).__name__
        if config.model_type not in KINDS or not name.endswith(("ForCausalLM", "LMHeadModel")):
            raise HarnessError(
                f"{name} ({config.model_type}): its head is not known; known are the causal "
                f"language models of {', '.join(KINDS)}"
            )
        linear = inner.get_output_embeddings()
        plain = isinstance(linear, nn.Linear) and type(linear).forward is nn.Linear.forward
        if not plain:
            raise HarnessError(
                f"{name}: its head is a {type(linear).__name__}, not a plain linear layer; leave "
                "adapters and quantisation off the head"
            )
        return cls(
            linear.weight,
            vocabulary or linear.weight.shape[0],
            linear.bias,
            _softcap(config),
            _scale(config),
        )

    @property
    def rows(self) -> int:
        """Rows of the weight that logits are made of."""
        return min(self.vocabulary, self.weight.shape[0])

    def prepared(self) -> Head:
        """This head without its surplus rows, without gradients, in the type that is computed in.

        Under autocast the weight is copied to autocast's type; otherwise nothing is copied.
        """
        device = self.weight.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else self.weight.dtype
        bias = None if self.bias is None else self.bias.detach()[: self.rows].to(dtype)
        weight = self.weight.detach()[: self.rows].to(dtype)
        return replace(self, weight=weight, bias=bias)

    def linear(self, hidden: Tensor) -> Tensor:
        """W h + b for hidden states [n, hidden]: [n, rows], in the weight's type."""
        bias = None if self.bias is None else self.bias[: self.rows]
        return functional.linear(hidden.to(self.weight.dtype), self.weight[: self.rows], bias)

    def finish(self, linear: Tensor) -> Tensor:
        """Logits [n, vocabulary], float32, of what ``linear`` gave."""
        logits = linear.float()
        if self.scale != 1:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return widened(logits, self.vocabulary)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [n, vocabulary], float32, of hidden states [n, hidden]."""
        return self.finish(self.linear(hidden))


def widened(logits: Tensor, vocabulary: int) -> Tensor:
    """Logits [n, rows] with −∞ for ids from ``rows`` on: [n, vocabulary]."""
    missing = vocabulary - logits.shape[-1]
    return functional.pad(logits, (0, missing), value=-torch.inf) if missing > 0 else logits


def aligned(logits: Tensor, vocabulary: int) -> Tensor:
    """Logits [n, rows] with padding ids cut off and missing ids at −∞: [n, vocabulary]."""
    return widened(logits[..., :vocabulary], vocabulary)


def _softcap(config: Any) -> float | None:
    cap = config.final_logit_softcapping if config.model_type in _CAPPED.split() else None
    return None if cap is None else float(cap)


def _scale(config: Any) -> float:
    if config.model_type in _MULTIPLIED.split():
        return float(config.logit_scale)
    if config.model_type in _DIVIDED.split():
        return 1 / float(config.logits_scaling)
    return 1.0
