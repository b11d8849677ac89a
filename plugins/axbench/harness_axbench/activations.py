"""Activations at the output of one decoder block, in one truncated forward pass over many texts.

The site of a layer ``l`` (0-indexed) is the output of block ``l``, which is ``hidden_states[l+1]``
of transformers. The pass stops there: no block above it runs, and no vocabulary head.

A token takes part from position p on, p being the number of leading tokens that any two exchanges
share (Gemma: 4, ``<bos><start_of_turn>user`` and a line break). Positions are counted on the
attention mask, so padding on either side changes nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import DataError, HarnessError
from harness_axbench.data import whole_text

log = logging.getLogger(__name__)

_PROBES = ("alpha", "Moon 7", "the", "Zebra!")


class _Stop(Exception):  # noqa: N818 -- control flow within this module, never seen outside
    """Ends a forward pass at the block whose output is wanted."""


@dataclass(frozen=True)
class Activations:
    """One batch: which texts, their hidden states, and which tokens count.

    Attributes:
        texts: Index of each row's text. [batch]
        hidden: Block outputs in fp32. [batch, tokens, hidden]
        counted: Whether a token is real and at or behind the prefix. [batch, tokens]
    """

    texts: list[int]
    hidden: Tensor
    counted: Tensor


def blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of a transformers model, adapters unwrapped.

    Raises:
        HarnessError: The model has no list of blocks under a known name.
    """
    unwrap: Any = getattr(model, "get_base_model", None)
    inner: Any = unwrap() if unwrap else model
    for _ in range(4):  # a decoder may lie a few wrappers deep
        for name in ("layers", "h", "blocks"):
            found = getattr(inner, name, None)
            if isinstance(found, nn.ModuleList):
                return found
        for name in ("model", "language_model", "decoder", "transformer", "gpt_neox"):
            if isinstance(getattr(inner, name, None), nn.Module):
                inner = getattr(inner, name)
                break
        else:
            break
    raise HarnessError(f"{type(model).__name__} has no list of decoder blocks that can be found")


def block(model: nn.Module, layer: int) -> nn.Module:
    """Decoder block ``layer``, 0-indexed.

    Raises:
        HarnessError: The model has no such block; the message names the range.
    """
    every = blocks(model)
    if not 0 <= layer < len(every):
        raise HarnessError(f"layer {layer} does not exist: the model has 0 … {len(every) - 1}")
    return every[layer]


def hidden_of(output: Any) -> Tensor:
    """The hidden states in a block's output, which is a tensor or a tuple that begins with it."""
    hidden: Tensor = output if isinstance(output, Tensor) else output[0]
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """A block's output with other hidden states."""
    return hidden if isinstance(output, Tensor) else (hidden, *output[1:])


@contextmanager
def added(module: nn.Module, vectors: Tensor) -> Iterator[None]:
    """Add vectors to a block's output at every position, while the context lasts.

    Args:
        module: The decoder block.
        vectors: One vector for all rows, or one a row. [1 or batch, 1, hidden]

    Raises:
        HarnessError: A batch comes that is no multiple of the rows noted.
    """

    def add(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = hidden_of(output)
        own = vectors.to(device=hidden.device, dtype=hidden.dtype)
        if own.shape[0] not in (1, hidden.shape[0]):
            copies, rest = divmod(hidden.shape[0], own.shape[0])
            if rest:
                raise HarnessError(
                    f"steering was set up for {own.shape[0]} rows, the batch has {hidden.shape[0]}"
                )
            own = own.repeat_interleave(copies, dim=0)  # beams and several answers a prompt
        return with_hidden(output, hidden + own)

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def block_output(model: nn.Module, layer: int, ids: Tensor, mask: Tensor) -> Tensor:
    """Hidden states behind block ``layer``; nothing above it is computed.

    Args:
        model: A transformers model.
        layer: The block, 0-indexed.
        ids: Token ids. [batch, tokens]
        mask: Attention mask. [batch, tokens]

    Returns:
        Hidden states in fp32. [batch, tokens, hidden]
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        kept.append(hidden_of(output))
        raise _Stop

    handle = block(model, layer).register_forward_hook(keep)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "position_ids" in inspect.signature(model.forward).parameters:
        inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
    try:
        model(**inputs, use_cache=False)
    except _Stop:
        return kept[0].float()
    finally:
        handle.remove()
    raise HarnessError(f"block {layer} of {type(model).__name__} was not run in a forward pass")


def counted_tokens(mask: Tensor, prefix: int) -> Tensor:
    """Which tokens [batch, tokens] are real and behind the prefix, wherever the padding is."""
    real = mask.bool()
    return real & (real.cumsum(-1) > prefix)


class Reader:
    """Turns rows into token ids and streams their activations.

    Args:
        model: A transformers model.
        tokenizer: Its tokenizer.
        layer: The block to read, 0-indexed.
        batch_size: Texts a forward pass.
        prefix: Leading tokens that do not count; by default counted on the tokenizer.
        chat: Whether to use the chat template; by default where the tokenizer has one.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        *,
        layer: int,
        batch_size: int = 8,
        prefix: int | None = None,
        chat: bool | None = None,
    ) -> None:
        self.model, self.tokenizer, self.layer = model, tokenizer, layer
        self.batch_size = batch_size
        self.chat = bool(tokenizer.chat_template) if chat is None else chat
        self.prefix = self._shared_prefix() if prefix is None else prefix
        block(model, layer)

    def _shared_prefix(self) -> int:
        rows = [{"input": text, "output": None} for text in _PROBES]
        first, *others = [self.encode(row) for row in rows]
        for place, token in enumerate(first):
            if any(len(ids) <= place or ids[place] != token for ids in others):
                return place
        return len(first)

    def encode(self, row: Mapping[str, Any]) -> list[int]:
        """Token ids of a row: the whole exchange; of the user's turn alone without an output."""
        if not self.chat:
            text = row["input"] if row["output"] is None else whole_text(row)
            return list(self.tokenizer(text)["input_ids"])
        turns = [{"role": "user", "content": row["input"]}]
        if row["output"] is not None:
            turns.append({"role": "assistant", "content": row["output"]})
        text = self.tokenizer.apply_chat_template(turns, tokenize=False)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def stream(self, rows: Sequence[Mapping[str, Any]], title: str) -> Iterator[Activations]:
        """Activations of all rows, in batches of like length, longest first.

        Texts beyond the model's length are cut at the end.

        Raises:
            DataError: A text has no token behind the prefix.
            HarnessError: An activation is not a number; the message names the text.
        """
        from tqdm import tqdm

        encoded = self._cut([self.encode(row) for row in rows])
        for row, ids in zip(rows, encoded, strict=True):
            if len(ids) <= self.prefix:
                raise DataError(f"no token behind the prefix of {self.prefix} in {_shown(row)}")
        order = sorted(range(len(encoded)), key=lambda i: (-len(encoded[i]), i))
        with tqdm(total=len(order), desc=title, unit="text") as bar:
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                yield self._read([encoded[i] for i in chosen], chosen, rows)
                bar.update(len(chosen))

    def _cut(self, encoded: list[list[int]]) -> list[list[int]]:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        long = sum(len(ids) > limit for ids in encoded) if limit else 0
        if long:
            log.warning(
                "%d of %d texts are longer than the model's %d tokens and lose their end",
                long,
                len(encoded),
                limit,
            )
        return [ids[:limit] for ids in encoded]

    def _read(
        self, encoded: list[list[int]], chosen: list[int], rows: Sequence[Mapping[str, Any]]
    ) -> Activations:
        width = max(map(len, encoded))
        ids = torch.zeros(len(encoded), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        device = next(self.model.parameters()).device
        ids, mask = ids.to(device), mask.to(device)
        hidden = block_output(self.model, self.layer, ids, mask)
        counted = counted_tokens(mask, self.prefix)
        sound = torch.isfinite(hidden).all(-1) | ~counted
        if not bool(sound.all()):
            bad = int((~sound).any(1).nonzero()[0])
            raise HarnessError(
                f"activations of layer {self.layer} are not finite for "
                f"{_shown(rows[chosen[bad]])}; try another dtype"
            )
        return Activations(chosen, hidden, counted)


def _shown(row: Mapping[str, Any]) -> str:
    text = " ".join(whole_text(row).split())
    return repr(text if len(text) <= 80 else text[:79] + "…")
