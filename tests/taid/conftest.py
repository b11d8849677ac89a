from __future__ import annotations

import pytest

from . import tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of a tiny teacher and a tinier student."""
    folder = tmp_path_factory.mktemp("models")
    teacher = tiny.llama(folder / "teacher", layers=2, hidden=32, seed=1)
    return teacher, tiny.llama(folder / "student", seed=2)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A file of 28 exchanges: 26 to train on and two held out, or four with --dev-rows."""
    return tiny.write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", tiny.exchanges(28))
