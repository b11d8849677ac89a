"""Reading GGUF files: what a header says is compared with what is there before anything is made.

    "GGUF", version, number of tensors, number of entries        u32, u32, u64, u64
    entries   key, type, value                                   text, u32, …
    tensors   name, dimensions, their sizes, type, offset        text, u32, u64 each, u32, u64
    the tensors' numbers, from the next multiple of the alignment on

All in little-endian order; a text is its length (u64) and UTF-8, an array its type (u32), its
length (u64) and its values. The package ``gguf`` knows the types of numbers and unpacks them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS |= {12: "d"}
_TEXT, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_ALIGNMENT = 32
LARGEST_TENSOR = 2**24
"""Numbers in a tensor, at most; a direction has some thousands."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        shape: Its sizes, the slowest dimension first.
        load: Reads its numbers. [numbers]
    """

    shape: tuple[int, ...]
    load: Callable[[], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class File:
    """What a file says: its entries that are no arrays, and its tensors."""

    entries: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class _Bytes:
    """A file's bytes, read from the first on; never more than there are."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, size: int) -> bytes:
        if size > len(self.content) - self.at:
            raise ValueError("it ends before what its header says")
        self.at += size
        return self.content[self.at - size : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self, kind: int) -> Any:
        """An entry's value; of an array None."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            raise ValueError(f"an entry is of the type {kind}")
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.take(count * struct.calcsize(f"<{_SCALARS[inner]}"))
        elif inner == _TEXT:
            for _ in range(count):
                self.take(self.number("Q"))
        else:
            raise ValueError(f"an array is of the type {inner}")
        return None


def parse(gguf: Any, content: bytes) -> File:
    """Read a file's content.

    Args:
        gguf: The package.
        content: The whole file.

    Raises:
        ValueError: It is none, ends early, or says what cannot be.
    """
    source = _Bytes(content)
    if source.take(4) != b"GGUF" or source.number("I") not in _VERSIONS:
        raise ValueError("not GGUF, little-endian, of version 2 or 3")
    n_tensors, n_entries = source.number("Q"), source.number("Q")
    entries: dict[str, Any] = {}
    for _ in range(n_entries):
        key = source.text()
        entries[key] = source.value(source.number("I"))
    places = [_Place.read(source) for _ in range(n_tensors)]
    alignment = entries.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError("the alignment is no number of bytes")
    begin = -(-source.at // alignment) * alignment
    return File(entries, {own.name: own.tensor(gguf, content, begin) for own in places})


@dataclass(frozen=True)
class _Place:
    """What the header says of a tensor."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int

    @classmethod
    def read(cls, source: _Bytes) -> _Place:
        name, dimensions = source.text(), source.number("I")
        if dimensions > 4:
            raise ValueError(f"a tensor has {dimensions} dimensions")
        sizes = [source.number("Q") for _ in range(dimensions)]
        return cls(name, tuple(reversed(sizes)), source.number("I"), source.number("Q"))

    def tensor(self, gguf: Any, content: bytes, begin: int) -> Tensor:
        import numpy as np

        count = math.prod(self.shape)
        stored = gguf.GGMLQuantizationType(self.kind)
        per_block, block = gguf.GGML_QUANT_SIZES[stored]
        blocks, rest = divmod(count, per_block)
        first, size = begin + self.offset, blocks * block
        if not 0 < count <= LARGEST_TENSOR or rest or size > len(content) - first:
            raise ValueError(f"a tensor of {count} numbers does not end in the file")
        numbers = np.frombuffer(content, np.uint8, size, first)
        plain = {"F64": np.float64, "F32": np.float32, "F16": np.float16}.get(stored.name)
        if plain is not None:
            return Tensor(self.shape, partial(numbers.view, plain))
        return Tensor(self.shape, partial(gguf.quants.dequantize, numbers, stored))
