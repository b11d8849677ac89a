"""Commands as processes of their own, forked from one that has imported what takes long.

``Forking`` is the tests' side; run as a script, this is the process that forks. It has one thread,
and no handlers but Python's own. A command is a process like any other: it has its own output, exit
status and signals.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MODULES = (
    *("torch", "transformers", "accelerate", "datasets", "pandas", "pyarrow.parquet", "scipy"),
    *("lm_eval.__main__", "lm_eval.tasks", "lm_eval.evaluator", "lm_eval.models.huggingface"),
    *("lm_eval.models.openai_completions", "peft", "sklearn.metrics", "networkx", "bm25s"),
    *("rich.console", "rich.table", "harness.cli.app", "harness.judging.rescore"),
    *("harness_axbench.training.train", "harness_axbench.generation.generate"),
    *("harness_axbench.models.hf", "harness_axbench.tasks", "harness_factcg.generation.generate"),
    *("harness_factcg.training.train", "harness_astral.generation.generate"),
    *("harness_taid.training.distill", "harness_taid.training.capture"),
    *("harness_specdecode.bench.bench", "harness.testbed.assistants.judge_model"),
)
_READ_ONCE = ("huggingface_hub.constants", "datasets.config")
"""Where the hub's clients keep what the environment said when they were imported."""


@dataclass
class Started:
    """A command that runs, or has run."""

    forking: Forking
    pid: int
    folder: Path
    name: str
    began: float = field(default_factory=time.monotonic)
    status: int | None = None

    def running(self) -> bool:
        """Whether it has not ended."""
        if self.status is None:
            self.status = self.forking.ask(poll=self.pid)
        return self.status is None

    def send(self, number: int) -> None:
        """Send a signal."""
        if self.running():
            os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit status; minus the signal's number after a kill."""
        if self.status is None:
            self.status = self.forking.ask(wait=self.pid)
        return self.status

    def until(self, there: Callable[[], object], seconds: float = 60) -> None:
        """Wait until something holds, while the command runs."""
        deadline = time.monotonic() + seconds
        while not there():
            assert self.running(), f"ended with {self.status} before: {self.errors}"
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(0.002)

    @property
    def output(self) -> str:
        """What it has printed."""
        return (self.folder / f"{self.name}.out").read_text()

    @property
    def errors(self) -> str:
        """What it has printed on stderr."""
        place = self.folder / f"{self.name}.err"
        return place.read_text() if place.exists() else ""


class Forking:
    """Starts commands.

    Args:
        folder: Where their output goes.
        modules: What is imported besides.
        env: What is added to their environment.
    """

    def __init__(self, folder: Path, *modules: str, **env: str) -> None:
        self.folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | env,
        )
        self.ask()

    def ask(self, **order: object) -> int | None:
        """Send an order; returns the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer is None or isinstance(answer, int)
        return answer

    def start(self, *words: str, cwd: Path, **env: str) -> Started:
        """Start ``harness`` or ``lm_eval``, the first word, in a folder."""
        self._count += 1
        name = f"{self._count:05d}"
        pid = self.ask(words=words, cwd=str(cwd), env=env, out=str(self.folder / name))
        assert pid is not None
        return Started(self, pid, self.folder, name)

    def close(self) -> None:
        """End the process that forks."""
        self._process.communicate()


def _run(words: list[str]) -> int:
    """What Python does with a script of these words."""
    from harness.host import edge

    sys.argv = words
    try:
        if words[0] == "lm_eval":
            edge.show_own_errors_in_one_line()  # as harness/_autoload.py does
            edge.sigterm_interrupts()
            from lm_eval.__main__ import cli_evaluate

            cli_evaluate()
        else:
            from harness.cli import main

            main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except SystemExit as end:
            return int(end.code or 0)
        return 1
    return 0


def _child(order: dict[str, object]) -> None:
    for descriptor, end in ((0, None), (1, "out"), (2, "err")):
        place = os.devnull if end is None else f"{order['out']}.{end}"
        flags = os.O_RDONLY if end is None else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(place, flags, 0o666), descriptor)
    os.environ.update(order["env"])  # type: ignore[call-overload]
    if "HF_HOME" in os.environ:
        for name in _READ_ONCE:
            importlib.reload(sys.modules[name])
    os.chdir(order["cwd"])  # type: ignore[call-overload]
    status = 1
    try:
        status = _run(order["words"])  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in (*MODULES, *sys.argv[1:]):
        importlib.import_module(name)
    for line in sys.stdin:
        order, answer = json.loads(line), None
        if "words" in order:
            answer = os.fork()
            if answer == 0:
                _child(order)
        elif order:
            pid = order.get("poll") or order["wait"]
            ended, status = os.waitpid(pid, os.WNOHANG if "poll" in order else 0)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    import harness._autoload  # noqa: F401 -- lm-eval must be imported after it

    _serve()
