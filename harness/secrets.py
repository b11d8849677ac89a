"""Secrets: which names and values are some, and how they are passed on without being seen.

One rule for all that is written, printed or raised. What a user passes on (arguments of models and
judges) is sealed as soon as it is read: models get the value, everybody else sees that there is
one. What strangers publish (their results) is shown without it. Messages and logs are struck
through for what this process knows to be a secret and for what looks like one.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "(hidden)"
_SHORTEST = 4  # a shorter text is no secret, and striking it out would garble messages
_SHORTEST_IN_ENVIRONMENT = 8

# -- names

_TELLING = re.compile(
    r"key(?!word)|token(?!i[sz])|secret|passw|passphrase|pwd|bearer|cookie|credential|header"
    r"|auth(?!or(?!i[sz]))|signature|private|jwt|(?<![a-z])(sig|sas|pat|pin|pw)(?![a-z])",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"(add_|use_|custom_)?(bos|eos|pad|unk|sep|cls|mask|end|start|prefix|image|think_end)_token(_id)?"
    r"|(max|min|num|n|batch)_(\w+_)?tokens?"
    r"|(is_)?(causal_)?(key|token)_?(value|type|padding)\w*"
    r"|(\w+_)?(private|public)_split",
    re.IGNORECASE,
)


@lru_cache(4096)
def is_secret(name: str) -> bool:
    """Whether a value of this name must not be seen.

    >>> [is_secret(n) for n in ("openaiApiKey", "HF_TOKEN", "tokenizer", "max_tokens", "author")]
    [True, True, False, False, False]
    """
    return bool(_TELLING.search(name)) and not _HARMLESS.fullmatch(name)


# -- values

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}[^\s\"'<>`{}|\\^]+", re.IGNORECASE)
_ISSUED = (  # forms in which services issue keys
    r"(?:sk|pk|rk)-[\w-]{16,}|hf_\w{16,}|gh[opsur]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|xox[abeprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|gsk_\w{16,}|r8_\w{16,}"
    r"|nvapi-[\w-]{16,}|tvly-[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
_KEYS = re.compile(
    rf"(?<![\w-])(?:{_ISSUED})|(?<=Bearer )\S{{8,}}|(?<=Basic )[\w+/]{{12,}}={{0,2}}"
)
_RUN = re.compile(r"(?<![\w/])[A-Za-z0-9]{24,}(?!\w)")
_CHANGES = 0.45  # random letters and digits change their kind at .62 of places, CamelCase at .3


def _looks_random(run: str) -> bool:
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in run]
    changes = sum(a != b for a, b in itertools.pairwise(kinds))
    return len(set(kinds)) == 3 and changes >= _CHANGES * (len(run) - 1)


def bare_address(address: str) -> str:
    """An address without user, password and query, where keys travel, nor a fragment.

    >>> bare_address("https://me:secret@host:8000/v1?api_key=1")
    'https://host:8000/v1'
    """
    if "://" not in address:  # as a path it loses one of its slashes
        return bare_address(address.replace(":/", "://", 1)).replace("://", ":/", 1)
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(not an address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def masked(text: str) -> str:
    """A text without credentials in its addresses, nor what looks like a key.

    >>> masked("see https://me:secret@host/v1?a=1, sent with sk-abcdefghijklmnopqrst")
    'see https://host/v1 sent with (hidden)'
    """
    if ":/" in text:
        text = _ADDRESS.sub(lambda found: bare_address(found[0]), text)
    text = _KEYS.sub(HIDDEN, text)
    return _RUN.sub(lambda found: HIDDEN if _looks_random(found[0]) else found[0], text)


def without_secrets(value: Any) -> Any:
    """The same structure of plain values, each secret replaced by ``(hidden)``."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if is_secret(str(key)) and inner is not None else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value


# -- sealing


class Secret:
    """A value that shows as something else wherever it is printed or saved.

    Args:
        value: What the model gets.
        shown: What everybody else sees; by default nothing of it.
    """

    def __init__(self, value: Any, shown: str = HIDDEN) -> None:
        self.value = value
        self.shown = shown
        remember(value, shown)

    def __repr__(self) -> str:
        return self.shown


def seal(value: Any, name: str = "") -> Any:
    """The same structure with secrets sealed.

    Secret is each value of a telling name (key, token, header, …), what an address holds besides
    scheme, host and path, and what looks like a key.
    """
    if isinstance(value, Secret) or value is None:
        return value
    if is_secret(name):
        return Secret(value)
    if isinstance(value, Mapping):
        return {key: seal(part, str(key)) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [seal(part) for part in value]
    if isinstance(value, str) and (shown := masked(value)) != value:
        return Secret(value, shown)
    return value


def unseal(value: Any) -> Any:
    """The same structure with secrets in the open, for the model's constructor."""
    if isinstance(value, Mapping):
        return {key: unseal(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [unseal(part) for part in value]
    return value.value if isinstance(value, Secret) else value


def opened(values: Mapping[str, Any]) -> dict[str, Any]:
    """A run's options with values in the open; what is sealed deeper stays so."""
    return {k: v.value if isinstance(v, Secret) else v for k, v in values.items()}


def public(value: Any) -> Any:
    """The same sealed structure as anybody may see it, without what is hidden whole."""
    if isinstance(value, Mapping):
        return {k: public(part) for k, part in value.items() if str(part) != HIDDEN}
    if isinstance(value, (list, tuple)):
        return [public(part) for part in value]
    return value.shown if isinstance(value, Secret) else value


def hidden(value: Any) -> Iterator[str]:
    """Names of the sealed arguments."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, Secret):
                yield str(name)
            yield from hidden(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from hidden(part)


# -- what is known

_known: set[str] = set()


def remember(value: Any, shown: str = HIDDEN) -> None:
    """Strike a secret out of messages and logs from now on.

    Args:
        value: The secret; of a structure all that is in it.
        shown: What everybody may see of it.
    """
    _known.update(text for text in _texts(value, shown) if len(text) >= _SHORTEST)
    guard_logs()


def _texts(value: Any, shown: str) -> Iterator[str]:
    """The texts that a sealed value must not show."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part, HIDDEN)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part, HIDDEN)
    elif shown == HIDDEN:
        if value is not None and not isinstance(value, bool):
            yield str(value).removeprefix("Bearer ").strip()
    else:
        for address in _ADDRESS.findall(str(value)):
            try:
                parts = urlsplit(address)
            except ValueError:
                continue
            yield from (text for text in (parts.password, parts.query) if text)


def _in_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if is_secret(name) and len(value) >= _SHORTEST_IN_ENVIRONMENT and not value.startswith("/"):
            yield value


def struck(text: str) -> str:
    """A text without the secrets that this process knows, nor what looks like one."""
    for secret in sorted({*_known, *_in_environment()}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return masked(text)


def data_striker() -> Callable[[str], str]:
    """Strikes texts of data: the secrets known now, and keys of the forms that services issue.

    Addresses and words that only look random are what the data are and stay.
    """
    known = sorted({*_known, *_in_environment()}, key=len, reverse=True)

    def strike(text: str) -> str:
        for secret in known:
            text = text.replace(secret, HIDDEN)
        return _KEYS.sub(HIDDEN, text)

    return strike


def guard_logs() -> None:
    """Strike secrets out of whatever is logged from now on, and of the errors logged with it.

    lm-eval logs a failed request whole, with its Authorization header, and the server's reply.
    """
    stock = logging.getLogRecordFactory()
    if isinstance(stock, _Guarded):
        return
    logging.setLogRecordFactory(_Guarded(stock))


class _Guarded:
    def __init__(self, stock: Callable[..., logging.LogRecord]) -> None:
        self.stock = stock

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.stock(*args, **kwargs)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 -- logging itself tells of it
            return record
        if (clean := struck(message)) != message:
            record.msg, record.args = clean, ()
        if record.exc_info and any(struck(said) != said for said in _said(record.exc_info[1])):
            record.exc_text = struck(logging.Formatter().formatException(record.exc_info))
        return record


def _said(error: BaseException | None) -> Iterator[str]:
    """What an exception says, and each that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield str(error)
        error = error.__cause__ or error.__context__
