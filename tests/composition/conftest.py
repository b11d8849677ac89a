"""Dictionaries of the testbed's teacher and student."""

from __future__ import annotations

from pathlib import Path

import pytest

from composition.steering import trained

ALL = ("diffmean", "lora", "loreft")


@pytest.fixture(scope="session")
def of_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("teacher") / "d", "testbed:teacher", ALL, layer=2)


@pytest.fixture(scope="session")
def of_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("student") / "d", "testbed:student", ALL[:1], layer=1)
