"""Makes one suite again and again, and stops each run but the last in the middle.

The parent has one thread and forks each run, so that what takes long to import is imported once.
Words: the server's address, the seeds, the folder of the suite, the store of answers, and how many
answers each stopped run leaves there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import bm25s  # noqa: F401
import lm_eval.models.openai_completions  # noqa: F401
import torch  # noqa: F401
from harness_astral.generation.generate import generate

from astral.scripted import options

url, seeds, out, kept, *counts = sys.argv[1:]
STOPS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells switch it off in the background


def run() -> None:
    given = {"strength": "full", "replicates": 3, "writer": {"store": kept}}
    try:
        generate(options(url, Path(out), seeds, **given))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def lines() -> int:
    return Path(kept).read_bytes().count(b"\n") if Path(kept).exists() else 0


for number, count in enumerate([*map(int, counts), None]):
    child = os.fork()
    if child == 0:
        run()
    if count is None:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"whole {status}")
        break
    while lines() < count:
        if os.waitpid(child, os.WNOHANG)[0]:
            sys.exit(f"run {number} ended by itself at {lines()} answers")
        time.sleep(0.01)
    os.kill(child, STOPS[number % len(STOPS)])
    os.waitpid(child, 0)
    print(f"stopped {lines()}", flush=True)
