"""A command run in this process as if in one of its own: by its words, its output in a file.

Imports are paid once. What one command leaves in the process is put back before the next, as far as
a result could depend on it: environment, folder, arguments, torch's switches.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.host import edge
from harness.secrets import struck

LM_EVAL = "lm_eval"
COMMANDS = {LM_EVAL: "lm_eval.__main__:cli_evaluate", "harness": "harness.cli:main"}
"""The commands that a study may have, and where each begins."""
INTERRUPTED = frozenset({130, 143})
"""Statuses of a command that Ctrl-C or SIGTERM has ended."""
_TAIL = 1 << 16  # bytes
_LINE = 500  # characters


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        status: As a shell counts it.
        said: Its last line; one about its status if it said nothing.
    """

    status: int
    said: str


def run(words: Sequence[str], log: Path) -> Ended:
    """Run ``harness …`` or ``lm_eval …``.

    Args:
        words: The command's.
        log: The file that gets what it prints, in place of what an earlier one printed.

    Raises:
        HarnessError: It is another command, or the log cannot be written.
    """
    if words[0] not in COMMANDS:
        raise HarnessError(f"{words[0]} is none of the commands {', '.join(COMMANDS)}")
    with _output_in(log), _as_new(), edge.sigterm_interrupting():
        status = _status(list(words))
    return Ended(status, last_line(log) or f"it ended with status {status} without a word")


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, as a message may have it."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            return last_of(file.read())
    except FileNotFoundError:
        return ""


def last_of(text: bytes) -> str:
    """The last line of an output that is not empty, as a message may have it."""
    lines = text.decode(errors="replace").replace("\r", "\n").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return one_line(struck(last), _LINE).removeprefix("error: ") if last else ""


def _status(words: list[str]) -> int:
    """Do what Python does with a script of these words; returns its status."""
    sys.argv = words
    try:
        if words[0] == LM_EVAL:
            import harness._autoload  # noqa: F401 -- before lm-eval, where no .pth has done it

            edge.show_own_errors_in_one_line()
        module, _, function = COMMANDS[words[0]].partition(":")
        getattr(import_module(module), function)()
    except SystemExit as end:
        return _status_of(end)
    except BaseException as error:  # noqa: BLE001 -- a command's end is not ours
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except SystemExit as end:
            return _status_of(end)
        return edge.status(error) if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _status_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


@contextmanager
def _output_in(log: Path) -> Iterator[None]:
    """Whatever is written to stdout and stderr, by whomever, goes to a file."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(log, flags, 0o666)
    except OSError as cause:
        raise HarnessError(f"the log {log} cannot be written: {cause.strerror}") from cause
    _flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in kept:
            os.dup2(file, number)
        os.close(file)
        yield
    finally:
        _flush()
        for number, before in kept:
            os.dup2(before, number)
            os.close(before)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


@contextmanager
def _as_new() -> Iterator[None]:
    """What a command changes in the process is as it was afterwards."""
    environment, folder = dict(os.environ), Path.cwd()
    kept = {name: getattr(sys, name) for name in ("argv", "stdout", "stderr", "excepthook")}
    path = list(sys.path)
    switches = _switches()
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(sys, name, value)
        sys.path[:] = path
        os.chdir(folder)
        for key in os.environ.keys() - environment.keys():
            del os.environ[key]
        os.environ.update(environment)
        _set(switches)


def _switches() -> dict[str, Any]:
    """Torch's switches that change results, if it is imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "set_default_dtype": torch.get_default_dtype(),
        "set_num_threads": torch.get_num_threads(),
        "set_grad_enabled": torch.is_grad_enabled(),
        "set_float32_matmul_precision": torch.get_float32_matmul_precision(),
        "use_deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _set(switches: dict[str, Any]) -> None:
    now = _switches()
    for name, value in switches.items():
        if now[name] != value:  # setting one may import what takes long
            getattr(sys.modules["torch"], name)(value)
