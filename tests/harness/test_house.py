"""The house: small rooms that say what they are for, one table of entry points, one interface."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parents[1]
PACKAGES = [ROOT / "harness", *sorted(ROOT.glob("plugins/*/harness_*"))]
ROOMS = sorted({file.parent for package in PACKAGES for file in package.rglob("*.py")})
A_MODULE_A_METHOD = ("methods", "objectives")

pytestmark = pytest.mark.skipif(
    not (ROOT / "plugins").is_dir(), reason="needs a checkout: the house is not in the wheel"
)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_rooms_are_small_and_say_what_they_are_for(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8")))
    assert (said and said.endswith(".")) or (said and "\n" in said)
    if room.name not in A_MODULE_A_METHOD:
        assert len(list(room.glob("*.py"))) <= 15


def test_the_public_interface_is_whole() -> None:
    source = (ROOT / "harness" / "__init__.py").read_text(encoding="utf-8")
    for name in harness.__all__:
        assert getattr(harness, name) is not None
        assert name.startswith("__") or name in ast.get_docstring(ast.parse(source), clean=False)
    assert set(harness._HOMES) == set(harness.__all__)


def test_what_is_public_is_imported_as_such() -> None:
    homes = {(home, name) for name, home in harness._HOMES.items() if name != "__version__"}
    for package in PACKAGES[1:]:
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    private = {a.name for a in node.names if (node.module, a.name) in homes}
                    assert not private, f"{file}:{node.lineno}: from harness import {private}"


def test_nobody_locks_or_writes_by_hand() -> None:
    for package in PACKAGES:
        for file in package.rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert "fcntl" not in text, file
            if file != ROOT / "harness" / "artefacts" / "writing.py":
                assert "os.getpid()" not in text and "mkstemp" not in text, file


def test_every_room_can_be_imported() -> None:
    """Each room can be imported."""
    for package in PACKAGES:
        for file in sorted(package.glob("*/__init__.py")):
            importlib.import_module(".".join(file.parent.relative_to(package.parent).parts))


def test_no_plugin_takes_anothers_option_for_a_misspelt_one_of_its_own() -> None:
    """A run's mapping has the keys of every plugin, and the model's arguments."""
    from dataclasses import fields

    from harness.data.options import _key, refuse_misspelt
    from harness.judging.options import JudgeOptions

    kinds = [JudgeOptions]
    for package in PACKAGES[1:]:
        kinds.append(importlib.import_module(f"{package.name}.options").RunOptions)
    keys = [[_key(kind, field.name) for field in fields(kind)] for kind in kinds]
    model = "pretrained dtype device batch_size teacher drafter gamma seed concept factor positions"
    everyone = dict.fromkeys([*(key for own in keys for key in own), *model.split(), "version"])
    for own in keys:
        refuse_misspelt(everyone, own)
