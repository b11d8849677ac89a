"""Every command: what its help says, the example it ends with, and what a shell completes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Annotated, Any

import pytest
import typer

from harness.cli.app import build
from harness.cli.tree import EXAMPLE, finish, leaves

TREE: Any = build()
COMMANDS = dict(leaves(TREE))
PYTHONS = re.compile(r"<(bool|str|int|float|path range|(int|float) range|list\[.*|.*\bNone)>")


def help_of(command: Any, *path: str) -> str:
    context = command.make_context(" ".join(path), [], resilient_parsing=True)
    return str(command.get_help(context))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_ends_its_help_with_an_example_that_it_takes(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.epilog and command.epilog.startswith(EXAMPLE + "harness "), path
    assert EXAMPLE not in command.help
    words = shlex.split(command.epilog.removeprefix(EXAMPLE))
    assert tuple(words[1 : 1 + len(path)]) == path
    command.make_context(" ".join(path), words[1 + len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_options_say_what_they_take_as_lm_evals_do(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = COMMANDS[path]
    shown = help_of(command, *path) + capsys.readouterr().out
    assert not PYTHONS.search(shown), shown
    for param in command.params:
        if param.param_type_name == "option":
            assert param.metavar == "" if param.is_flag else re.fullmatch("<.+>", param.metavar)


def test_a_third_partys_commands_are_finished_alike(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def pick(
        count: int = 3,
        *,
        ripe: bool = True,
        names: Annotated[list[str] | None, typer.Option(metavar="FRUIT")] = None,
    ) -> None:
        """Pick fruit: as
        many as asked for.

        Example: harness fruit pick --count 2
        --no-ripe
        """

    command = finish(typer.main.get_command(app))
    assert command.help == "Pick fruit: as many as asked for."
    assert command.epilog == "Example: harness fruit pick --count 2 --no-ripe"
    shown = help_of(command, "pick") + capsys.readouterr().out
    assert "--count <n>" in shown and "--names <fruit>" in shown
    assert re.search(r"--no-ripe\s+\\?\[default", shown) and re.search(r"--help\s+Show", shown)


@pytest.fixture
def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """What bash is told of a line that is being typed; its last word is not finished."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_HARNESS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        with pytest.raises(SystemExit) as end:
            TREE(prog_name="harness")
        assert not end.value.code
        return capsys.readouterr().out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("harness axb", ["axbench"]),
        ("harness axbench tr", ["train"]),
        ("harness axbench train --metho", ["--methods"]),
        ("harness doctor --js", ["--json"]),
        ("harness plugins fact", ["factcg"]),
        ("harness testbed path te", ["teacher"]),
        ("harness run study.yaml --executor r", ["ray"]),
        ("harness taid distill --objective ta", ["taid"]),
        ("harness axbench train --methods diffmean,reft", ["diffmean,reft_r1"]),
        ("harness axbench train --methods pca,pc", []),
        ("harness specdecode bench --schemes minhash,", ["minhash,gumbel", "minhash,leviathan"]),
    ],
)
def test_the_shell_completes(
    completed: Callable[..., list[str]], line: str, told: list[str]
) -> None:
    assert completed(line) == told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed(
    shell: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda *given: (shell, f"/bin/{shell}"))
    with pytest.raises(SystemExit) as end:
        TREE(["--install-completion"], prog_name="harness")
    assert not end.value.code and f"{shell} completion installed" in capsys.readouterr().out
    written = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert any(f"_HARNESS_COMPLETE=complete_{shell}" in text for text in written)
