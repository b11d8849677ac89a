"""Loading ``.pt`` files without running what they may hold."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

from harness import ArtefactError


def load_pt(path: Path) -> Any:
    """The tensors and plain values in a file of ``torch.save``.

    Raises:
        ArtefactError: It is missing or damaged, or cannot be read without running code from it.
    """
    import torch

    if not path.is_file():
        raise ArtefactError(f"{path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as cause:  # torch, zipfile and the unpickler have their own types
        if zipfile.is_zipfile(path) and type(cause).__name__ == "UnpicklingError":
            wanted = re.search(r"GLOBAL (\S+)", str(cause))
            what = f" ({wanted.group(1)})" if wanted else ""
            raise ArtefactError(
                f"{path} is refused: loading it would run code from the file{what}; only tensors "
                f"and plain values are read. Save it anew from where you trust it"
            ) from cause
        raise ArtefactError(
            f"{path} is damaged, truncated, or no file of torch.save ({type(cause).__name__})"
        ) from cause


def vector(value: Any, where: str) -> Any:
    """One vector [hidden] in fp32.

    Raises:
        ArtefactError: It is something else.
    """
    import torch

    if not isinstance(value, torch.Tensor) or value.squeeze().dim() != 1:
        shape = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ArtefactError(f"{where}: one vector is needed, not {shape}")
    return value.squeeze().float()
