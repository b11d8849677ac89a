"""What requests leave behind that lm-eval calls off is cleared away here, in no later test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _imports_set_apart() -> None:
    """What other files' tests have imported need not be looked through after each of these."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Tasks that nobody awaits are told of as they are collected, wherever Python then is."""
    yield
    gc.collect()
