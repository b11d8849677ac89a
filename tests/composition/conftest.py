"""Dictionaries of the testbed's teacher and student."""

from __future__ import annotations

from pathlib import Path

import pytest

from composition.steering import trained


@pytest.fixture(scope="session")
def of_teacher() -> Path:
    return trained("testbed:teacher", "diffmean", "random", layer=2)


@pytest.fixture(scope="session")
def that_edits() -> Path:
    """Of methods whose edits are no vectors, too."""
    return trained("testbed:teacher", "diffmean", "lora", "loreft", layer=2)


@pytest.fixture(scope="session")
def of_student() -> Path:
    return trained("testbed:student", "diffmean", layer=1)
