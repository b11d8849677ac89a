"""Depths that no checkpoint has are refused before a network is built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import HarnessError
from harness.artefacts.layers import check_layers
from harness.models.checkpoints import open_causal, place_of
from harness.testbed import model_path


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return shutil.copytree(model_path("student"), tmp_path / "student")


def say(folder: Path, **more: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | more))


@pytest.mark.parametrize(
    "more",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 1e9},
        {"text_config": {"n_layer": 10**30}},
        {"num_hidden_layers": 200},
    ],
)
def test_more_layers_than_tensors(student: Path, more: dict[str, object]) -> None:
    say(student, **more)
    with pytest.raises(HarnessError, match=r"says that the model has .* layers; its weights are"):
        open_causal("model", str(student))
    with pytest.raises(HarnessError, match="it is damaged"):
        place_of(str(student))


def test_what_does_not_say_how_many_tensors_it_has(student: Path) -> None:
    say(student, num_hidden_layers=4000)
    (student / "model.safetensors").unlink()
    check_layers(student)
    say(student, num_hidden_layers=5000)
    with pytest.raises(HarnessError, match="5,000 layers; its weights are 4,096 tensors at most"):
        check_layers(student)


@pytest.mark.parametrize("name", ["teacher", "student", "checker"])
def test_real_ones_pass(name: str) -> None:
    check_layers(model_path(name))
