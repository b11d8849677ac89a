"""What requests leave behind that lm-eval calls off is cleared away here, in no later test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _imports_set_apart() -> Iterator[None]:
    """What was there before need not be looked through after every test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Tasks that nobody awaits are told of as they are collected, wherever Python then is."""
    yield
    gc.collect()
