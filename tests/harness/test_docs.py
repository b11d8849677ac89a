"""What the documentation says is what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from harness.host import hookspecs
from tools.docs import reference

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "example_plugin"


def test_every_hook_is_documented_with_its_signature() -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    signature = str(inspect.signature(hookspecs.register)).replace("'", "")
    assert f"def register{signature}" in page
    for name, method in inspect.getmembers(hookspecs.Registrar, inspect.isfunction):
        if name.startswith("_"):
            continue
        parameters = str(inspect.signature(method)).replace("'", "").replace("*, ", "")
        call = parameters.removeprefix("(self, ").removesuffix(") -> None")
        assert f"registrar.{name}({call})" in page


def test_the_plugin_in_the_docs_is_the_plugin_that_is_tested() -> None:
    page = (ROOT / "docs" / "write-a-plugin.md").read_text()
    shown = re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(shown) == 6
    for name, text in shown:
        assert (EXAMPLE / name).read_text() == text, name


@pytest.mark.parametrize(
    "page",
    [
        p
        for p in sorted(ROOT.glob("**/*.md"))
        if ".venv" not in p.parts and "site-packages" not in p.parts
    ],
    ids=str,
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
        place = page.parent / target
        made = {(ROOT / "docs" / at).resolve() for at in reference.PAGES}
        assert place.exists() or place.resolve() in made, f"{page}: {target}"
