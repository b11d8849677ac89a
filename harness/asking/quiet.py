"""What concurrent clients log when one request fails, and nobody needs."""

from __future__ import annotations

import logging
from typing import Any

# When one request of a concurrent batch fails, lm-eval calls off the others, and logs each.
_NO_NEWS = (
    ("CancelledError()",),
    ("RuntimeError('Session is closed')",),
    ("ClientConnectionError('Connector is closed",),
    ("exception was never retrieved", "tqdm_asyncio.gather"),
)


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(all(part in message for part in parts) for parts in _NO_NEWS)


def keep_quiet(model: Any) -> None:
    """Leave out what the modules of a model and their clients log of requests called off."""
    for module in {kind.__module__ for kind in type(model).__mro__} | {"asyncio"}:
        logging.getLogger(module).addFilter(_is_news)
