"""The testbed: a small English with known ground truth, and models to run on.

Three tiny ones are trained on it and are always there; two pretrained ones come as packages.
"""

from __future__ import annotations

from pathlib import Path

from harness.artefacts.gguf import is_gguf, unpacked
from harness.errors import HarnessError, meant

MODELS = ("teacher", "student", "checker")
PRETRAINED = ("smollm2", "minilm")
"""Models that come as packages; see ``packaged``."""

PREFIX = "testbed:"


def model_path(name: str) -> Path:
    """The folder of one of the testbed's models.

    Raises:
        HarnessError: There is no model of this name, or its files were not installed.
    """
    if name in PRETRAINED:
        from harness.testbed.packaged import folder_of

        return folder_of(name)
    if name not in MODELS:
        known = (*MODELS, *PRETRAINED)
        rest = meant(name, known, "there are")
        raise HarnessError(f"testbed: no model {name!r}; {rest}")
    folder = Path(__file__).parent / "models" / name
    if not (folder / "config.json").is_file():
        raise HarnessError(
            f"testbed: {folder} has no model; train it with "
            f"python -m harness.testbed.making.train {name} --out {folder.parent}"
        )
    return folder


def resolve(pretrained: str) -> str:
    """The folder for ``testbed:NAME`` or a GGUF file; any other name is returned unchanged.

    Raises:
        HarnessError: There is no such model or file, or it cannot be unpacked.
    """
    if is_gguf(pretrained):
        return str(unpacked(Path(pretrained)))
    if not pretrained.startswith(PREFIX):
        return pretrained
    return str(model_path(pretrained.removeprefix(PREFIX)))


def known_as(folder: str) -> str:
    """The name of the testbed's model in a folder, wherever it is installed; empty for any other.

    Args:
        folder: A path with slashes, which need not exist here.

    >>> known_as("/opt/lib/harness/testbed/models/teacher"), known_as("/models/teacher")
    ('testbed:teacher', '')
    """
    from harness.testbed.packaged import PACKAGED

    head, _, name = folder.rpartition("/")
    if name in MODELS and head.endswith("harness/testbed/models"):
        return PREFIX + name
    for known, model in PACKAGED.items():
        unpacked_as = f"{model.distribution}-{model.sha256[:12]}"
        if name == unpacked_as or folder.endswith(f"/{Path(model.file).parent.as_posix()}"):
            return PREFIX + known
    return ""
