"""What the import hook costs and saves: Python's start, and lm-eval, with it against without.

Two virtual environments that borrow the same packages; one also has ``harness.pth``. Runs
alternate, medians are compared. Claims: at most 2 ms more for Python's start, at most 5 % more for
``lm_eval --help``; ``lm_eval validate``, which needs the index of lm-eval's own tasks as every run
does, in at most 0.7 of the time, as the index is kept.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

import harness

PACKAGE = Path(harness.__file__).parent


def environment(folder: Path, *, with_hook: bool) -> Path:
    """A virtual environment without pip that borrows this one's packages; returns its Python."""
    venv.create(folder, with_pip=False)
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    python = folder / "bin" / "python"
    site = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    (site / "borrowed.pth").write_text(f"{PACKAGE.parent}\n{sysconfig.get_paths()['purelib']}\n")
    if with_hook:
        (site / "harness.pth").write_text((PACKAGE / "harness.pth").read_text())
    return python


def seconds(python: Path, *words: str) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    subprocess.run([python, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def compare(pythons: dict[str, Path], repeats: int, *words: str) -> dict[str, float]:
    """Median seconds of alternating runs; the first run of each warms the caches."""
    times: dict[str, list[float]] = {name: [] for name in pythons}
    for turn in range(repeats + 1):
        for name, python in pythons.items():
            took = seconds(python, *words)
            if turn:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    """Print both comparisons; exit status 1 if a claim does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        pythons = {
            "without": environment(Path(folder) / "without", with_hook=False),
            "with": environment(Path(folder) / "with", with_hook=True),
        }
        start = compare(pythons, 60, "-c", "pass")
        helped = compare(pythons, 15, "-m", "lm_eval", "--help")
        os.environ["PAPERHARNESS_CACHE"] = folder
        indexed = compare(pythons, 5, "-m", "lm_eval", "validate", "--tasks", "hellaswag")
    more = 1000 * (start["with"] - start["without"])
    ratio = helped["with"] / helped["without"]
    print(
        f"python -c pass:   {1000 * start['without']:.1f} ms without, {more:+.2f} ms with the hook"
    )
    print(f"lm_eval --help:   {helped['without']:.2f} s without, ratio {ratio:.3f} with the hook")
    saved = indexed["with"] / indexed["without"]
    print(f"lm_eval validate: {indexed['without']:.2f} s without, ratio {saved:.3f} with the hook")
    return int(more > 2 or ratio > 1.05 or saved > 0.7)


if __name__ == "__main__":
    sys.exit(main())
