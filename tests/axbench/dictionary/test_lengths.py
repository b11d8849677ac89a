"""States of unlike length are told, once, of the methods that took them as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.commands import app
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import kinds
from harness_axbench.dictionary.lengths import doubt
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

CONCEPTS = tuple(dictionary.Concept(n, f"words of {n}", "text") for n in range(3))


def write(folder: Path, **facts: dict[str, Any]) -> dictionary.Dictionary:
    methods = {
        name: dictionary.Entry(kinds.VECTORS, {"weight": torch.ones(3, 4)}, {}, own)
        for name, own in facts.items()
    }
    model = {"name": "tiny", "hidden_size": 4}
    told = {"layer": 7, "model": model, "prefix": 1, "chat": False}
    return dictionary.write(folder, recipe={}, facts=told, concepts=CONCEPTS, methods=methods)


def lengths(largest: float, **more: Any) -> dict[str, Any]:
    return {"norm_median": [100.0, 110.0, 400.0], "norm_largest": [150.0, largest, 120.0]} | more


def test_a_long_state_is_told_of_the_methods_that_took_it(tmp_path: Path) -> None:
    """Of medians 100, 110 and 400 the median is 110."""
    found = write(
        tmp_path / "made",
        diffmean=lengths(880.0),
        pca=lengths(880.0),
        lat=lengths(880.0, normalise="unit"),
        ssv={},
    )
    assert doubt(found) == (
        "states of layer 7 are of unlike length: the longest has 880, the median 110; diffmean, "
        "pca may detect better with --normalise standardise"
    )
    shown = CliRunner().invoke(app, ["inspect", str(found.folder)])
    assert shown.exit_code == 0
    assert shown.output.count("are of unlike length") == 1


@pytest.mark.parametrize(
    "facts",
    [
        lengths(329.0),
        lengths(9000.0, normalise="standardise"),
        {"norm_median": [1.0, 1.0, 1.0]},
        {},
    ],
    ids=str,
)
def test_nothing_is_said(tmp_path: Path, facts: dict[str, Any]) -> None:
    assert doubt(write(tmp_path / "made", diffmean=facts)) is None


def test_the_command_says_it_of_what_it_trains(
    llama: str, data_folder: Path, tmp_path: Path
) -> None:
    """A model in which the full stop's embedding, and so its states, are many times as long."""
    tokenizer = AutoTokenizer.from_pretrained(llama)
    model = AutoModelForCausalLM.from_pretrained(llama)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(".")] *= 1000
    model.save_pretrained(tmp_path / "long")
    tokenizer.save_pretrained(tmp_path / "long")
    wanted = ["train", "--layer", "1", "--device", "cpu", "--data", str(data_folder)]
    for place, normalise, times in (("long", "none", 1), ("long", "unit", 0), (llama, "none", 0)):
        out = ["--out", str(tmp_path / f"{Path(place).name} {normalise}"), "--normalise", normalise]
        made = CliRunner().invoke(app, [*wanted, "--model", str(tmp_path / place), *out])
        assert made.exit_code == 0, made.output
        assert made.output.count("are of unlike length") == times
