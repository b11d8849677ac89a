r"""Rows of different length in one batch: each has a slot of a preallocated cache of its own.

A layer's keys and values are tensors [rows, heads, capacity, width]. A forward pass puts W tokens
behind the ℓ_i tokens that row i holds: they are scattered to places ℓ_i … ℓ_i + W − 1, and the
query at place t sees the keys at places ≤ t (and > t − window in sliding layers). So

- rows advance by different numbers of tokens, without padding between and without moving a row;
- going back is nothing but a smaller ℓ_i: what lies behind it is out of sight until overwritten;
- tokens that pad a row on the right lie behind it as well, and are out of sight in the same way;
- a token beside a chain of others sees that chain up to its own place, and itself, and stands at
  the position behind; if it is written, its keys are moved to that place (``settle``).

The model's own code runs unchanged: it is given a ``transformers.Cache``, position ids and a mask,
and its ``sdpa`` attention is exchanged for ``attention``'s. There is no mask where nothing but what
is ahead is out of sight: for prompts, and for one token a row where all rows are of one length.

Deliberate choice: sliding layers keep all keys and mask them, which costs memory and makes going
back exact. Families whose state is no list of keys cannot go back, and are refused; so is a
rotary embedding that depends on the longest row of a batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from harness import HarnessError
from harness.models.blocks import cache_name, inputs_at
from harness_specdecode.decoding.attention import groups, slot_attention
from harness_specdecode.decoding.products import quick_layers, quick_products

ONE_MASK = ("llama", "mistral", "gemma", "gpt2", "gpt_neox")
MASK_PER_KIND = ("qwen2", "qwen3", "gemma2", "gemma3", "gemma3_text")
FAMILIES = ONE_MASK + MASK_PER_KIND
_IMPLEMENTATIONS = ("eager", "sdpa")
PREFILL_TOKENS = 1 << 14
"""Tokens of prompts that are read in one pass."""
_BATCH_DEPENDENT = ("dynamic", "longrope")


@dataclass
class _Place:
    """Where a forward pass puts its keys."""

    rows: int = 0  # slots of the cache
    capacity: int = 0
    first: int = 0  # slot of this pass's first row; the others are behind it
    slots: Tensor = field(default_factory=lambda: torch.tensor(0))  # [n, W]
    common: int | None = None  # where every row starts, if it is the same place
    end: int = 0  # keys that can be seen by anyone
    fresh: bool = True  # nothing is there before

    def put(self, held: Tensor, new: Tensor) -> None:
        """Scatter new keys [n, heads, W, width] into those held [rows, heads, capacity, width]."""
        n, width = self.slots.shape
        if self.common is not None:
            held[self.first : self.first + n, :, self.common : self.common + width] = new
            return
        slots = self.slots.to(held.device)
        rows = torch.arange(self.first, self.first + n, device=held.device).unsqueeze(-1)
        held[rows, :, slots] = new.transpose(1, 2)


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped here
    """One layer's keys and values."""

    is_sliding = False
    is_croppable = True

    def __init__(self, place: _Place) -> None:
        super().__init__()
        self._place = place

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, capacity = self._place.rows, self._place.capacity
        self.keys, self.values = (
            # zeros: a place without a token has weight 0, and 0 · NaN would still be NaN
            new.new_zeros(rows, new.shape[1], capacity, new.shape[-1])
            for new in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._place.put(self.keys, key_states)
        self._place.put(self.values, value_states)
        if self._place.fresh:
            return key_states, value_states
        n, end = len(key_states), self._place.end
        return self.keys[:n, :, :end], self.values[:n, :, :end]

    def move(self, source: int, goal: int, length: int) -> None:
        for held in (self.keys, self.values):
            if held is not None:
                held[goal, :, :length] = held[source, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._place.end, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self._place.capacity


class SlotModel:
    """A causal language model with a slot for each row.

    Args:
        model: A transformers causal language model of one of ``FAMILIES``.
        rows: Number of slots.
        capacity: Tokens a slot holds, those of a pass that pad a row included.
        fixed_width: Pad every pass to this many tokens, to all rows and to all keys, so that
            rounding is the same whatever is decoded beside; 0 does not.
        autocast: Context of every pass.

    Raises:
        HarnessError: The model cannot be run this way.
    """

    def __init__(
        self,
        model: Any,
        *,
        rows: int,
        capacity: int,
        fixed_width: int = 0,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.config = supported(model)
        self.model = model
        self.rows, self.capacity, self.fixed_width = rows, capacity, fixed_width
        self.calls = 0
        self._autocast = autocast
        self._place = _Place(rows, capacity)
        self._cache = Cache(layer_class_to_replicate=lambda: _SlotLayer(self._place))
        self._cache_name = cache_name(model)
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._last_position = int(self.config.max_position_embeddings) - 1
        self._kind = str(self.config.model_type)
        self._window: int | None = getattr(self.config, "sliding_window", None)
        self._eager = self.config._attn_implementation == "eager"
        self._groups = 1 if self._eager else groups(self.config)
        self._quick = quick_layers(model)

    def prefill(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Put prompts into empty slots; those of one call are padded to one length.

        Args:
            rows: The slots, one behind the other.
            prompts: Their token ids; may be empty, but not all.
        """
        self._fill(rows, prompts, 1)

    def read(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """As ``prefill``, with the logits after each prompt's last token [n, V]."""
        ends = torch.tensor([len(prompt) for prompt in prompts]).unsqueeze(-1) - 1
        wanted = torch.arange(max(map(len, prompts))) == ends
        self.calls += 1
        with inputs_at(self.model.get_output_embeddings(), wanted.to(self.model.device)):
            return self._fill(rows, prompts, 0)[0]

    def _fill(self, rows: Sequence[int], prompts: Sequence[Sequence[int]], keep: int) -> Tensor:
        width = max(map(len, prompts))
        ids = padded(prompts, width)
        place = self._place
        place.first, place.common, place.fresh, place.end = rows[0], 0, True, width
        return self._forward(ids, torch.zeros(len(prompts), dtype=torch.int64), keep)

    def step(self, ids: Tensor, starts: Sequence[int], beside: Tensor | None = None) -> Tensor:
        """Logits after each of some tokens, put into the first n slots.

        Args:
            ids: Token ids [n, W].
            starts: Tokens each row holds before them [n].
            beside: Where the last L of them do not follow the others, but stand beside the chain of
                those: how many tokens of the chain, the first not counted, precede each [n, L].

        Returns:
            [n, W, V].
        """
        n, width = ids.shape
        begin = torch.tensor(starts, dtype=torch.int64)
        if self.fixed_width:
            assert beside is None, "a token beside the chain has no fixed place"
            missing = (0, self.fixed_width - width, 0, self.rows - n)
            ids = torch.nn.functional.pad(ids, missing)
            begin = torch.nn.functional.pad(begin, (0, self.rows - n))
        place = self._place
        alike = min(starts) == max(starts) and len(ids) == n
        place.first, place.common, place.fresh = 0, starts[0] if alike else None, False
        place.end = self.capacity if self.fixed_width else max(starts) + width
        self.calls += 1
        return self._forward(ids, begin, 0, beside)[:n, :width]

    @torch.inference_mode()
    def settle(self, rows: Sequence[int], sources: Sequence[int], goals: Sequence[int]) -> None:
        """Let the token at a place of a row's slot stand at another, one token a row."""
        places = torch.tensor([rows, sources, goals])
        for layer in self._cache.layers:
            for held in (layer.keys, layer.values):
                row, source, goal = places.to(held.device)
                held[row, :, goal] = held[row, :, source]

    @torch.inference_mode()
    def move(self, source: int, goal: int, length: int) -> None:
        """Let a row of ``length`` tokens go on in another slot."""
        for layer in self._cache.layers:
            layer.move(source, goal, length)

    @torch.inference_mode()
    def _forward(
        self, ids: Tensor, starts: Tensor, keep: int, beside: Tensor | None = None
    ) -> Tensor:
        device = self.model.device
        place = self._place
        slots = (starts.unsqueeze(-1) + torch.arange(ids.shape[1])).to(device)
        place.slots, before, positions = slots, slots, slots
        if beside is not None:
            chain = slots[:, : -beside.shape[1]]
            behind = starts.unsqueeze(-1).to(device) + beside.to(device)
            before, positions = torch.cat([chain, behind], 1), torch.cat([chain, behind + 1], 1)
        with self._autocast(), slot_attention(self.config), quick_products(self._quick):
            answer = self.model(
                input_ids=ids.to(device),
                attention_mask=self._masks(slots, before, positions),
                position_ids=positions.clamp(max=self._last_position),  # beyond it is padding alone
                use_cache=True,
                **{self._cache_name: self._cache},
                **({"logits_to_keep": keep} if self._keeps else {}),
            )
        logits: Tensor = answer.logits
        return logits[:, -keep:]

    def _masks(self, slots: Tensor, before: Tensor, positions: Tensor) -> Any:
        """What each query sees, [n, 1, W, end] or none, in the form that the family takes.

        Args:
            slots: Where each token is put [n, W].
            before: The last slot that it sees besides its own.
            positions: Its position in the text.
        """
        place, width = self._place, slots.shape[1]
        end, window = place.end, self._window or place.end
        keys = torch.arange(end, device=slots.device)
        at, last, own = (each[:, None, :, None] for each in (positions, before, slots))
        alone = place.fresh or (width == 1 and place.common is not None and not self.fixed_width)
        seen = (keys <= last) | (keys == own) if before is not slots else keys <= own
        causal = None if alone and not self._eager else self._additive(seen)
        sliding = causal
        if window < end:
            sliding = self._additive(seen & ((keys > at - window) | (keys == own)))
        if self._kind in ONE_MASK:
            return sliding if self._kind == "mistral" else causal
        return {"full_attention": causal, "sliding_attention": sliding}

    def _additive(self, seen: Tensor) -> Tensor:
        dtype = self.model.dtype
        mask = torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
        if self._groups > 1 and mask.shape[-2] > 1 and not self._place.fresh:
            mask = mask.repeat(1, 1, self._groups, 1)
        return mask


def padded(rows: Sequence[Sequence[int]], width: int) -> Tensor:
    """Ids of rows, filled up on the right [n, width]."""
    filled = [[*row, *[0] * (width - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.int64).reshape(len(rows), width)


def supported(model: Any) -> Any:
    """The configuration of a model's decoder.

    Raises:
        HarnessError: The model's rows cannot be rolled back one by one.
    """
    config = model.config.get_text_config()
    name = config.model_type
    if name not in FAMILIES:
        raise HarnessError(
            f"model of type {name} cannot be decoded speculatively: its state must be keys and "
            f"values that can be rolled back row by row; supported types: {', '.join(FAMILIES)}"
        )
    if config._attn_implementation not in _IMPLEMENTATIONS:
        raise HarnessError(
            f"attn_implementation={config._attn_implementation} takes no mask of each row's own: "
            f"give attn_implementation=sdpa or eager"
        )
    if getattr(config, "use_bidirectional_attention", None):
        raise HarnessError(f"model of type {name} attends in both directions and is no decoder")
    if any(kind in str(getattr(config, "rope_parameters", "")) for kind in _BATCH_DEPENDENT):
        raise HarnessError(
            f"model of type {name} has a rotary embedding that depends on the longest row of a "
            f"batch (dynamic or longrope): its answers would depend on what is decoded beside them"
        )
    return config
