"""Finished units that are not what they were: made again, never read."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.methods.base import Stored
from harness_axbench.training.parts import Parts, _digest
from safetensors.torch import save_file

from harness.errors import ArtefactError

STORED = Stored(tensors={"weight": torch.ones(2, 3)}, values={"a": [1]}, each={"f": [1, 2]})


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ([], "is damaged: Input should be"),
        ({"values": {}, "facts": {}}, "is damaged: each: Field required"),
        ({"values": [], "facts": {}, "each": {}}, "is damaged: values: Input should be"),
        ({"values": {}, "facts": {}, "each": {"f": 3}}, "is damaged: each.f: Input should be"),
        ("[" * 90_000, r"is damaged \(nested too deeply\)"),
        ("{", r"is damaged \("),
    ],
)
def test_a_unit_of_another_shape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, told: Any, says: str
) -> None:
    parts = Parts(tmp_path)
    text = told if isinstance(told, str) else json.dumps(told)
    tensors = {"weight": torch.ones(2, 3)}
    header = {"json": text, "sha256": _digest(tensors, text)}
    save_file(tensors, parts.path(0, "ssv"), header)
    with pytest.raises(ArtefactError, match=says) as caught:
        parts.get(0, "ssv")
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert not parts.has(0, "ssv")
    assert "it is made again" in caplog.text and not parts.path(0, "ssv").exists()


def test_a_unit_as_it_was_put(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.put(0, "ssv", STORED)
    found = parts.get(0, "ssv")
    assert torch.equal(found.tensors["weight"], torch.ones(2, 3))
    assert (found.values, found.facts, found.each) == ({"a": [1]}, {}, {"f": [1, 2]})
