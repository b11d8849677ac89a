"""Secrets among a model's arguments: passed on to the model, never printed, saved or logged."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_SECRET = re.compile("key|token|secret|password|authorization|header|credential", re.IGNORECASE)
_NO_SECRET = frozenset(
    (
        *("tokenizer", "tokenizer_backend", "tokenizer_mode", "tokenizer_revision"),
        *("tokenized_requests", "use_fast_tokenizer", "add_bos_token", "prefix_token_id"),
        *("custom_prefix_token_id", "think_end_token", "max_tokens", "max_num_batched_tokens"),
    )
)
_SHORTEST = 4  # a shorter text is no secret, and striking it out would garble messages


class Secret:
    """A value that shows as ``(hidden)`` wherever it is printed or saved."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "(hidden)"


def seal(value: Any, name: str = "") -> Any:
    """The same structure with each value of a telling name (key, token, header, …) sealed."""
    if isinstance(value, Secret) or value is None:
        return value
    if _SECRET.search(name) and name not in _NO_SECRET:
        return Secret(value)
    if isinstance(value, Mapping):
        return {key: seal(part, str(key)) for key, part in value.items()}
    return value


def unseal(value: Any) -> Any:
    """The same structure with secrets in the open, for the model's constructor."""
    if isinstance(value, Mapping):
        return {key: unseal(part) for key, part in value.items()}
    return value.value if isinstance(value, Secret) else value


def public(value: Any) -> Any:
    """The same structure without secrets, without credentials in addresses either."""
    if isinstance(value, Mapping):
        return {k: public(part) for k, part in value.items() if not isinstance(part, Secret)}
    if isinstance(value, str) and "://" in value:
        parts = urlsplit(value)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return value


def hidden(value: Any) -> Iterator[str]:
    """Names of the sealed arguments."""
    for name, part in value.items() if isinstance(value, Mapping) else ():
        if isinstance(part, Secret):
            yield str(name)
        yield from hidden(part)


def secret_texts(value: Any, sealed: bool = False) -> Iterator[str]:
    """Every text that must not be shown; addresses with credentials or a query among them."""
    if isinstance(value, Secret):
        yield from secret_texts(value.value, sealed=True)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from secret_texts(part, sealed)
    elif sealed and value is not None:
        yield str(value).removeprefix("Bearer ").strip()
    elif isinstance(value, str) and "://" in value:
        parts = urlsplit(value)
        yield from (text for text in (parts.password, parts.query) if text)


def redacted(text: str, secrets: Collection[str]) -> str:
    """The text with every secret struck out, on one line."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "(hidden)")
    return " ".join(text.split())


class _Strike(logging.Filter):
    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "CancelledError()" in message:  # a request called off with its batch is no news
            return False
        record.msg, record.args = redacted(message, self._secrets), ()
        return True


@contextmanager
def struck_out(model: Any, secrets: Collection[str]) -> Iterator[None]:
    """Keep secrets out of what a model's modules log.

    lm-eval logs the whole failed request with its Authorization header, and the server's reply.
    """
    strike = _Strike(secrets)
    loggers = [logging.getLogger(kind.__module__) for kind in type(model).__mro__]
    for logger in loggers:
        logger.addFilter(strike)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(strike)
