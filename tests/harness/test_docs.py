"""What the documentation says is what the code does."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from harness.host import discovery, hookspecs
from tools.docs import commands, places, reference

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


def _called() -> dict[tuple[str, str], Any]:
    """What hooks.md says is called, by the registrar's method and its own name."""
    from lm_eval.api.filter import Filter
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    from harness import SourcedTask, Statistic, Wrapper
    from harness.engine.parts import EnginePart

    spec = importlib.util.spec_from_file_location(
        "metrics", EXAMPLE / "harness_majority" / "metrics.py"
    )
    assert spec and spec.loader
    metrics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metrics)

    def app() -> None: ...

    def custom_dataset(**metadata: Any) -> None: ...

    def process_docs(dataset: Any) -> None: ...

    makes = ("create_from_arg_string", "create_from_arg_obj")
    answers = ("generate_until", "loglikelihood", "loglikelihood_rolling")
    parts = ("__init__", "note", "identity", "write", "score", "passes", "labels", "idle")
    engine = ("open", "attach", "receive", "admit")
    assert SourcedTask.process_results is ConfigurableTask.process_results
    return {
        ("commands", "app"): app,
        ("tasks", "custom_dataset"): custom_dataset,
        ("tasks", "process_docs"): process_docs,
        ("tasks", "process_results"): ConfigurableTask.process_results,
        ("metric", "metric"): metrics.vote_share,
        ("aggregation", "aggregation"): Statistic.__call__,
        ("aggregation", "stderr"): Statistic.stderr,
        ("model", "get_model_info"): HFLM.get_model_info,
        **{("model", name): getattr(LM, name) for name in (*makes, *answers)},
        **{("wrapper", name): getattr(Wrapper, name) for name in parts},
        **{("engine", name): getattr(EnginePart, name) for name in engine},
        **{("filter", name): getattr(Filter, name) for name in ("__init__", "apply")},
    }


def test_what_is_called_is_documented_as_it_is() -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    section = page.partition("## What is called")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)\((.*?)\)` \|", section, re.MULTILINE)
    known = _called()
    assert sorted((kind, name) for kind, name, _ in rows) == sorted(known)
    methods = inspect.getmembers(hookspecs.Registrar, inspect.isfunction)
    assert {kind for kind, _, _ in rows} == {name for name, _ in methods if name[0] != "_"}
    for kind, name, given in rows:
        parameters = inspect.signature(known[kind, name]).parameters.values()
        stars = {inspect.Parameter.VAR_KEYWORD: "**"}
        own = [stars.get(p.kind, "") + p.name for p in parameters if p.name != "self"]
        assert ", ".join(own) == given, f"{kind}: {name}({given})"


def test_the_plugin_in_the_docs_is_the_plugin_that_is_tested() -> None:
    page = (ROOT / "docs" / "write-a-plugin.md").read_text()
    shown = re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    files = [file for file in EXAMPLE.rglob("*") if file.suffix in (".py", ".yaml", ".toml")]
    whole = {str(file.relative_to(EXAMPLE)) for file in files if file.name != "__init__.py"}
    assert {name for name, _ in shown} == whole
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


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    pytest.importorskip("griffe", reason="the reference is made with the extra docs")
    return reference.pages()


def test_the_reference_names_all_that_plugins_bring(made: dict[str, str]) -> None:
    for plugin in discovery.plugins():
        for name in plugin.of_kind("model"):
            assert f"\n## {name}\n" in made["reference/models.md"]
        for name in plugin.of_kind("task"):
            assert re.search(rf"(### |`){name}( \(a group\))?(`|\n)", made["reference/tasks.md"]), (
                name
            )
    for words, command in commands.commands():
        part = made["reference/commands.md"].partition(f"\n## {words}\n")[2].partition("\n## ")[0]
        for option in (o for p in command.params for o in (*p.opts, *p.secondary_opts)):
            assert not option.startswith("--") or f"`{option}`" in part, f"{words} {option}"


def test_every_argument_in_the_reference_has_a_meaning(made: dict[str, str]) -> None:
    for page in ("commands", "models", "options"):
        for line in made[f"reference/{page}.md"].splitlines():
            if line.startswith("| `"):
                assert not line.endswith("|  |"), f"{page}: {line}"


def test_links_lead_on_the_site_to_the_pages_of_the_files_they_lead_to() -> None:
    needed: list[str] = []
    text = (
        "[a](../../docs/running.md#models) [b](../../harness/cli/demo.yaml) [c](#here) "
        "[d](../axbench/README.md#steer) [e](https://example.org/x.md)\n```\n[f](../taid/README.md)\n```\n"
    )
    written = places.rewritten(
        text,
        ROOT / "plugins" / "taid" / "README.md",
        "papers/taid.md",
        lambda _, at: needed.append(at),
    )
    assert written == (
        "[a](../running.md#models) [b](../files/harness/cli/demo.yaml) [c](#here) "
        "[d](axbench.md#steer) [e](https://example.org/x.md)\n```\n[f](../taid/README.md)\n```\n"
    )
    assert needed == ["files/harness/cli/demo.yaml"]


def test_nothing_of_the_site_comes_from_elsewhere() -> None:
    loaded = "<script src=https://cdn.example/x.js>"
    assert places.loaded_from_elsewhere(f"<p>{loaded}") == "https://cdn.example/x.js"
    assert places.loaded_from_elsewhere('<link rel="stylesheet" href="http://a.example/b.css">')
    assert not places.loaded_from_elsewhere('<a href="https://a.example">x</a><script src="b.js">')
