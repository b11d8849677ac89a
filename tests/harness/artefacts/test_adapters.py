"""Adapter folders: told from whole models, named with their base, loaded where that is right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from harness import HarnessError
from harness.artefacts.adapters import adapter_in
from harness.models.checkpoints import (
    checkpoint_of,
    content_of,
    merged,
    open_causal,
    place_of,
)
from harness.testbed import model_path

BASE = str(model_path("student"))


def write(folder: Path, config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_is_told_with_its_base(adapter: Path) -> None:
    found = adapter_in(adapter)
    assert found is not None and (found.folder, found.base) == (adapter, BASE)
    assert adapter_in(BASE) is None and adapter_in("org/name") is None
    with pytest.raises(HarnessError, match=rf"it is an adapter of {BASE}, no whole model; merge"):
        place_of(str(adapter))
    assert place_of(str(adapter), adapters=True) == str(adapter)
    parts = checkpoint_of(str(adapter))
    assert (parts.place, parts.words, parts.adapter) == (BASE, BASE, found)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "names no base model"),
        ({"base_model_name_or_path": None}, "names no base model"),
        ({"base_model_name_or_path": 3}, "is damaged: base_model_name_or_path"),
        ({"base_model_name_or_path": "https://example.org/m"}, "addresses are not loaded from"),
        ({"base_model_name_or_path": "//host/share"}, "addresses are not loaded from"),
        ({"base_model_name_or_path": "a\u001b]0;b"}, "names no model"),
        ([], "is damaged"),
    ],
)
def test_a_damaged_adapter_is_one_line(tmp_path: Path, config: object, words: str) -> None:
    folder = str(write(tmp_path / "a", config))
    for read in (adapter_in, place_of, content_of):
        with pytest.raises(HarnessError, match=words) as caught:
            read(folder)
        assert "\n" not in str(caught.value)
        assert "\u001b" not in str(caught.value)


def test_its_content_is_its_own_and_its_bases(adapter: Path, tmp_path: Path) -> None:
    base, own = tmp_path / "base", tmp_path / "own"
    shutil.copytree(BASE, base)
    shutil.copytree(adapter, own)
    config = json.loads((own / "adapter_config.json").read_text())
    write(own, config | {"base_model_name_or_path": str(base)})
    before = content_of(str(own))
    assert before == content_of(str(own)) and before != content_of(str(base))
    (base / "generation_config.json").write_text("{}")
    assert content_of(str(own)) != before


def test_it_is_added_to_its_base(adapter: Path, tmp_path: Path) -> None:
    ids = torch.arange(5, 15)[None]
    plain = AutoModelForCausalLM.from_pretrained(BASE)
    with torch.inference_mode():
        before = plain(ids).logits
        right = PeftModel.from_pretrained(plain, adapter)(ids).logits
    found = adapter_in(adapter)
    assert found is not None
    whole = merged(AutoModelForCausalLM.from_pretrained(BASE), found)
    with torch.inference_mode():
        torch.testing.assert_close(whole(ids).logits, right, atol=1e-4, rtol=1e-4)
    assert (right - before).abs().max() > 1e-2
    other = AutoModelForCausalLM.from_pretrained(model_path("teacher"))
    with pytest.raises(HarnessError, match=f"cannot be added to {BASE}: ") as caught:
        merged(other, found)
    assert "\n" not in str(caught.value)
    weights = tmp_path / "own" / "adapter_model.safetensors"
    shutil.copytree(adapter, weights.parent)
    weights.write_bytes(weights.read_bytes()[:-9])
    torn = adapter_in(weights.parent)
    assert torn is not None
    with pytest.raises(HarnessError, match="cannot be added"):
        merged(plain, torn)


def test_it_is_opened_as_a_model_of_its_base(adapter: Path) -> None:
    ids = torch.arange(5, 15)[None]
    model, words = open_causal("drafter", str(adapter), dtype="float32")
    right = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), adapter)
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, right(ids).logits, atol=1e-4, rtol=1e-4)
    assert words.get_vocab() and not any(p.requires_grad for p in model.parameters())
    with pytest.raises(HarnessError, match=r"^drafter: no folder 'no/such' is here, and the hub"):
        open_causal("drafter", "no/such")
