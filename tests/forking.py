"""Commands as processes of their own, forked from one that has imported what takes long.

``Forking`` is the tests' side; run as a script, this is the process that forks. It has one thread,
and no handlers but Python's own. A command is a process like any other: it has its own output, exit
status and signals.

``Forking(bare=True)`` lends imports of others alone: a command imports the project and lm-eval
anew, as plugins are found then.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import warnings
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
BARE = "--bare"
_OWN = ("harness", "harness_astral", "harness_axbench", "harness_factcg", "harness_specdecode")
_OWN += ("harness_taid", "lm_eval")
"""Packages that a bare process gives away no imports of."""
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
        bare: Whether each command imports the project and lm-eval itself.
        env: What is added to their environment.
    """

    def __init__(self, folder: Path, *modules: str, bare: bool = False, **env: str) -> None:
        self.folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__, *([BARE] if bare else []), *modules],
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
        """Start ``harness``, ``lm_eval``, ``-m`` and a module or ``-c`` and code in a folder."""
        self._count += 1
        name = f"{self._count:05d}"
        pid = self.ask(words=words, cwd=str(cwd), env=env, out=str(self.folder / name))
        assert pid is not None
        return Started(self, pid, self.folder, name)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run such a command to its end, here, in this environment.

        Args:
            words: The command.
            env: What is added to this process's environment, and to that of a wide terminal.
        """
        wide = {"COLUMNS": "200", "NO_COLOR": "1"}
        started = self.start(*words, cwd=Path.cwd(), **os.environ | wide | env)
        status = started.wait()
        return subprocess.CompletedProcess(words, status, started.output, started.errors)

    def close(self) -> None:
        """End the process that forks."""
        self._process.communicate()


def _run(words: list[str]) -> int:
    """What Python does with a script of these words."""
    sys.argv = words
    try:
        if words[0] == "-c":
            sys.argv = words[:1]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        elif words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "lm_eval":
            if "harness._autoload" in sys.modules:  # else it does so
                from harness.host import edge

                edge.show_own_errors_in_one_line()
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


def child(order: dict[str, object]) -> None:
    """Be a command, from its streams to its end."""
    gc.freeze()  # else it looks through, and so copies, all that was imported for it
    for descriptor, end in ((0, None), (1, "out"), (2, "err")):
        place = os.devnull if end is None else f"{order['out']}.{end}"
        flags = os.O_RDONLY if end is None else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(place, flags, 0o666), descriptor)
    os.environ.update(order["env"])  # type: ignore[call-overload]
    if "HF_HOME" in os.environ:
        for name in _READ_ONCE:
            importlib.reload(sys.modules[name])
    os.chdir(order["cwd"])  # type: ignore[call-overload]
    if order.get("bare") or BARE in sys.argv:
        sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        importlib.invalidate_caches()
        warnings.simplefilter("ignore")
    status = 1
    try:
        status = _run(list(order["words"]))  # type: ignore[call-overload]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forget_own() -> None:
    """Take back the imports of lm-eval and of the project."""
    for name in list(sys.modules):
        if name.partition(".")[0] in _OWN:
            del sys.modules[name]
    sys.excepthook = sys.__excepthook__
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if getattr(finder, "__module__", "") != "harness._autoload"
    ]


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in (*MODULES, *sys.argv[1:]):
        if name != BARE:
            importlib.import_module(name)
    if BARE in sys.argv:
        _forget_own()
    for line in sys.stdin:
        order, answer = json.loads(line), None
        if "words" in order:
            answer = os.fork()
            if answer == 0:
                child(order)
        elif order:
            pid = order.get("poll") or order["wait"]
            ended, status = os.waitpid(pid, os.WNOHANG if "poll" in order else 0)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    import harness._autoload  # noqa: F401 -- lm-eval must be imported after it

    _serve()
