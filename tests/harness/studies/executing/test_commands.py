"""A command in this process: its output is in its log, and the process is as before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.studies.executing import commands
from harness.studies.executing.commands import Ended, last_line


def run(words: Sequence[str], log: Path) -> Ended:
    """As a worker does, whose stdout and stderr are not pytest's."""
    with (
        open(1, "w", closefd=False) as out,
        open(2, "w", closefd=False) as errors,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        return commands.run(words, log)


def test_output_and_status_are_those_of_the_command(tmp_path):
    log = tmp_path / "logs" / "plugins.log"
    assert run(["harness", "plugins"], log).status == 0
    assert "axbench" in log.read_text()


def test_a_users_error_is_the_last_line_without_its_word(tmp_path):
    log = tmp_path / "log"
    ended = run(["harness", "leaderboard", str(tmp_path / "nowhere")], log)
    assert ended.status == 1
    assert log.read_text().strip().endswith(ended.said) and "nowhere" in ended.said
    assert not ended.said.startswith("error")


def test_a_wrong_usage_has_its_own_status(tmp_path):
    ended = run(["harness", "plugins", "--no-such-option"], tmp_path / "log")
    assert ended.status == 2


def test_a_log_has_one_command_alone(tmp_path):
    log = tmp_path / "log"
    run(["harness", "leaderboard", str(tmp_path / "nowhere")], log)
    run(["harness", "plugins"], log)
    assert "nowhere" not in log.read_text()


@pytest.fixture
def meddling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that changes all it can, and writes past Python."""
    import torch

    def meddle() -> None:
        os.environ["HOME"] = "/elsewhere"
        os.environ["MEDDLED"] = "1"
        os.chdir("/")
        sys.argv, sys.excepthook = ["x"], print  # type: ignore[assignment]
        sys.path.insert(0, "/elsewhere")
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        subprocess.run(["echo", "from a child"], check=True)
        os.write(2, b"past Python\n")
        sys.exit("the end")

    monkeypatch.setattr(sys.modules[__name__], "meddle", meddle, raising=False)
    monkeypatch.setitem(commands.COMMANDS, "meddle", f"{__name__}:meddle")


def test_what_a_command_changes_is_put_back(meddling, tmp_path):
    import torch

    def state() -> tuple[object, ...]:
        return (
            dict(os.environ), Path.cwd(), sys.argv, sys.excepthook, list(sys.path),
            torch.get_default_dtype(), torch.is_grad_enabled(),
        )  # fmt: skip

    before = state()
    ended = run(["meddle"], tmp_path / "log")
    for now, then in zip(state(), before, strict=True):
        assert now == then
    assert (ended.status, ended.said) == (1, "the end")
    assert {"from a child", "past Python"} < set((tmp_path / "log").read_text().splitlines())


def test_other_commands_are_refused(tmp_path):
    with pytest.raises(HarnessError, match="rm is none of the commands lm_eval, harness"):
        run(["rm", "-rf", "/"], tmp_path / "log")


def test_a_log_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "log").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("kept")
    with pytest.raises(HarnessError, match=r"the log .* cannot be written"):
        run(["harness", "plugins"], tmp_path / "log")
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"one\ntwo\n\n", "two"),
        (b"bar 10%\rbar 20%\r", "bar 20%"),
        (b"error: no such folder\n", "no such folder"),
        (b"\xff\x1b[2J\n", "\ufffd\\x1b[2J"),
        (b"", ""),
    ],
)
def test_the_last_line_of_a_log(tmp_path, text, line):
    (tmp_path / "log").write_bytes(text)
    assert last_line(tmp_path / "log") == line


def test_a_log_that_is_not_there_has_no_last_line(tmp_path):
    assert last_line(tmp_path / "log") == ""
