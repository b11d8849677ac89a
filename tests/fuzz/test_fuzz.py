"""All readers of files and all parsers, on what is mangled: one line, soon, in little memory.

PAPERHARNESS_FUZZ_FILES=1000000 PAPERHARNESS_FUZZ_CALLS=50000000 pytest -m slow tests/fuzz -s \\
  -p no:logging  # pytest would keep all that is logged
"""

from __future__ import annotations

import importlib
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from mangling import SECONDS, Target, outcome, read_mangled, text

from harness import HarnessError

PACKAGES = ("harness", "axbench", "factcg", "astral", "taid")
FILES = int(os.environ.get("PAPERHARNESS_FUZZ_FILES", "20000"))
CALLS = int(os.environ.get("PAPERHARNESS_FUZZ_CALLS", "1000000"))
SEED = int(os.environ.get("PAPERHARNESS_FUZZ_SEED", "1"))
LARGEST = 2**30  # bytes that reading may add


def listed(package: str) -> object:
    if package != "harness":
        return importlib.import_module(f"{package}.mangling_targets")
    sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))  # no package: its name is taken
    return importlib.import_module("mangling_targets")


def parsers() -> dict[str, Callable[[str], object]]:
    return {
        f"{package}.{name}": parser
        for package in PACKAGES
        for name, parser in getattr(listed(package), "PARSERS", {}).items()
    }


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def usual(target: Target) -> float:
    """Seconds of a read; what is read fast is mangled more often."""
    begun = time.perf_counter()
    for _ in range(20):
        assert outcome(target) == "read", target.name
    return time.perf_counter() - begun


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", PACKAGES)
def test_mangled_files(package: str, tmp_path: Path) -> None:
    targets: list[Target] = listed(package).targets(tmp_path)  # type: ignore[attr-defined]
    chance = random.Random(SEED)
    ends: Counter[str] = Counter()
    shares = [1 / usual(target) for target in targets]
    before = peak()
    for target, share in zip(targets, shares, strict=True):
        for _ in range(max(100, int(FILES / len(PACKAGES) * share / sum(shares)))):
            ends["read" if read_mangled(target, chance) == "read" else "refused"] += 1
    print(f"\n{package}: {len(targets)} readers, {dict(ends)}, {peak() - before:,} bytes more")
    assert peak() - before < LARGEST


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_fuzzed_parsers() -> None:
    chance = random.Random(SEED)
    known = parsers()
    weights = []
    for name, parser in known.items():  # what parses fast is called more often
        begin = time.perf_counter()
        for _ in range(200):
            _parsed(name, parser, text(chance))
        weights.append(1 / (time.perf_counter() - begin))
    before, counts = peak(), Counter(dict.fromkeys(known, 200))
    while counts.total() < CALLS:
        given = text(chance)
        for name in chance.choices(list(known), weights, k=50):
            _parsed(name, known[name], given)
            counts[name] += 1
    print(f"\n{counts.total():,} calls of {len(known)} parsers, of each {min(counts.values()):,}")
    assert peak() - before < LARGEST


def _parsed(name: str, parser: Callable[[str], object], given: str) -> None:
    begun = time.thread_time()
    try:
        parser(given)
    except HarnessError:
        pass
    except Exception as cause:
        raise AssertionError(f"{name}({given!r})") from cause
    seconds = time.thread_time() - begun
    assert seconds < SECONDS, (name, seconds, len(given))
