"""Checkpoints from anywhere: what is damaged is an ordinary error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.models.checkpoints import load_tokenizer
from harness.testbed import model_path


def test_a_tokenizer_that_panics_is_an_error(tmp_path: Path) -> None:
    """A piece of a template that names a range beyond its end stops Rust's own threads."""
    folder = tmp_path / "model"
    shutil.copytree(model_path("student"), folder)
    assert load_tokenizer(str(folder)).eos_token_id == 2
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text())
    saved["added_tokens"] = [saved["added_tokens"][0] | {"id": 2**40}] * 2
    file.write_text(json.dumps(saved))
    with pytest.raises(Exception, match=r".") as found:  # of transformers' kinds
        load_tokenizer(str(folder))
    assert isinstance(found.value, Exception)
