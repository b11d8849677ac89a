"""Signals at the command's edge: real ones, at moments that are chosen."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

STRIKES = """
import os, signal, sys
class Strikes:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{name})
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Strikes)
sys.argv = {words!r}
"""
HARNESS = "from harness.cli import main\nmain()\n"
LM_EVAL = "import harness._autoload\nfrom lm_eval.__main__ import cli_evaluate\ncli_evaluate()\n"


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("module", ["harness.cli.app", "typer", "harness.host.discovery"])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_the_imports_is_one_line(module, name, status):
    done = python(STRIKES.format(module=module, name=name, words=["harness", "--help"]) + HARNESS)
    assert (done.returncode, done.stderr) == (status, "interrupted\n")


@pytest.mark.parametrize(("name", "status"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_a_signal_during_lm_evals_imports_is_one_line(name, status):
    words = ["/usr/bin/lm_eval", "--help"]
    code = STRIKES.format(module="lm_eval._cli", name=name, words=words) + LM_EVAL
    done = python(code)
    assert done.returncode == status, "Python ends by SIGINT itself, so that a shell's loop ends"
    assert done.stderr.startswith("interrupted; ") and done.stderr.count("\n") == 1


def test_a_signal_that_an_import_turns_into_an_error_is_one_line():
    code = STRIKES.format(module="typer", name="SIGINT", words=["harness"])
    code += (
        "class Turns:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            try: Strikes.find_spec(name)\n"
        "            except KeyboardInterrupt as stop: raise ImportError('numpy') from stop\n"
        "sys.meta_path[0] = Turns\n"
    )
    done = python(code + HARNESS)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_library_is_not_the_command():
    code = (
        "import signal, sys; sys.argv = ['mine.py']; hook = sys.excepthook\n"
        "import harness._autoload\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, sys.excepthook is hook)"
    )
    assert python(code).stdout == "True True\n"


def test_handlers_of_others_stay_and_other_threads_and_processes_get_none():
    code = """
import multiprocessing, os, signal, threading
from harness.host.edge import Terminated, sigterm_interrupting, sigterm_interrupts

def default(): return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

thread = threading.Thread(target=lambda: print(sigterm_interrupts()))
thread.start(); thread.join()
signal.signal(signal.SIGTERM, own := lambda *_: None)
print(sigterm_interrupts(), signal.getsignal(signal.SIGTERM) is own)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
with sigterm_interrupting():
    print(default())
    pid = os.fork()
    if pid == 0:
        os._exit(10 + default())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=lambda: os._exit(sigterm_interrupts()))
    child.start(); child.join(); print(child.exitcode)
print(default())
"""
    assert python(code).stdout.split() == ["False", "False", "True", "False", "11", "0", "True"]


def test_sigterm_twice_in_a_row_counts_once_as_timeout_sends_it():
    code = """
import os, signal
from harness.host.edge import sigterm_interrupts
sigterm_interrupts()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    print("taken back")
"""
    assert python(code).stdout == "taken back\n"


def test_an_error_below_an_open_bar_has_a_line_of_its_own():
    code = """
import tqdm
from harness.errors import HarnessError
from harness.host.edge import show_own_errors_in_one_line
show_own_errors_in_one_line()
bar = tqdm.tqdm(total=3)
bar.update()
raise HarnessError("no room")
"""
    done = python(code)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "error: no room"


DROPPED = """
import os, signal, sys, time
from harness.host import edge
edge.sigterm_interrupts()

class Odd:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

try:
    Odd()
    print("went on", flush=True)
    time.sleep(30)
except KeyboardInterrupt as stop:
    edge.tell(edge.said(stop))
    sys.exit(edge.status(stop))
"""


def test_sigterm_that_python_drops_is_sent_again():
    """An exception in a destructor ends nothing; the next reminder does."""
    done = subprocess.run(
        [sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("went on\n", "interrupted\n", 143)
