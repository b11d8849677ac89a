"""Who proposes the next tokens: another model, the target's first layers, the text so far, no one.

A drafter keeps what it needs of each row of the batch, in the decoder's order of rows: a new row is
appended, and where a row leaves the last one takes its place. What it proposes never changes what
an invariant scheme writes, only how fast.

*n-gram* is prompt lookup (Saxena 2023): the last tokens are looked up in the prompt and the answer,
longest match first and latest place first, and what followed there is proposed.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness import HarnessError
from harness.models.blocks import home_of_blocks
from harness_specdecode.decoding.rounds import Round
from harness_specdecode.decoding.schemes import Draft
from harness_specdecode.decoding.slots import PREFILL_TOKENS, SlotModel, padded

LONGEST_MATCH = 3
CATCH_UP = 16
"""Tokens that a drafter reads in one pass, where rows differ in what it has not read."""
_ORDINARY = 2  # a row's last token, and the one before if a whole draft was right
_NO_COST = 0.0


class Drafter(ABC):
    """Proposes tokens.

    Attributes:
        cost: What one drafted token costs, in forward passes of the target.
        calls: Forward passes made for drafting.
    """

    cost = _NO_COST
    calls = 0

    def enter(self, prompts: Sequence[Sequence[int]]) -> None:
        """Append rows with these prompts."""
        return

    def leave(self, row: int, last: int) -> None:
        """Drop a row; row ``last`` takes its place."""
        return

    def unread(self, texts: Sequence[Sequence[int]]) -> int:
        """Tokens to read before drafting, beyond those of the round before, in all rows."""
        return 0

    @abstractmethod
    def propose(self, current: Round) -> Draft:
        """At most ``current.counts[i]`` tokens for row i."""


class NoDrafter(Drafter):
    """Plain decoding: one token a forward pass."""

    def propose(self, current: Round) -> Draft:
        return certain([[] for _ in current.texts])


class NGramDrafter(Drafter):
    """Prompt lookup."""

    def __init__(self) -> None:
        self._places: list[dict[tuple[int, ...], int]] = []
        self._read: list[int] = []

    def enter(self, prompts: Sequence[Sequence[int]]) -> None:
        self._places += [{} for _ in prompts]
        self._read += [0] * len(prompts)

    def leave(self, row: int, last: int) -> None:
        self._places[row], self._read[row] = self._places[last], self._read[last]
        self._places.pop()
        self._read.pop()

    def propose(self, current: Round) -> Draft:
        found = [
            self._continuation(row, text, count)
            for row, (text, count) in enumerate(zip(current.texts, current.counts, strict=True))
        ]
        if current.course is not None:
            m = current.course.length_of([len(some) for some, _ in found], [n for _, n in found])
            found = [(some[:m], n) for some, n in found]
        return certain([some for some, _ in found])

    def _continuation(self, row: int, text: Sequence[int], count: int) -> tuple[list[int], int]:
        """What followed the longest match, and the match's length."""
        places = self._places[row]
        for end in range(self._read[row], len(text)):  # of n-grams that something follows
            for n in range(1, min(LONGEST_MATCH, end) + 1):
                places[tuple(text[end - n : end])] = end
        self._read[row] = len(text)
        for n in range(min(LONGEST_MATCH, len(text)), 0, -1):
            place = places.get(tuple(text[-n:]))
            if place is not None:
                return list(text[place : place + count]), n
        return [], 0


class ModelDrafter(Drafter):
    """A smaller model with the target's vocabulary and a cache of its own.

    It reads a prompt, and what is written in rounds without drafts, when it is first to draft: a
    drafter that does not pay costs nothing.

    Args:
        model: Slots for the same rows as the target's.
        cost: Forward passes of the target that one of its own takes.
    """

    def __init__(self, model: SlotModel, cost: float) -> None:
        self._model = model
        self.cost = cost
        self._held: list[int] = []  # tokens in the cache of each row
        self._drafted: list[tuple[int, list[int]]] = []  # those of its draft, and where it began

    def enter(self, prompts: Sequence[Sequence[int]]) -> None:
        self._held += [0] * len(prompts)
        self._drafted += [(0, [])] * len(prompts)

    def leave(self, row: int, last: int) -> None:
        if row != last:
            self._model.move(last, row, self._held[last])
        self._held[row], self._drafted[row] = self._held[last], self._drafted[last]
        self._held.pop()
        self._drafted.pop()

    def unread(self, texts: Sequence[Sequence[int]]) -> int:
        pairs = zip(texts, self._held, strict=True)
        return sum(max(0, len(text) - held - _ORDINARY) for text, held in pairs)

    def propose(self, current: Round) -> Draft:
        steps = max(current.counts)
        tokens, made = current.start(), []
        for j in range(steps):
            if j and not current.more():
                break
            if j == 0:
                logits = self._catch_up(current.texts)
            else:
                starts = [len(text) + j - 1 for text in current.texts]
                logits = self._model.step(tokens[:, -1:], starts)[:, 0]
            self.calls += 1
            new, distribution = current.draw(logits, j, tokens)
            tokens = torch.cat([tokens, new.unsqueeze(-1)], dim=-1)
            if distribution is not None:
                made.append(distribution)
        if steps:
            self._drafted = [
                (len(text), row[:-1])
                for text, row in zip(current.texts, tokens.tolist(), strict=True)
            ]
            self._held = [begin + len(row) for begin, row in self._drafted]
        counts = [min(count, tokens.shape[1]) for count in current.counts]
        beside = current.course.beside() if steps and current.course is not None else []
        return Draft(tokens, counts, made, beside)

    def _true(self, row: int, text: Sequence[int]) -> int:
        """Tokens in the cache that are the text's: what was drafted may not have been written."""
        begin, drafted = self._drafted[row]
        pairs = zip(drafted, text[begin:], strict=False)
        right = next((k for k, (a, b) in enumerate(pairs) if a != b), len(drafted))
        return min(self._held[row], begin + right, len(text) - 1)

    def _catch_up(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Logits [n, V] behind each text; a fully accepted draft left a token unread."""
        self._read_prompts(texts)
        held = [self._true(row, text) for row, text in enumerate(texts)]
        new = [text[h:] for h, text in zip(held, texts, strict=True)]
        while max(map(len, new)) > CATCH_UP:
            parts = [row[: min(CATCH_UP, len(row) - 1)] for row in new]
            self._model.step(padded(parts, CATCH_UP), held)
            held = [h + len(part) for h, part in zip(held, parts, strict=True)]
            new = [row[len(part) :] for row, part in zip(new, parts, strict=True)]
        logits = self._model.step(padded(new, max(map(len, new))), held)
        ends = torch.tensor([len(row) - 1 for row in new], device=logits.device)
        return logits[torch.arange(len(new), device=logits.device), ends]

    def _read_prompts(self, texts: Sequence[Sequence[int]]) -> None:
        """Read texts of which nothing was read, neighbours in one pass."""
        unread = [i for i, h in enumerate(self._held) if h == 0 and len(texts[i]) > CATCH_UP]
        while unread:
            longest = max(len(texts[i]) for i in unread)
            group = [i for k, i in enumerate(unread) if i == unread[0] + k]
            group = group[: max(1, PREFILL_TOKENS // longest)]
            self._model.prefill(group, [texts[i][:-1] for i in group])
            for i in group:
                self._held[i] = len(texts[i]) - 1
                self._drafted[i] = len(texts[i]) - 1, []
            unread = unread[len(group) :]


def certain(rows: Sequence[Sequence[int]]) -> Draft:
    """A draft without distributions.

    Args:
        rows: Ids proposed in each row.
    """
    width = max(map(len, rows))
    return Draft(padded(rows, width), [len(row) for row in rows])


def first_layers(model: Any, layers: int) -> Any:
    """A model of the target's first layers, its last norm and its head; weights are shared.

    Raises:
        HarnessError: There are not so many layers, or they are not found.
    """
    try:
        base, name = home_of_blocks(model)
    except HarnessError as cause:
        raise HarnessError(f"early:{layers}: {cause}") from cause
    blocks = getattr(base, name)
    if not 0 < layers < len(blocks):
        raise HarnessError(f"early:{layers}: give 1 to {len(blocks) - 1} layers of {len(blocks)}")
    shallow = _sibling(base)
    shallow._modules[name] = nn.ModuleList(list(blocks)[:layers])
    return _with(model, base, shallow)


def _sibling(module: nn.Module) -> nn.Module:
    """The same module, of which submodules can be exchanged."""
    twin = copy.copy(module)
    twin.__dict__ = dict(module.__dict__)
    twin._modules = dict(module._modules)
    return twin


def _with(module: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """A copy of a module in which a part, however deep, is exchanged."""
    if module is old:
        return new
    twin = _sibling(module)
    for name, part in module._modules.items():
        if part is not None and any(inner is old for inner in part.modules()):
            twin._modules[name] = _with(part, old, new)
    return twin
