"""Models as GGUF files (llama.cpp's form), unpacked once a machine.

transformers reads such a file's configuration, tokenizer and weights, and undoes their
quantisation, anew at every start: seventeen seconds of a core for 135 M parameters, against half a
second for safetensors. So a file is written once, as float32 safetensors, into the cache folder,
exactly as transformers reads it; whoever opens a checkpoint opens that folder, and figures are
those of the quantised model. It takes four bytes a parameter.
"""

from __future__ import annotations

import shutil
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.artefacts.cache import cache_folder
from harness.artefacts.checksums import digest
from harness.artefacts.locks import shared_file
from harness.artefacts.writing import appearing
from harness.errors import ArtefactError, HarnessError, one_line

SUFFIX = ".gguf"
_CHEAP = 128
"""Layers that few models go beyond, and that are soon built, whatever the file holds."""


def named(pretrained: str, gguf_file: str | None = None) -> str:
    """The path of a GGUF file that lies here, or the unchanged name of any other model.

    Args:
        pretrained: A folder, a file, or a model's name.
        gguf_file: The file in the folder, as transformers and lm-eval's ``hf`` take it.

    Raises:
        HarnessError: The folder has no such file.
    """
    folder = Path(pretrained).expanduser()
    if not gguf_file or not folder.is_dir():
        return pretrained
    file = folder / gguf_file
    if Path(gguf_file).name != gguf_file or not file.is_file():
        there = ", ".join(sorted(path.name for path in folder.glob(f"*{SUFFIX}"))[:8])
        raise HarnessError(f"{folder} has no file {gguf_file}; it has {there or 'no GGUF file'}")
    return str(file)


def is_gguf(pretrained: str) -> bool:
    """Whether a model's name is that of a GGUF file."""
    return pretrained.lower().endswith(SUFFIX) and not Path(pretrained).expanduser().is_dir()


def unpacked(file: Path, name: str | None = None) -> Path:
    """The folder with a GGUF file's model; a second process waits for the first.

    Args:
        file: The file.
        name: What the folder is called, by default the file's name.

    Raises:
        HarnessError: It is not here, is damaged, of an unknown architecture, or there is no room.
    """
    file = file.expanduser()
    if not file.is_file():
        raise HarnessError(
            f"there is no GGUF file {file}; one on the hub is fetched first: hf download "
            f"REPOSITORY {file.name}"
        )
    digits = _digest(file)[:12]
    folder = cache_folder() / "models" / f"{name or file.stem}-{digits}"
    for known in (folder, *sorted(folder.parent.glob(f"*-{digits}"))):
        if known.is_dir() and not known.name.startswith("."):  # the same file by another name
            return known
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with shared_file(folder):
            if not folder.is_dir():
                _check_room(file, folder.parent)
                with appearing(folder) as draft:
                    _dequantised(file, draft)
    except OSError as cause:
        raise HarnessError(f"{folder} cannot be written: {cause.strerror}") from cause
    return folder


def _digest(file: Path) -> str:
    return _digest_of(file, file.stat().st_mtime_ns)


@lru_cache
def _digest_of(file: Path, changed: int) -> str:
    return digest(file)


def _check_room(file: Path, cache: Path) -> None:
    """Refuse a file that surely does not fit, before minutes are spent on it."""
    least = file.stat().st_size  # weights of 32 bits
    if (free := shutil.disk_usage(cache).free) < least:
        raise HarnessError(
            f"{file} unpacks to {least / 1e9:.1f} GB and more, and {cache} has {free / 1e9:.1f} GB "
            "left: make room, or set PAPERHARNESS_CACHE to a folder elsewhere"
        )


def _dequantised(file: Path, draft: Path) -> None:
    tensors = _tensors(file)
    try:
        import gguf  # noqa: F401 -- transformers needs it
    except ModuleNotFoundError:
        raise HarnessError(f"{file} needs the package gguf: python -m pip install gguf") from None
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    given: dict[str, Any] = {"gguf_file": file.name}
    try:
        config = AutoConfig.from_pretrained(file.parent, **given)
        layers = config.get_text_config().num_hidden_layers
        if layers > max(tensors, _CHEAP):
            raise ValueError(f"it says {layers:,} layers and has {tensors:,} tensors")
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **given)
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
    except Exception as cause:  # transformers raises dozens of types
        raise HarnessError(
            f"{file} cannot be read; it is damaged, cut off or of an unknown kind: "
            f"{one_line(cause, 240)}"
        ) from cause
    unquantised(model).save_pretrained(draft)
    tokenizer.save_pretrained(draft)


def _tensors(file: Path) -> int:
    """The number of tensors that a file's header says: ``GGUF``, version u32, tensors u64."""
    with file.open("rb") as opened:
        head = opened.read(16)
    if len(head) < 16 or head[:4] != b"GGUF":
        raise ArtefactError(f"{file} is no GGUF file, or is damaged")
    return int(struct.unpack("<Q", head[8:])[0])


def unquantised(model: Any) -> Any:
    """A model that transformers has read from GGUF, which may be saved.

    Its weights are plain tensors, yet transformers still takes it for a quantised one.
    """
    for name in ("hf_quantizer", "quantization_method"):
        vars(model).pop(name, None)
    model.is_quantized = False
    vars(model.config).pop("quantization_config", None)
    return model
