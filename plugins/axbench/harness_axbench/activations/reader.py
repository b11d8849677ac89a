"""Activations at the output of one decoder block, in one truncated forward pass over many texts.

The pass stops at the block: nothing above it runs, and no vocabulary head.

A token takes part from position p on, p being the number of leading tokens that any two exchanges
share (Gemma: 4, ``<bos><start_of_turn>user`` and a line break). Positions are counted on the
attention mask, so padding on either side changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness import DataError, HarnessError, block
from harness.asking.special import TextEncoder, lacks_bos
from harness_axbench.activations.blocks import block_output
from harness_axbench.data.concepts import whole_text

log = logging.getLogger(__name__)

_PROBES = ("alpha", "Moon 7", "the", "Zebra!")


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


def counted_tokens(mask: Tensor, prefix: int) -> Tensor:
    """Which tokens [batch, tokens] are real and behind the prefix, wherever the padding is."""
    real = mask.bool()
    return real & (real.cumsum(-1) > prefix)


def bos_of(encoder: TextEncoder, *, chat: bool) -> int | None:
    """The beginning-of-sequence token that texts are read with; None where there is none."""
    bos: int | None = encoder.tokenizer.bos_token_id
    first = encoder.ids(_text_of(encoder.tokenizer, {"input": _PROBES[0], "output": None}, chat))
    return bos if bos is not None and first[:1] == [bos] else None


def _text_of(tokenizer: Any, row: Mapping[str, Any], chat: bool) -> str:
    if not chat:
        return str(row["input"]) if row["output"] is None else whole_text(row)
    turns = [{"role": "user", "content": row["input"]}]
    if row["output"] is not None:
        turns.append({"role": "assistant", "content": row["output"]})
    return str(tokenizer.apply_chat_template(turns, tokenize=False))


class Reader:
    """Turns rows into token ids and streams their activations.

    Args:
        model: A transformers model.
        tokenizer: Its tokenizer.
        layer: The block to read, 0-indexed.
        batch_size: Texts a forward pass.
        prefix: Leading tokens that do not count; by default counted on the tokenizer.
        chat: Whether to use the chat template; by default where the tokenizer has one.
        add_bos_token: Whether a beginning-of-sequence token is put before texts that begin with
            none, as for lm-eval's ``hf``; None leaves it to the tokenizer.

    Attributes:
        bos: The beginning-of-sequence token that texts are read with; None where there is none.
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
        add_bos_token: bool | None = None,
    ) -> None:
        self.model, self.tokenizer, self.layer = model, tokenizer, layer
        self.batch_size = batch_size
        self.chat = bool(tokenizer.chat_template) if chat is None else chat
        self.encoder = TextEncoder(tokenizer, add_bos_token)
        self.bos = bos_of(self.encoder, chat=self.chat)
        if said := lacks_bos(model.config, tokenizer, [self.bos]):
            log.warning("%s: --add-bos-token (a model's argument: add_bos_token=True)", said)
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
        return self.encoder.ids(self._text(row))

    def encode_exchange(self, row: Mapping[str, Any]) -> tuple[list[int], int]:
        """Token ids of a whole exchange, and how many of them come before the response.

        Raises:
            HarnessError: The tokenizer cannot say where its tokens lie in the text.
        """
        text = self._text(row)
        asked = self._asked(row)
        # a template may end the question otherwise when an answer follows
        begin = len(asked) if text.startswith(asked) else text.rindex(str(row["output"]).strip())
        if not self.tokenizer.is_fast:
            raise HarnessError(
                f"{type(self.tokenizer).__name__} gives no token offsets, which training on "
                f"responses needs; install the fast tokenizer of this model"
            )
        found = self.encoder(text, return_offsets_mapping=True)
        spans = found["offset_mapping"]
        before = sum(end <= begin or (end > start and start < begin) for start, end in spans)
        return list(found["input_ids"]), before

    def _text(self, row: Mapping[str, Any]) -> str:
        return _text_of(self.tokenizer, row, self.chat)

    def _asked(self, row: Mapping[str, Any]) -> str:
        """The text up to where the response begins."""
        if not self.chat:
            return f"{row['input']}\n"
        turns = [{"role": "user", "content": row["input"]}]
        return str(
            self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )

    def stream(self, rows: Sequence[Mapping[str, Any]], title: str) -> Iterator[Activations]:
        """Activations of all rows, in batches of like length, longest first.

        Texts beyond the model's length are cut at the end.

        Raises:
            DataError: A text has no token behind the prefix.
            HarnessError: An activation is not a number; the message names the text.
        """
        from tqdm import tqdm

        encoded = self.cut([self.encode(row) for row in rows])
        for row, ids in zip(rows, encoded, strict=True):
            if len(ids) <= self.prefix:
                raise DataError(f"no token behind the prefix of {self.prefix} in {shown(row)}")
        order = sorted(range(len(encoded)), key=lambda i: (-len(encoded[i]), i))
        with tqdm(total=len(order), desc=title, unit="text") as bar:
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                yield self._read([encoded[i] for i in chosen], chosen, rows)
                bar.update(len(chosen))

    def cut(self, encoded: list[list[int]]) -> list[list[int]]:
        """Token ids within the model's length; what is longer loses its end, with a warning."""
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
        hidden = block_output(self.model, self.layer, ids, mask).float()
        counted = counted_tokens(mask, self.prefix)
        sound = torch.isfinite(hidden).all(-1) | ~counted
        if not bool(sound.all()):
            bad = int((~sound).any(1).nonzero()[0])
            raise HarnessError(
                f"activations of layer {self.layer} are not finite for "
                f"{shown(rows[chosen[bad]])}; try another dtype"
            )
        return Activations(chosen, hidden, counted)


def shown(row: Mapping[str, Any]) -> str:
    """The beginning of a row's text, for a message."""
    text = " ".join(whole_text(row).split())
    return repr(text if len(text) <= 80 else text[:79] + "…")
