"""Dictionaries on disk: whole or not at all, and refused in one line when damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from harness_axbench.commands import app
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.models.detection import text_method
from safetensors import safe_open
from typer.testing import CliRunner

from harness.errors import ArtefactError, HarnessError, one_line

Make = Callable[..., Path]


@pytest.fixture
def copy(steering: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(steering, tmp_path / "copy"))


def test_what_a_dictionary_says(steering: Path, llama: str) -> None:
    manifest = json.loads((steering / "dictionary.json").read_text())
    assert manifest["format"] == "axbench-dictionary/1"
    assert manifest["model"]["name"] == llama
    assert manifest["model"]["hidden_size"] == 32
    assert len(manifest["model"]["sha256"]) == 64
    assert (manifest["layer"], manifest["prefix"], manifest["chat"]) == (1, 1, False)
    assert manifest["concepts"][2] == {"id": 2, "text": "programming constructs", "genre": "code"}
    assert set(manifest["methods"]) == {"diffmean", "random", "bow"}
    assert {"paperharness", "torch", "transformers"} <= set(manifest["versions"])
    with safe_open(steering / "diffmean.safetensors", "pt") as file:
        assert list(file.keys()) == ["weight"]
        assert file.get_slice("weight").get_shape() == [3, 32]
        assert file.get_slice("weight").get_dtype() == "F32"
    assert sorted(path.suffix for path in steering.iterdir()) == [
        ".json",
        ".json",
        ".safetensors",
        ".safetensors",
        ".safetensors",
    ]


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
@pytest.mark.parametrize("name", ["diffmean.safetensors", "bow.json", "dictionary.json"])
def test_damage_is_one_line(copy: Path, name: str, how: str) -> None:
    damage(copy / name, how)
    with pytest.raises(ArtefactError) as caught:
        found = dictionary.read(copy)
        found.weight("diffmean")
        text_method(found, "bow")
    assert "\n" not in str(caught.value)
    assert "train" in one_line(caught.value) or "dictionary" in one_line(caught.value)


def test_another_format_or_shape(copy: Path) -> None:
    path = copy / "dictionary.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"format": "other/2"}))
    with pytest.raises(ArtefactError, match="not of the format"):
        dictionary.read(copy)
    manifest["model"]["hidden_size"] = 31
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match=r"shape \[3, 31\]"):
        dictionary.read(copy).weight("diffmean")
    path.write_text(json.dumps({k: v for k, v in manifest.items() if k != "concepts"}))
    with pytest.raises(ArtefactError, match=r"damaged: concepts: Field required"):
        dictionary.read(copy)


def test_fit() -> None:
    found = dictionary.Dictionary(
        Path("d"), "", {"model": {"name": "M", "hidden_size": 8}, "layer": 5}, ()
    )
    found.check_fits(hidden_size=8, n_layers=6)
    with pytest.raises(ArtefactError, match="layers 0 … 4"):
        found.check_fits(hidden_size=8, n_layers=5)


def test_the_same_recipe_keeps_what_is_there(steering: Path, make_dictionary: Make) -> None:
    before = (steering / "dictionary.json").stat().st_mtime_ns
    assert make_dictionary(steering, batch_size=3) == steering
    assert (steering / "dictionary.json").stat().st_mtime_ns == before


def test_another_recipe_is_refused(steering: Path, make_dictionary: Make, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="differs in: --layer, --methods"):
        make_dictionary(steering, layer=0, methods=("diffmean",))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(HarnessError, match="is no dictionary"):
        make_dictionary(tmp_path)


def test_equal_recipes_give_equal_vectors(
    steering: Path, make_dictionary: Make, tmp_path: Path
) -> None:
    again = make_dictionary(tmp_path / "again")
    for name in ("diffmean.safetensors", "random.safetensors", "bow.json"):
        assert (again / name).read_bytes() == (steering / name).read_bytes()


def test_a_failure_leaves_nothing(make_dictionary: Make, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="layer 3 does not exist: the model has 0 … 2"):
        make_dictionary(tmp_path / "out", layer=3)
    with pytest.raises(HarnessError, match="no method 'lasso'; there are diffmean"):
        make_dictionary(tmp_path / "out", methods=("lasso",))
    with pytest.raises(HarnessError, match="diffmean needs --model and --layer"):
        make_dictionary(tmp_path / "out", layer=None)
    with pytest.raises(HarnessError, match="cannot load the checkpoint"):
        make_dictionary(tmp_path / "out", model=str(tmp_path / "none"))
    with pytest.raises(HarnessError, match="max-act-from"):
        make_dictionary(tmp_path / "out", max_act_from="both")
    assert list(tmp_path.iterdir()) == []


def test_commands(llama: str, data_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    arguments = ["train", "--model", llama, "--layer", "2", "--methods", "diffmean,random"]
    arguments += ["--data", str(data_folder), "--out", str(out), "--device", "cpu"]
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "(written): 3 concepts, diffmean, random" in first.output
    second = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "(already there)" in second.output
    shown = CliRunner().invoke(app, ["inspect", str(out)], catch_exceptions=False)
    assert "the sea" in shown.output
    assert "max_act" in shown.output
