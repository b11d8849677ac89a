"""Loading ``.pt`` files without running what they may hold.

A file of ``torch.save`` is a zip of a pickle and the numbers of the tensors. Before torch is asked
to read it, the pickle's instructions are gone through: what it may name are dense tensors of real
numbers and plain values, nothing that is called by another name, which could run code, take any
amount of memory, or make a tensor of another kind. The zip holds nothing compressed, as torch
writes it, so that what is loaded is no larger than the file. Files older than PyTorch 1.6 are no
zips, say their sizes nowhere, and are refused.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness import ArtefactError
from harness.artefacts.reading import regular
from harness.errors import one_line

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_PICKLE = 2**18
"""Bytes of what a file holds besides the numbers of its tensors."""

_NUMBERS = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_PLAIN = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {name}Storage" for name in _NUMBERS),
        *(f"torch {name}" for name in ("float64", "float32", "float16", "bfloat16", "int64")),
    }
)
_NAMING = ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")


def load_pt(path: Path) -> Any:
    """The dense tensors and plain values in a file of ``torch.save``.

    Raises:
        ArtefactError: It is missing or damaged, or holds anything else.
    """
    import torch

    if not path.is_file():
        raise ArtefactError(f"{path}: no such file")
    try:
        with regular(path) as file:
            _check(path, file)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except ArtefactError:
        raise
    except Exception as cause:  # torch, zipfile and the unpickler have their own types
        raise ArtefactError(
            f"{path} is damaged, truncated, or no file of torch.save ({type(cause).__name__})"
        ) from cause


def _check(path: Path, file: IO[bytes]) -> None:
    if not zipfile.is_zipfile(file):
        raise ArtefactError(
            f"{path} is damaged, truncated, or no file of torch.save (it is no zip; files older "
            f"than PyTorch 1.6 are to be saved anew)"
        )
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        size = file.seek(0, 2)
        packed = any(one.compress_type != zipfile.ZIP_STORED for one in members)
        if packed or sum(one.file_size for one in members) > size:
            raise ArtefactError(f"{path} is refused: it is packed; torch.save packs nothing")
        pickles = [one for one in members if one.filename.endswith(".pkl")]
        if len(pickles) != 1 or pickles[0].file_size > LARGEST_PICKLE:
            raise ArtefactError(
                f"{path} is refused: besides tensors it holds more than {LARGEST_PICKLE:,} bytes, "
                f"or nothing that says what they are"
            )
        instructions = archive.read(pickles[0])
    for code, argument, _ in pickletools.genops(instructions):
        if code.name in _NAMING and str(argument) not in _PLAIN:
            named = one_line(".".join(str(argument).split()), 80)
            why = "loading it would run code from the file"
            if named.startswith("torch."):
                why = "it holds other tensors"
            raise ArtefactError(
                f"{path} is refused: {why} ({named}); only dense tensors of real numbers and plain "
                f"values are read. Save it anew from where you trust it"
            )


def dense(value: Any, where: str) -> Tensor:
    """A tensor in fp32 that is as large as what is stored of it.

    Raises:
        ArtefactError: It is something else: a repeated view of fewer numbers, no tensor at all.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise ArtefactError(f"{where}: a tensor is needed, not {type(value).__name__}")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ArtefactError(
            f"{where}: a tensor of the shape {list(value.shape)} that repeats fewer numbers"
        )
    return value.detach().float().contiguous()


def vector(value: Any, where: str) -> Tensor:
    """One vector [hidden] in fp32.

    Raises:
        ArtefactError: It is something else.
    """
    import torch

    if not isinstance(value, torch.Tensor) or value.squeeze().dim() != 1:
        shape = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ArtefactError(f"{where}: one vector is needed, not {shape}")
    return dense(value.squeeze(), where)
