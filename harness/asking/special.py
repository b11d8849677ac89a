"""Special tokens in what strangers wrote: text, and no token.

A tokenizer reads ``</s>`` or ``<|im_end|>`` in a text as the token of that name, so whoever writes
the text can end a turn, begin another, or put a claim of their own behind a separator.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


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
