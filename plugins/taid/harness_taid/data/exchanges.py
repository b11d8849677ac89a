r"""Exchanges as token ids: a prompt and the response that follows it, within the limits.

With a chat template the prompt ends where the assistant's answer begins, and the response ends with
the token that ends a turn; without one, prompt and response stand together as they are, and the
response ends with the tokenizer's end token (``framing``). Of a conversation the last answer is
taken whose prompt, all messages before it, is not too long. Prompt and response are tokenized
apart, as they are when a model answers.

A response that is too long is cut (and then has no end); a prompt that is too long, an empty
response, or an answer that the template does not let stand behind its prompt, drops its row. What
was dropped and cut is counted, and so are responses with the text of a special token.

    template          <s><|user|>\nTell me more.\n<|assistant|>\n   It is late.</s>
    tokens            |------------------ prompt ------------------|--- response ---|
    counted           -------------------------------------------- xxxxxxxxxxxxxxxxx
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from harness import DataError, Row
from harness.asking.special import TextEncoder
from harness_taid.data.framing import Framed, Framing
from harness_taid.data.rows import columns_of, messages_of

Ids = npt.NDArray[np.int32]
LOSS_ON = ("response", "all")
_SLICE = 1024
_DEV_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Item:
    """One exchange.

    Attributes:
        ids: Token ids of the prompt and the response.
        prompt: How many of them are the prompt's.
    """

    ids: Ids
    prompt: int

    def start(self, loss_on: str) -> int:
        """The first token that is counted; the token before it predicts it."""
        return 1 if loss_on == "all" else max(1, self.prompt)

    def counted(self, loss_on: str) -> int:
        """How many tokens are."""
        return len(self.ids) - self.start(loss_on)

    @property
    def key(self) -> str:
        """A hash of its content."""
        head = self.prompt.to_bytes(4, "little")
        return hashlib.sha256(head + self.ids.tobytes()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many tokens an exchange, its prompt and its response may have."""

    total: int = 2048
    prompt: int = 1536
    response: int = 512


@dataclass
class Encoded:
    """The exchanges, and what did not become one.

    Attributes:
        items: Those that are left.
        dropped: Rows that were dropped, by reason.
        cut: Responses that were cut.
        special: Responses with the text of a special token.
    """

    items: list[Item]
    dropped: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    special: int = 0

    def told(self, what: str) -> str | None:
        """The losses in a line; None where there are none."""
        parts = [f"{count} dropped ({reason})" for reason, count in sorted(self.dropped.items())]
        if self.cut:
            parts.append(f"{self.cut} responses cut")
        if self.special:
            parts.append(f"{self.special} with the text of a special token in the response")
        return f"{what}: {len(self.items)} rows used, {', '.join(parts)}" if parts else None


class Encoder:
    """Makes token ids of rows.

    Args:
        tokenizer: The student's tokenizer.
        template: A chat template; empty for none.
        limits: How long an exchange may be.
        add_bos_token: Whether a beginning-of-sequence token is put before a prompt that begins with
            none, as for lm-eval's ``hf``; None leaves it to the tokenizer.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        limits: Limits,
        *,
        add_bos_token: bool | None = None,
    ) -> None:
        self._read = TextEncoder(tokenizer, add_bos_token)
        self._end = tokenizer.eos_token_id
        self._adds_end = self._end is not None and self._read.ids("x")[-1:] == [self._end]
        self._template = template
        self._limits = limits
        self._framing = Framing(tokenizer, template)

    def encode(self, rows: Sequence[Row], name: str, *, progress: bool = False) -> Encoded:
        """The rows in their order.

        Args:
            rows: What ``sources`` reads.
            name: Names the data in messages.
            progress: Whether a bar is shown.

        Raises:
            DataError: A row is broken, or none is left.
        """
        found = Encoded([])
        starts = range(0, len(rows), _SLICE)
        for start in tqdm(starts, desc="Tokenizing", disable=not progress or len(starts) < 2):
            part = rows[start : start + _SLICE]
            self._encode(
                [self._turns(row, f"{name}, row {start + n}") for n, row in enumerate(part, 1)],
                found,
            )
        if not found.items:
            lost = ", ".join(f"{count}: {reason}" for reason, count in found.dropped.items())
            raise DataError(f"{name}: no row of {len(rows)} can be used ({lost})")
        return found

    def _turns(self, row: Row, where: str) -> list[Framed | str]:
        """Every answer of a row behind its prompt, or why it cannot be; the last one first."""
        messages = messages_of(row, where)
        if messages is None:
            prompt, response = columns_of(row, where)
            if not self._template:
                found = [self._framing.plain(prompt, response)]
                return [one for one in found if isinstance(one, str) or one.answer.strip()]
            messages = [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": response},
            ]
        elif not self._template:
            raise DataError(
                f"{where} has messages, but neither tokenizer has a chat template: give prompt and "
                "response columns"
            )
        answers = [n for n, m in enumerate(messages) if m["role"] == "assistant" and n]
        return [
            self._framing.frame(messages[: n + 1], where)
            for n in reversed(answers)
            if messages[n]["content"].strip()
        ]

    def _encode(self, turns: list[list[Framed | str]], found: Encoded) -> None:
        """Encode each row's last answer whose prompt fits; rows keep their order."""
        done: list[Item | str | None] = [None if row else "empty response" for row in turns]
        while places := [n for n, item in enumerate(done) if item is None]:
            framed: dict[int, Framed] = {}
            for n in places:
                answer = turns[n].pop(0)
                if isinstance(answer, str):
                    done[n] = answer
                else:
                    framed[n] = answer
            prompts = self._prompts([one.prompt for one in framed.values()])
            responses = self._framing.tokens(list(framed.values()))
            for n, prompt, response in zip(framed, prompts, responses, strict=True):
                if len(prompt) <= self._limits.prompt:
                    done[n] = self._item(prompt, response, framed[n], found)
                elif not turns[n]:
                    done[n] = f"prompt over {self._limits.prompt} tokens"
        for item in done:
            if isinstance(item, Item):
                found.items.append(item)
            else:
                found.dropped[str(item)] += 1

    def _prompts(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        rows = self._read(texts, verbose=False)["input_ids"]
        if self._adds_end:  # of what a tokenizer puts around a text, its end is not wanted
            rows = [row[:-1] if row[-1:] == [self._end] else row for row in rows]
        return [list(row) for row in rows]

    def _item(
        self, prompt: list[int], response: list[int], framed: Framed, found: Encoded
    ) -> Item | str:
        room = min(self._limits.response, self._limits.total - len(prompt))
        if room < 1 or not response or not prompt:
            return "no room for a response" if room < 1 else "empty prompt or response"
        if framed.literal and not self._framing.ends.isdisjoint(response[:-1]):
            return "an end token in the response"  # a tokenizer that knows no other way
        found.cut += len(response) > room
        found.special += framed.special
        return Item(np.array([*prompt, *response[:room]], dtype=np.int32), len(prompt))


def bos_in(items: Sequence[Item], tokenizer: Any) -> int | None:
    """The beginning-of-sequence token that exchanges are read with; None where there is none."""
    bos: int | None = tokenizer.bos_token_id
    return bos if bos is not None and items[0].ids[:1].tolist() == [bos] else None


def split(items: Sequence[Item], count: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Items to train on, and at most ``count`` held out, at most a tenth of all, in their order.

    Items of one prompt stay together: what is held out has prompts that are not trained on. Where
    every prompt has more items than are wanted, one prompt is held out.
    """
    groups: dict[bytes, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item.ids[: item.prompt].tobytes(), []).append(place)
    parts = list(groups.values())
    random.Random(f"split {seed}").shuffle(parts)
    wanted = min(count, int(_DEV_SHARE * len(items)))
    held: set[int] = set()
    for part in parts:
        if len(held) + len(part) <= wanted:
            held.update(part)
    if wanted and not held and len(parts) > 1:  # every prompt has more exchanges than that
        smallest = min(parts, key=len)
        held.update(smallest)
    train = [item for place, item in enumerate(items) if place not in held]
    return train, [items[place] for place in sorted(held)]


def content_hash(items: Iterable[Item]) -> str:
    """SHA-256 of some items in their order."""
    found = hashlib.sha256()
    for item in items:
        found.update(item.key.encode())
    return found.hexdigest()
