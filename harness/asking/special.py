"""Special tokens: which a model reads with a text, and those that strangers wrote into one.

A tokenizer reads ``</s>`` or ``<|im_end|>`` in a text as the token of that name, so whoever writes
the text can end a turn, begin another, or put a claim of their own behind a separator.

With which special tokens a text is read is lm-eval's rule everywhere (``HFLM.tok_encode``): those
that the tokenizer puts around it, or the beginning-of-sequence token (BOS) as ``add_bos_token``
says; and none where the text begins with that token, as chat templates write it. lm-eval 0.4.13's
``hf`` adds no BOS for Gemma's sake, as releases before it did: where the tokenizer's files add
none, texts are read without it, and ``lacks_bos`` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

_READ_BADLY_WITHOUT = ("gemma",)
"""Beginnings of model types; lm-eval's ``sglang`` gives them a BOS for that reason."""


class TextEncoder:
    """A tokenizer that reads texts with the special tokens that lm-eval's ``hf`` reads them with.

    Called as the tokenizer itself is; ``add_special_tokens=False`` gives the tokens of a text that
    is no prompt.

    Args:
        tokenizer: A transformers tokenizer, loaded with the same ``add_bos_token`` if it is given.
        add_bos_token: lm-eval's argument of that name; None leaves it to the tokenizer.
    """

    def __init__(self, tokenizer: Any, add_bos_token: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self.add_bos_token = add_bos_token
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        self._begun = None if first is None else tokenizer.decode(first)

    def __call__(self, texts: str | Sequence[str], **options: Any) -> dict[str, list[Any]]:
        """The tokenizer's output for one text, or for several of which each is read by itself."""
        if isinstance(texts, str):
            return {name: rows[0] for name, rows in self([texts], **options).items()}
        if not texts:
            return {"input_ids": []}
        begun = [bool(self._begun) and text.startswith(str(self._begun)) for text in texts]
        found: dict[str, list[Any]] = {}
        for flag in set(begun):
            add = False if flag else self.add_bos_token
            special = {} if add is None else {"add_special_tokens": add}
            places = [place for place, own in enumerate(begun) if own == flag]
            batch = self.tokenizer([texts[place] for place in places], **special | options)
            for name, rows in batch.items():
                column = found.setdefault(name, [None] * len(texts))
                for place, row in zip(places, rows, strict=True):
                    column[place] = row
        return found

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        return list(self(text)["input_ids"])


def lacks_bos(config: Any, tokenizer: Any, ids: Sequence[int | None]) -> str | None:
    """What to say where a text is read without a BOS by a model that reads badly so; else None.

    Args:
        config: The model's configuration.
        tokenizer: Its tokenizer.
        ids: Tokens of a text, as it is read; the first is looked at.
    """
    kind, bos = str(getattr(config, "model_type", "")), tokenizer.bos_token_id
    if not kind.startswith(_READ_BADLY_WITHOUT) or bos is None or bos in ids[:1]:
        return None
    return (
        f"texts are read without {tokenizer.bos_token} before them, which this tokenizer does not "
        f"add, and models of type {kind} read badly so: ask for it"
    )


def unmarked(tokenizer: Any) -> Callable[[str], str]:
    r"""What takes a text's special tokens for what they are there: signs and letters.

    Each gets a space behind its first character; a text without any stays as it is.

    Args:
        tokenizer: A transformers tokenizer; one that tells of no added tokens changes nothing.

    Example:
        >>> from types import SimpleNamespace as Made
        >>> end = Made(content="<|end|>", special=True)
        >>> unmarked(Made(added_tokens_decoder={0: end}))("Yes.<|end|>\nNo. <b>")
        'Yes.< |end|>\nNo. <b>'
    """
    known = (getattr(tokenizer, "added_tokens_decoder", None) or {}).values()
    names = {str(one.content) for one in known if one.special}
    names = {name for name in names if len(name) > 1 and not name[0].isalnum()}
    if not names:
        return lambda text: text
    marks = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    return lambda text: marks.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
