"""Long commands killed at random moments, run again, and compared with runs that nobody disturbed.

    python benchmarks/kills.py [--kills 20] [--only COMMAND] [--seed 7] [--work FOLDER]

Each of ``tests/long_commands.py`` runs once to its end, which gives its time and its result. Then,
as often as told, it is started in a new folder and stopped at a moment drawn from that time: by
SIGKILL, by SIGTERM, or as one of two that start at once, one of which is killed. It is run again to
its end, and must leave the same files (dates and durations aside), and nothing else: no draft, no
lock, no work folder. After SIGTERM the exit status must be 143, with one line of the command's own
and no traceback. Commands are forked from a process that has imported everything; every fifth that
is to be stopped is a new Python instead, and may be stopped in its imports.

One line a command: kills by kind, how many ended before they were stopped, how many results are
equal, and what was left over. Each fault has a line of its own; the exit status is 1 if there was
any. Twenty kills of each command take about 25 minutes on one core.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from forking import Forking, Started
from long_commands import COMMANDS, content, make_inputs, words, write_inputs

KINDS = ("SIGKILL", "SIGTERM", "two")
FRESH = 5
IMPORTS = 8.0
"""Seconds that a new Python's imports are reckoned to take."""


@dataclass
class Fresh:
    """A command in a new Python; has what ``Started`` has."""

    process: subprocess.Popen[bytes]
    place: Path

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status."""
        return self.process.wait()

    @property
    def errors(self) -> str:
        """What it has printed on stderr."""
        return self.place.read_text()


@dataclass
class Bench:
    """A command with its inputs and its undisturbed result."""

    name: str
    inputs: Path
    work: Path
    forking: Forking
    seconds: float = 0.0
    result: dict[str, str] | None = None

    def start(self, folder: Path) -> Started:
        """The command, forked."""
        return self.forking.start(*self.words, cwd=folder, PAPERHARNESS_CACHE=f"{folder}/cache")

    def start_fresh(self, folder: Path) -> Fresh:
        """The command in a new Python."""
        place = self.work / "fresh.err"
        with place.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", *self.words],
                cwd=folder,
                env=os.environ | {"PAPERHARNESS_CACHE": f"{folder}/cache"},
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        return Fresh(process, place)

    @property
    def words(self) -> list[str]:
        """The command's words."""
        return words(self.name, self.inputs)

    def reference(self) -> None:
        """Run to the end, undisturbed."""
        folder = self.new_folder()
        began = time.monotonic()
        run = self.start(folder)
        if run.wait() != 0:
            sys.exit(f"{self.name} fails by itself: {run.errors[-3000:]}")
        self.seconds = time.monotonic() - began
        self.result = content(folder / "out")
        left = left_over(folder)
        if left:
            print(f"{self.name}: an undisturbed run leaves {left}")

    def new_folder(self) -> Path:
        """An empty folder to run in."""
        folder = self.work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def kill(self, kind: str, rng: random.Random, *, fresh: bool) -> tuple[bool, list[str]]:
        """Stop the command once and run it again; whether it was stopped, and what is wrong."""
        folder = self.new_folder()
        wrong: list[str] = []
        run = self.start_fresh(folder) if fresh else self.start(folder)
        second = self.start(folder) if kind == "two" else None
        time.sleep(rng.uniform(0, self.seconds + IMPORTS * fresh))
        stopped = run.running()
        if stopped:
            run.send(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        status = run.wait()
        if kind == "SIGTERM" and stopped:
            wrong += told_wrongly(status, run.errors, fresh=fresh)
        if second is not None and second.wait() != 0:
            lines = ours(second.errors)
            if second.wait() != 1 or len(lines) != 1 or "Traceback" in second.errors:
                wrong.append(f"the second of two ended with {second.wait()}: {lines}")
        again = self.start(folder)
        if again.wait() != 0:
            wrong.append(f"the next run ended with {again.wait()}: {ours(again.errors)}")
        elif content(folder / "out") != self.result:
            made = content(folder / "out")
            assert self.result is not None
            unlike = {k for k in {*made, *self.result} if made.get(k) != self.result.get(k)}
            wrong.append(f"not equal: {sorted(unlike)}")
        if left := left_over(folder):
            wrong.append(f"left over: {left}")
        return stopped, wrong


def ours(errors: str) -> list[str]:
    """The lines that the command's edge has printed."""
    lines = [line.rpartition("\r")[2] for line in errors.splitlines()]
    return [line for line in lines if line.startswith(("error: ", "interrupted"))]


def told_wrongly(status: int, errors: str, *, fresh: bool) -> list[str]:
    """What is wrong with the end of a command that SIGTERM has stopped."""
    allowed = {0, 143, *([-signal.SIGTERM] if fresh else [])}  # 0: it was done, and just ending
    wrong = [] if status in allowed else [f"SIGTERM ended it with {status}: {errors[-300:]!r}"]
    if len(ours(errors)) > 1 or "Traceback" in errors:
        wrong.append(f"SIGTERM left {errors[-600:]!r}")
    return wrong


def left_over(folder: Path) -> list[str]:
    """What lies there that no finished command leaves."""
    hidden = [path for path in folder.rglob("*") if path.name.startswith(".")]
    return sorted(path.relative_to(folder).as_posix() for path in hidden)


def main() -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--only", choices=COMMANDS, help="one command")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--work", type=Path, help="folder to work in; default: a temporary one")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(dir=given.work) as place:
        return run(Path(place), [given.only] if given.only else list(COMMANDS), given)


def run(work: Path, names: list[str], given: argparse.Namespace) -> int:
    """Kill these commands."""
    began = time.monotonic()
    (work / "output").mkdir()
    forking = Forking(work / "output")
    write_inputs(work / "inputs")
    make_inputs(work / "inputs", forking, "concepts", "dictionary", "results", "board")
    faults = kills = 0
    for name in names:
        bench = Bench(name, work / "inputs", work, forking)
        bench.reference()
        rng = random.Random(f"{given.seed} {name}")
        counts: Counter[str] = Counter()
        for number in range(given.kills):
            kind = KINDS[number % len(KINDS)]
            fresh = number % FRESH == FRESH - 1
            stopped, wrong = bench.kill(kind, rng, fresh=fresh)
            counts[kind if stopped else "ended before"] += 1
            counts["not equal"] += any("left over" not in one for one in wrong)
            counts["left over"] += any("left over" in one for one in wrong)
            for one in wrong:
                print(f"  {name}, {number} ({kind}{', fresh' if fresh else ''}): {one}", flush=True)
        done = sum(counts[kind] for kind in KINDS)
        by = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
        print(
            f"{name} ({bench.seconds:.1f} s): {done} kills ({by}; {counts['ended before']} ended "
            f"before), {given.kills - counts['not equal']} of {given.kills} equal, "
            f"{counts['left over']} with something left over",
            flush=True,
        )
        faults += counts["not equal"] + counts["left over"]
        kills += done
    forking.close()
    print(f"{kills} kills, {faults} faults, {time.monotonic() - began:.0f} s")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
