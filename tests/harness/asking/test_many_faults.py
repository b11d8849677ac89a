"""Thousands of questions to a judge that fails in every way that we know: none lost, none twice.

PAPERHARNESS_FAULT_QUESTIONS=4000 pytest -m slow tests/harness/asking -s
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from faulty_server import rate, running

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from harness.asking.assistant import Assistant, Question
from harness.asking.spec import AssistantSpec
from harness.errors import HarnessError
from harness.judging.ratings import parse_rating

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # requests that lm-eval calls off are never awaited
]
QUESTIONS = int(os.environ.get("PAPERHARNESS_FAULT_QUESTIONS", "400"))
FAULTS = (
    *("402", "408", "409", "425", "429", "500", "502", "503", "504", "529"),
    *("garbage", "half", "cut", "empty", "null", "blank", "odd", "parts", "unrated", "twice"),
    *("flood", "surrogate", "refusal", "choiceless", "messageless", "error", "list", "number"),
    *("no-utf8", "hang-up", "reset", "headless", "no-http", "chunk", "gzip"),
)
REFUSED = ("400", "413", "422")
"""A question that the model cannot take is asked no more."""


def refused(prompt: str) -> bool:
    return int(prompt.rpartition(" ")[2]) % 50 == 7


def faults(prompt: str) -> list[str]:
    """Up to two faults of a prompt's first requests; every ninth question's are none."""
    number = int(prompt.rpartition(" ")[2])
    if refused(prompt):
        return [REFUSED[number % 3]] * 1000
    if number % 9 == 0:
        return []
    return random.Random(number).choices(FAULTS, k=1 + number % 2)


def accept(answer: str) -> bool:
    return parse_rating(answer, 0, 2) is not None


def assistant(url: str, store: Path, concurrent: int) -> Assistant:
    args = {"base_url": url, "model": "m", "num_concurrent": concurrent, "max_retries": 1}
    return Assistant(
        AssistantSpec(
            model="local-chat-completions",
            model_args=args | {"timeout": 5},
            retries=40,
            backoff=0,
            store=str(store),
        )
    )


def asked(n: int) -> list[Question]:
    return [Question(prompt=f"Rate item {number}") for number in range(n)]


def wanted(n: int) -> list[str | None]:
    return [None if refused(q.prompt) else rate(q.prompt) for q in asked(n)]


def kept(store: Path) -> Counter[str]:
    return Counter(json.loads(line)["key"] for line in store.read_text().splitlines())


def check(found: list[str | None], store: Path, n: int) -> None:
    assert found == wanted(n)
    lines = kept(store)
    assert len(lines) == n - wanted(n).count(None) and set(lines.values()) == {1}


def test_one_by_one_each_answer_is_paid_once(tmp_path: Path) -> None:
    store, n = tmp_path / "store.jsonl", QUESTIONS
    with running(faults) as server:
        check(assistant(server.url, store, 1).ask(asked(n), accept), store, n)
        paid = {
            prompt: count - len(faults(prompt))
            for prompt, count in server.requests.items()
            if not refused(prompt)
        }
        print(f"\n{server.total:,} requests, {len(FAULTS)} kinds of fault, one at a time")
        assert set(paid.values()) == {1}


@pytest.mark.parametrize("concurrent", [8, 32])
def test_many_at_once_lose_nothing(tmp_path: Path, concurrent: int) -> None:
    store, n = tmp_path / "store.jsonl", QUESTIONS
    with running(faults) as server:
        check(assistant(server.url, store, concurrent).ask(asked(n), accept), store, n)
        print(f"\n{server.total:,} requests, {concurrent} at a time, for {n:,} questions")
        before = dict(server.requests)
        check(assistant(server.url, store, concurrent).ask(asked(n), accept), store, n)
        again = {p for p, count in server.requests.items() if count != before[p]}
        assert all(refused(prompt) for prompt in again), "what is kept is not asked again"


def test_full_disks_on_the_way(tmp_path: Path) -> None:
    """The disk fills eleven times; each time there is a little more room."""
    store, n = tmp_path / "store.jsonl", QUESTIONS
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = 160 * n
    with running(faults) as server:
        for part in range(1, 12):
            resource.setrlimit(resource.RLIMIT_FSIZE, (whole * part // 16, before[1]))
            try:
                with pytest.raises(HarnessError, match=r"cannot be written \(File too large\)"):
                    assistant(server.url, store, 8).ask(asked(n), accept)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        check(assistant(server.url, store, 8).ask(asked(n), accept), store, n)
        print(f"\n{server.total:,} requests with eleven full disks")


def test_processes_that_share_a_store(tmp_path: Path) -> None:
    """Three ask the same, one is killed in the middle and starts again."""
    store, n = tmp_path / "store.jsonl", QUESTIONS
    code = (
        "import sys; sys.path[:0] = {path!r}; from pathlib import Path\n"
        "import test_many_faults as t\n"
        "found = t.assistant({url!r}, Path({store!r}), 4).ask(t.asked({n}), t.accept)\n"
        "assert found == t.wanted({n})\n"
    )
    with running(faults) as server:
        here = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        command = code.format(path=here, url=server.url, store=str(store), n=n)
        start = [sys.executable, "-c", command]
        first, *others = [subprocess.Popen(start) for _ in range(3)]
        while not store.exists() or len(store.read_bytes().splitlines()) < n // 4:
            assert first.poll() is None
        first.kill()
        first.wait()
        again = subprocess.Popen(start)
        assert [process.wait(600) for process in (*others, again)] == [0, 0, 0]
        check(assistant(server.url, store, 4).ask(asked(n), accept), store, n)
        print(f"\n{server.total:,} requests of three processes, one killed, for {n:,} answers")
