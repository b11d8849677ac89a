"""Discovery, ownership of names, broken plugins, and the way into lm-eval."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from forking import Forking

import harness
from harness import PluginError, hookimpl
from harness.host import discovery, joining

pytestmark = pytest.mark.long

ENTRY = "[paperharness]\n{name} = {module}\n"


class Installer:
    """Fakes installed distributions: a dist-info folder and a module each, on ``sys.path``."""

    def __init__(self, site: Path) -> None:
        self.site = site

    def __call__(self, name: str, code: str) -> None:
        info = self.site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(ENTRY.format(name=name, module=f"{name}_plugin"))
        (self.site / f"{name}_plugin.py").write_text(
            "from pathlib import Path\nfrom harness import hookimpl\n" + code
        )


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    discovery.plugins.cache_clear()
    yield Installer(site)
    discovery.plugins.cache_clear()
    for name in [n for n, m in sys.modules.items() if str(site) in str(getattr(m, "__file__", ""))]:
        del sys.modules[name]


REGISTER_MODEL = """
@hookimpl
def register(registrar):
    registrar.model("{model}", "some.module:Class")
"""


def by_name(name: str) -> discovery.Plugin:
    return next(p for p in discovery.plugins() if p.name == name)


def test_a_plugin_is_found_with_what_it_brings(install: Installer) -> None:
    install("zebra", REGISTER_MODEL.format(model="striped"))
    plugin = by_name("zebra")
    assert (plugin.distribution, plugin.version, plugin.error) == ("zebra", "1.0", None)
    assert plugin.of_kind("model") == {"striped": "some.module:Class"}


def test_a_name_taken_twice_names_both_owners(install: Installer) -> None:
    install("zebra", REGISTER_MODEL.format(model="striped"))
    install("zzz", REGISTER_MODEL.format(model="striped"))
    assert by_name("zebra").error is None
    error = by_name("zzz").error
    assert error is not None
    assert "'striped'" in error and "'zebra'" in error and "'zzz'" in error
    assert by_name("zzz").names == {}


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_module_at_all\n", "No module named 'no_such_module_at_all'"),
        ("raise RuntimeError('out of ink')\n", "RuntimeError: out of ink"),
        ("@hookimpl\ndef registr(registrar): ...\n", "registr"),
        ("@hookimpl\ndef register(wrong_argument): ...\n", "wrong_argument"),
        ("x = 1\n", "registers nothing"),
        (REGISTER_MODEL.format(model="x").replace("some.module:Class", "nonsense"), "'nonsense'"),
        (
            "@hookimpl\ndef register(registrar):\n    registrar.tasks(Path('/no/such/folder'))\n",
            "/no/such/folder does not exist",
        ),
    ],
)
def test_a_broken_plugin_is_listed_with_its_cause(
    install: Installer, code: str, cause: str
) -> None:
    install("wreck", code)
    install("zebra", REGISTER_MODEL.format(model="striped"))
    error = by_name("wreck").error
    assert error is not None and cause in error
    assert by_name("zebra").error is None
    assert by_name("axbench").error is None


def test_a_task_file_that_is_no_yaml_breaks_only_its_plugin(
    install: Installer, tmp_path: Path
) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "bad.yaml").write_text("task: [unclosed\n")
    install(
        "wreck",
        f"@hookimpl\ndef register(registrar):\n    registrar.tasks(Path({str(folder)!r}))\n",
    )
    error = by_name("wreck").error
    assert error is not None and "bad.yaml is not valid YAML" in error


def test_lm_evals_own_names_are_refused(install: Installer) -> None:
    install("greedy", REGISTER_MODEL.format(model="hf"))
    import lm_eval.models
    from lm_eval.api.registry import get_model

    joining.join_models(lm_eval.models)
    error = by_name("greedy").error
    assert error is not None and "'hf' is lm-eval's own" in error
    assert get_model("hf").__name__ == "HFLM"


def test_a_name_already_discovered_by_lm_eval_is_left_alone() -> None:
    from lm_eval.api.registry import Registry

    registry: Registry[object] = Registry("model")
    registry.register("m", target=SimpleNamespace(value="some.module:Class"))
    plugin = discovery.Plugin("p", "p", "1")
    joining._enter(registry, "model", plugin, "m", "some.module:Class")
    assert plugin.error is None


def test_a_registrar_refuses_a_second_claim_by_the_same_plugin() -> None:
    plugin = discovery.Plugin("p", "p-dist", "1")
    registrar = discovery.PluginRegistrar(plugin, {})
    registrar.filter("f", "m:F")
    with pytest.raises(PluginError, match=r"'p' .*p-dist 1.* and 'p'"):
        registrar.filter("f", "m:F")


def test_metrics_and_aggregations_reach_lm_eval(install: Installer) -> None:
    code = """
def double(items): return 2 * sum(items)
def hit(references, predictions): return float(references == predictions)
@hookimpl
def register(registrar):
    registrar.aggregation("paperharness_double", "metrical_plugin:double")
    registrar.metric("paperharness_hit", "metrical_plugin:hit",
                     aggregation="paperharness_double", higher_is_better=False)
"""
    install("metrical", code)
    import lm_eval.api.metrics as metrics
    from lm_eval.api.registry import get_metric, get_metric_aggregation, is_higher_better

    stock = metrics.stderr_for_metric
    try:
        joining.join_metrics(metrics)
    finally:
        metrics.stderr_for_metric = stock
    assert get_metric("paperharness_hit")(["a"], ["a"]) == 1.0
    assert get_metric_aggregation("paperharness_hit")([1, 2]) == 6
    assert is_higher_better("paperharness_hit") is False


RUN = """
import lm_eval.tasks
manager = lm_eval.tasks.TaskManager(include_defaults={defaults})
from lm_eval.api import registry
{body}
"""


Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_python(fresh: Forking, install: Installer) -> Python:
    """Runs code where the fake distributions are found; the installed ``.pth`` does the rest."""

    def run(body: str, *, defaults: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        code = RUN.format(body=body, defaults=defaults)
        return fresh.run("-c", code, PYTHONPATH=str(install.site), **env)

    return run


def test_a_run_that_needs_a_broken_plugin_fails_with_its_cause(
    install: Installer, run_python: Python
) -> None:
    install("wreck", "import no_such_module_at_all\n")
    body = "manager.match_tasks(['nobody_has_this'])"
    tasks = run_python(body, defaults=False)
    assert tasks.returncode == 1
    assert "error: tasks not found: nobody_has_this" in tasks.stderr.strip().splitlines()[-1]
    assert "'wreck' (wreck 1.0): ModuleNotFoundError" in tasks.stderr
    assert "Traceback" not in tasks.stderr
    model = run_python("registry.get_model('nobody-has-this')", defaults=False)
    assert model.returncode == 1
    assert "error: model 'nobody-has-this' not found" in model.stderr
    assert "no_such_module_at_all" in model.stderr and "Traceback" not in model.stderr


def test_lm_eval_runs_on_beside_a_broken_plugin(install: Installer, run_python: Python) -> None:
    install("wreck", "import no_such_module_at_all\n")
    body = "print(manager.match_tasks(['hellaswag', 'llm_aggrefact_wice']))"
    done = run_python(body)
    assert done.returncode == 0, done.stderr
    assert "'hellaswag'" in done.stdout and "'llm_aggrefact_wice'" in done.stdout


def test_the_off_switch_leaves_lm_eval_as_it_is(install: Installer, run_python: Python) -> None:
    body = "print(manager.all_tasks, 'hf-steered' in registry.model_registry)"
    off = run_python(body, defaults=False, PAPERHARNESS_AUTOLOAD="0")
    assert off.stdout.strip() == "[] False", off.stderr
    on = run_python(body, defaults=False)
    assert on.stdout.strip() == "[] True", on.stderr


def test_without_lm_evals_defaults_plugins_tasks_stay_out(
    install: Installer, run_python: Python
) -> None:
    done = run_python("print(manager.all_tasks)", defaults=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_task_yaml_loads_with_its_functions() -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    files = [path for p in discovery.plugins() for f in p.folders for path in f.rglob("*.yaml")]
    assert len(files) > 12
    for path in files:
        assert load_yaml(path, resolve_func=True)


def test_hookimpl_is_public() -> None:
    assert hookimpl is harness.hookimpl
