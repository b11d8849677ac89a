"""The command ``harness`` at its edges: quick to start, one clear line when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import typer
from forking import Forking

from harness import HarnessError, __version__
from harness.cli import doctor, plugins
from harness.host import checking, discovery

pytestmark = pytest.mark.long

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def harness(fresh: Forking) -> Command:
    return partial(fresh.run, "harness")


def test_help_lists_everything_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['harness', '--help']\n"
        "from harness.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'lm_eval', 'datasets', 'pandas', 'numpy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("plugins", "doctor", "demo", "leaderboard", "score", "testbed", "axbench"):
        assert command in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_plugins_subcommands(harness: Command) -> None:
    done = harness("axbench", "--help")
    assert done.returncode == 0 and "train" in done.stdout


def test_plugins_shows_what_each_brings(harness: Command) -> None:
    done = harness("plugins")
    assert done.returncode == 0
    for name in (
        "hf-steered",
        "axbench_steer",
        "hf-fact-checker",
        "vllm-fact-checker",
        "llm_aggrefact",
        "testbed-judge",
    ):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("leaderboard", "/no/such/folder"), "/no/such/folder"),
        (("testbed", "path", "nobody"), "nobody"),
        (("score", "/no/such/results.json"), "/no/such/results.json"),
    ],
)
def test_bad_input_is_one_line_and_a_failure(
    harness: Command, words: tuple[str, ...], message: str
) -> None:
    done = harness(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_command_is_a_usage_error(harness: Command) -> None:
    done = harness("levitate")
    assert done.returncode == 2 and "levitate" in done.stderr


def test_version(harness: Command) -> None:
    from harness import __version__

    assert harness("--version").stdout.strip() == f"paperharness {__version__}"


def test_the_testbeds_path_is_all_that_is_printed(harness: Command) -> None:
    done = harness("testbed", "path", "teacher")
    assert (Path(done.stdout.strip()) / "config.json").is_file()


def test_doctor_says_what_to_do(harness: Command) -> None:
    done = harness("doctor", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout
    assert "import hook in place" in done.stdout and "HF_HUB_OFFLINE=1" in done.stdout
    off = harness("doctor", PAPERHARNESS_AUTOLOAD="0")
    assert off.returncode == 1 and "unset PAPERHARNESS_AUTOLOAD" in off.stdout


def test_doctor_notices_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    finding = doctor._hub()
    assert finding.level == "note" and "not reachable" in finding.state


def test_doctor_notices_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda n: None if n == "lm_eval" else known(n))
    finding = doctor._versions()
    assert finding.level == "fail" and "lm_eval" in finding.state


@pytest.mark.parametrize("level", ["ok", "note", "fail"])
def test_doctor_for_machines(
    level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(doctor.CHECKS) == ["versions", "lm_eval", "link", "plugins", "gpu", "vllm", "hub"]
    finding = doctor.Finding("GPU", "none: […]", level, "buy one")
    monkeypatch.setattr(doctor, "CHECKS", {"gpu": lambda: finding})
    with pytest.raises(typer.Exit) if level == "fail" else nullcontext() as end:
        doctor.doctor(json=True)
    if level == "fail":
        assert end.value.exit_code == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": level != "fail",
        "paperharness": __version__,
        "checks": {"gpu": {"level": level, "state": "none: […]", "advice": "buy one"}},
    }


GROUP = "group: sums\ntask:\n" + "".join(f"  - sums_{k}\n" for k in range(9))


@pytest.fixture
def many_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's plugin with a group, a tag and a task that is in neither."""
    (tmp_path / "group.yaml").write_text(GROUP)
    for k in range(12):
        tag = "tag: odd_ones\n" if k in (9, 10) else ""
        (tmp_path / f"sums_{k}.yaml").write_text(f"task: sums_{k}\n{tag}")
    found = discovery.Plugin("counting", "paperharness-counting", "1.0")
    discovery.PluginRegistrar(found, {}).tasks(tmp_path)
    monkeypatch.setattr(discovery, "plugins", lambda: (found,))
    monkeypatch.setattr(checking, "refuse_lm_evals_names", lambda: None)
    monkeypatch.setattr(checking, "faults", lambda plugin: [])
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("many_tasks")
def test_long_lists_of_tasks_are_folded(capsys: pytest.CaptureFixture[str]) -> None:
    plugins.plugins()
    folded = " ".join(capsys.readouterr().out.split())
    assert "tasks: odd_ones (and its 2), sums (and its 9), sums_11 " in folded
    assert "sums_3" not in folded
    for whole in ({"everything": True}, {"names": ["counting"]}):
        plugins.plugins(**whole)  # type: ignore[arg-type]
        shown = capsys.readouterr().out
        assert all(f"sums_{k}" in shown for k in range(12)) and "and its" not in shown


@pytest.mark.usefixtures("many_tasks")
def test_a_plugin_that_there_is_not() -> None:
    with pytest.raises(HarnessError, match=r"^no plugin is called 'countin'; did you mean coun"):
        plugins.plugins(["countin"])
