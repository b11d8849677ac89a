"""Forward passes: which rows each process reads at once, padded to their longest or packed.

A global batch is a list of rows, the same for every process; its rows are shared out by length and
read in forward passes of at most ``device_batch`` rows, or, packed, of at most ``room`` tokens. How
that is done changes no loss: each pass adds up its tokens' losses, divided by the tokens counted in
the whole batch. Every process makes as many passes as the others; one that has no rows left reads a
row of which nothing is counted.

Packed, a pass is one row of several exchanges. Their positions begin at 0 each, from which
transformers makes a mask that keeps attention within an exchange:

    tokens      a a a a b b b c c
    positions   0 1 2 3 0 1 2 0 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness_taid.data.exchanges import Item


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How rows come into forward passes.

    Attributes:
        device_batch: Rows a pass, at most, where they are padded.
        room: Tokens a pass, at most, where they are packed; 0 for padding.
        loss_on: ``response`` or ``all``.
        processes: How many share a batch.
    """

    device_batch: int
    room: int = 0
    loss_on: str = "response"
    processes: int = 1


@dataclass(frozen=True, eq=False)
class Pass:
    """What a forward pass reads, and the n tokens that it counts, exchange by exchange.

    Attributes:
        ids: Token ids [rows, tokens].
        mask: Where a token is, [rows, tokens]; None where rows are packed.
        positions: Each token's place in its exchange, [rows, tokens]; None where rows are padded.
        predicting: [n] places, in ``ids`` as one line, of the tokens before the counted ones.
        labels: [n] the counted tokens.
        items: The exchanges, in the order of their tokens; none where nothing is counted.
        counts: Counted tokens of each.
    """

    ids: Tensor
    mask: Tensor | None
    positions: Tensor | None
    predicting: Tensor
    labels: Tensor
    items: tuple[Item, ...]
    counts: tuple[int, ...]

    def to(self, device: torch.device) -> Pass:
        """The same on a device."""
        return replace(
            self,
            ids=self.ids.to(device),
            mask=None if self.mask is None else self.mask.to(device),
            positions=None if self.positions is None else self.positions.to(device),
            predicting=self.predicting.to(device),
            labels=self.labels.to(device),
        )


def shares(items: Sequence[Item], layout: Layout) -> list[list[list[Item]]]:
    """For each process its passes' items; an empty pass fills up where others have more.

    Args:
        items: The global batch.
        layout: How it is read.
    """
    ordered = sorted(items, key=lambda item: -len(item.ids))
    found = []
    for rank in range(layout.processes):
        own = ordered[rank :: layout.processes]
        if layout.room:
            found.append(packed(own, layout.room))
        else:
            size = layout.device_batch
            found.append([own[start : start + size] for start in range(0, len(own), size)])
    most = max(map(len, found))
    return [passes + [[]] * (most - len(passes)) for passes in found]


def packed(items: Sequence[Item], room: int) -> list[list[Item]]:
    """Items in bins of at most ``room`` tokens, first fit; a longer one has a bin of its own.

    >>> import numpy as np
    >>> items = [Item(np.zeros(n, np.int32), 1) for n in (5, 4, 3, 2)]
    >>> [[len(item.ids) for item in bin] for bin in packed(items, 7)]
    [[5, 2], [4, 3]]
    """
    bins: list[list[Item]] = []
    free: list[int] = []
    for item in items:
        length = len(item.ids)
        place = next((n for n, left in enumerate(free) if length <= left), None)
        if place is None:
            bins.append([item])
            free.append(max(0, room - length))
        else:
            bins[place].append(item)
            free[place] -= length
    return bins


def collate(items: Sequence[Item], layout: Layout, spare: Item, pad: int) -> Pass:
    """One forward pass.

    Args:
        items: Its exchanges; none for a pass that counts nothing.
        layout: Padded or packed, and what is counted.
        spare: What a pass that counts nothing reads.
        pad: The padding token.
    """
    read = list(items) or [spare]
    starts = [item.start(layout.loss_on) for item in read]
    if layout.room:
        line = torch.cat([torch.from_numpy(item.ids) for item in read]).long()
        positions = torch.cat([torch.arange(len(item.ids)) for item in read]).unsqueeze(0)
        ids, mask, firsts = line.unsqueeze(0), None, _firsts([len(item.ids) for item in read])
    else:
        width = max(len(item.ids) for item in read)
        ids = torch.full((len(read), width), pad, dtype=torch.long)
        mask, positions = torch.zeros_like(ids), None
        for row, item in enumerate(read):
            ids[row, : len(item.ids)] = torch.from_numpy(item.ids)
            mask[row, : len(item.ids)] = 1
        firsts = [row * width for row in range(len(read))]
    counted = torch.cat(
        [
            torch.arange(first + start, first + len(item.ids))
            for first, start, item in zip(firsts, starts, read, strict=True)
        ]
    )
    if not items:
        counted = counted[:0]
    counts = tuple(item.counted(layout.loss_on) for item in items)
    labels = ids.flatten()[counted]
    return Pass(ids, mask, positions, counted - 1, labels, tuple(items), counts)


def _firsts(lengths: Sequence[int]) -> list[int]:
    """Where each of some pieces begins when they stand in a line."""
    return [sum(lengths[:n]) for n in range(len(lengths))]
