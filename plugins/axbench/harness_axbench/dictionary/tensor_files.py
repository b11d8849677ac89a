"""Files of tensors from anywhere: names, shapes and sizes are known before a number is loaded.

safetensors say them in a header, whose length is bounded here. An npz file is a zip of arrays, each
with a header of its own, and zips unpack: an array has to be as large as its header says, and all
that are wanted may be larger than the file by ``UNPACKED`` times or by ``SMALL`` bytes. Arrays of
objects, which would run code, and of anything else than real numbers are refused.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import ArtefactError
from harness.artefacts.reading import regular
from harness.errors import one_line

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER = 2**24
"""Bytes of a safetensors file's header, at most."""

UNPACKED, SMALL = 20, 2**26
_TYPES = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8"})


@dataclass(frozen=True)
class Array:
    """A tensor of a file.

    Attributes:
        shape: Its shape, as the file says it.
        load: Reads it; real numbers, of the type that they are stored in.
    """

    shape: tuple[int, ...]
    load: Callable[[], Tensor]


@contextmanager
def arrays(path: Path) -> Iterator[Mapping[str, Array]]:
    """The tensors of a safetensors or npz file, by name; they are loaded while the context lasts.

    Raises:
        ArtefactError: The file is damaged, too large once unpacked, or holds something else.
    """
    try:
        with _npz(path) if path.suffix == ".npz" else _safetensors(path) as found:
            yield found
    except ArtefactError:
        raise
    except Exception as cause:  # zipfile, numpy and safetensors have their own types
        kind = "npz" if path.suffix == ".npz" else "safetensors"
        said = one_line(getattr(cause, "strerror", None) or cause, 200)
        raise ArtefactError(f"{path} cannot be read as {kind} ({said})") from cause


def loaded(path: Path, lead: int | None = None) -> dict[str, Tensor]:
    """All tensors of a file.

    Args:
        path: The file.
        lead: How many entries each leads with, where that is known.

    Raises:
        ArtefactError: As ``arrays``; or a tensor leads with another number, or is not finite.
    """
    with arrays(path) as found:
        for name, own in found.items():
            if lead is not None and own.shape[:1] != (lead,):
                raise ArtefactError(
                    f"{path}: '{one_line(name, 80)}' has the shape {list(own.shape)}, for "
                    f"{lead} concepts"
                )
        tensors = {name: own.load() for name, own in found.items()}
        check_finite(tensors, path)
        return tensors


def check_finite(tensors: Mapping[str, Tensor], where: object) -> None:
    """Refuse tensors with values that single precision does not hold.

    Raises:
        ArtefactError: One has some.
    """
    import torch

    for name, values in tensors.items():
        held = values.float() if values.dtype == torch.float64 else values
        if not bool(torch.isfinite(held).all()):
            raise ArtefactError(f"{where}: '{one_line(name, 80)}' holds values that are not finite")


@contextmanager
def _safetensors(path: Path) -> Iterator[Mapping[str, Array]]:
    from safetensors import safe_open

    with regular(path) as content:
        length = int.from_bytes(content.read(8), "little")
    if length > LARGEST_HEADER:
        raise ArtefactError(
            f"{path} cannot be read as safetensors (its header is said to have {length:,} bytes, "
            f"more than {LARGEST_HEADER:,})"
        )
    with safe_open(path, "pt") as file:
        found = {}
        for name in file.keys():  # noqa: SIM118 -- it is no mapping
            part = file.get_slice(name)
            if part.get_dtype() not in _TYPES:
                raise ArtefactError(f"{path}: '{one_line(name, 80)}' is of {part.get_dtype()}")
            found[name] = Array(tuple(part.get_shape()), partial(file.get_tensor, name))
        yield found


@contextmanager
def _npz(path: Path) -> Iterator[Mapping[str, Array]]:
    with regular(path) as content, zipfile.ZipFile(content) as archive:
        size = path.stat().st_size
        found: dict[str, Array] = {}
        whole = 0
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                continue  # no array
            if name in found:
                raise ValueError(f"{one_line(repr(name), 80)} is there more than once")
            shape, dtype = _header(archive, member)
            whole += math.prod(shape) * dtype.itemsize
            found[name] = Array(shape, partial(_array, archive, member, dtype))
        if whole > max(UNPACKED * size, SMALL):
            raise ValueError(f"{whole:,} bytes once unpacked, in a file of {size:,}")
        yield found


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of an array of a zip, which has the size that these make."""
    from numpy.lib import format as numpy_format

    npy: Any = numpy_format

    name = one_line(repr(member.filename), 80)
    with archive.open(member) as file:
        if npy.read_magic(file) != (1, 0):  # the later ones' headers may be of any length
            raise ValueError(f"{name} is no array of version 1.0")
        shape, _, dtype = npy.read_array_header_1_0(file)
        begin = file.tell()
    if dtype.kind not in "fiu" or dtype.subdtype is not None:
        raise ValueError(f"{name} holds {one_line(str(dtype), 40)}, no real numbers")
    if min(shape, default=0) < 0 or begin + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"{name} is not as large as its header says")
    return shape, dtype


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, dtype: Any) -> Tensor:
    import torch
    from numpy.lib import format as numpy_format

    npy: Any = numpy_format
    with archive.open(member) as file:
        values = npy.read_array(file, allow_pickle=False)
    return torch.from_numpy(values.astype(dtype.newbyteorder("="), copy=False))
