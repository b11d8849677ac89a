"""Checkpoints from anywhere: what is damaged is an ordinary error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from harness import ArtefactError
from harness.models.checkpoints import load_tokenizer, open_causal
from harness.testbed import model_path


def test_a_tokenizer_that_panics_is_an_error(tmp_path: Path) -> None:
    """A prefix that is longer than the words it begins stops what is written in Rust."""
    folder = tmp_path / "model"
    shutil.copytree(model_path("student"), folder)
    assert load_tokenizer(str(folder)).eos_token_id == 2
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text())
    saved["model"]["continuing_subword_prefix"] = "longer than any word of it"
    file.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match="its tokenizer's files are damaged"):
        load_tokenizer(str(folder))


def test_missing_weights_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_path("student"), folder)
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    taken = next(name for name in weights if "mlp.up_proj" in name)
    del weights[taken]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ArtefactError, match=r"^teacher: .* lacks .*mlp\.up_proj.* it is damaged"):
        open_causal("teacher", str(folder))
    model, _ = open_causal("teacher", str(model_path("student")))
    assert model.num_parameters() > 0
