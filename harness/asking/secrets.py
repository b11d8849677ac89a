"""Secrets among a model's arguments: passed on to the model, never printed, saved or logged."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.secrets import bare_address, is_secret

HIDDEN = "(hidden)"
_SHORTEST = 4  # a shorter text is no secret, and striking it out would garble messages


class Secret:
    """A value that shows as something else wherever it is printed or saved.

    Args:
        value: What the model gets.
        shown: What everybody else sees; by default nothing of it.
    """

    def __init__(self, value: Any, shown: str = HIDDEN) -> None:
        self.value = value
        self.shown = shown

    def __repr__(self) -> str:
        return self.shown


def seal(value: Any, name: str = "") -> Any:
    """The same structure with secrets sealed.

    Secret is each value of a telling name (key, token, header, …), and what an address holds
    besides scheme, host and path.
    """
    if isinstance(value, Secret) or value is None:
        return value
    if is_secret(name):
        return Secret(value)
    if isinstance(value, Mapping):
        return {key: seal(part, str(key)) for key, part in value.items()}
    if isinstance(value, str) and "://" in value:
        shown = bare_address(value)
        return value if shown == value else Secret(value, shown)
    return value


def unseal(value: Any) -> Any:
    """The same structure with secrets in the open, for the model's constructor."""
    if isinstance(value, Mapping):
        return {key: unseal(part) for key, part in value.items()}
    return value.value if isinstance(value, Secret) else value


def public(value: Any) -> Any:
    """The same sealed structure as anybody may see it."""
    if isinstance(value, Mapping):
        return {k: public(part) for k, part in value.items() if str(part) != HIDDEN}
    return value.shown if isinstance(value, Secret) else value


def hidden(value: Any) -> Iterator[str]:
    """Names of the sealed arguments."""
    for name, part in value.items() if isinstance(value, Mapping) else ():
        if isinstance(part, Secret):
            yield str(name)
        yield from hidden(part)


def secret_texts(value: Any) -> Iterator[str]:
    """Every text that must not be shown."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from secret_texts(part)
    elif isinstance(value, Secret) and isinstance(value.value, Mapping):
        yield from secret_texts({name: Secret(part) for name, part in value.value.items()})
    elif isinstance(value, Secret) and value.shown != HIDDEN:
        parts = urlsplit(value.value)
        yield from (text for text in (parts.password, parts.query) if text)
    elif isinstance(value, Secret) and value.value is not None:
        yield str(value.value).removeprefix("Bearer ").strip()


def redacted(text: str, secrets: Collection[str]) -> str:
    """The text with every secret struck out, on one line."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return " ".join(text.split())


class _Strike(logging.Filter):
    """Strikes secrets out of log records, for as long as the process lives."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if any(all(part in message for part in parts) for parts in _NO_NEWS):
            return False
        record.msg, record.args = redacted(message, self.secrets), ()
        return True


# When one request of a concurrent batch fails, lm-eval calls off the others, and logs each.
_NO_NEWS = (
    ("CancelledError()",),
    ("RuntimeError('Session is closed')",),
    ("ClientConnectionError('Connector is closed",),
    ("exception was never retrieved", "tqdm_asyncio.gather"),
)
_STRIKE = _Strike()


def strike_out(model: Any, secrets: Collection[str]) -> None:
    """Keep secrets out of what a model's modules and their HTTP clients log from now on.

    lm-eval logs a failed request whole, with its Authorization header, and the server's reply.
    """
    _STRIKE.secrets.update(secrets)
    modules = {kind.__module__ for kind in type(model).__mro__}
    for module in modules | {"urllib3.connectionpool", "asyncio"}:
        logging.getLogger(module).addFilter(_STRIKE)
