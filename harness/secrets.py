"""Which names hold a secret, and which part of an address does: one rule for all that is shown.

What a user passes on (arguments of models and judges) and what strangers publish (their results)
are judged alike.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_TELLING = re.compile(
    r"key(?!word)|token(?!i[sz])|secret|passw|passphrase|pwd|bearer|cookie|credential|header"
    r"|auth(?!or(?!i[sz]))",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"(add_|use_|custom_)?(bos|eos|pad|unk|sep|cls|mask|end|start|prefix|image|think_end)_token(_id)?"
    r"|(max|min|num|n|batch)_(\w+_)?tokens?"
    r"|(is_)?(causal_)?(key|token)_?(value|type|padding)\w*",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a value of this name must not be seen.

    >>> [is_secret(n) for n in ("openaiApiKey", "HF_TOKEN", "tokenizer", "max_tokens", "author")]
    [True, True, False, False, False]
    """
    return bool(_TELLING.search(name)) and not _HARMLESS.fullmatch(name)


def bare_address(address: str) -> str:
    """An address without user, password, query and fragment, where keys travel.

    >>> bare_address("https://me:secret@host:8000/v1?api_key=1")
    'https://host:8000/v1'
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(not an address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
