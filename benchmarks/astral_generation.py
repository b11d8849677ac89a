"""How fast ``harness astral generate`` is without its model, and what concurrent requests give.

    python benchmarks/astral_generation.py [--latency 0.1] [--rows 1260] [--clock cpu]

Pipeline: the 1,260 inputs of the paper's factors with a generator in this process that answers at
once from a table, so that all the time is the pipeline's own: the plan, retrieval, draws, prompts,
parsing, near duplicates, rows, coverage, diversity, freezing. Every part that does not come from
lm-eval is in it; answers are not stored, as of the testbed's writer. Claim: at least 1,000 rows/s.
On a machine shared with others ``--clock cpu`` counts this process's time instead of wall time.

Concurrency: suites from an OpenAI-compatible server that answers after --latency seconds, through
lm-eval's client with ``num_concurrent`` 1 (a tenth of --rows) and 32 (--rows), in rows a second.
Claim: at least 16 times as many.
The server is a process of its own. Each figure is the median of three runs; modules are imported
before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lm_eval.models.openai_completions
from harness_astral.generation import pipeline, retrieval
from harness_astral.generation.generate import generate
from harness_astral.generation.options import Options
from harness_astral.suites.factors import read_factors

from harness.asking.desk import writer_spec
from harness.asking.spec import AssistantSpec
from harness.testbed.assistants.rule_model import RuleModel

ROWS_A_SECOND, RATIO = 1000, 16
REPEATS = 3
SEEDS_A_CATEGORY = 100


def written(prompt: str, seed: object = 0) -> str:
    """A message of forty words that nobody else has."""
    mark = hashlib.sha256(f"{prompt} {seed}".encode()).hexdigest()
    words = [f"{mark[k : k + 3]}{mark[-k - 1]}" for k in range(40)]
    return f"<input>{' '.join(words)}</input>"


class Instant(RuleModel):
    """Answers at once."""

    title = "instant"

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """A message for each request."""
        return [written(request.args[0], number) for number, request in enumerate(requests)]


def seeds_file(folder: Path) -> str:
    """A hundred seeds of each category."""
    rows = [
        {"category": name, "text": f"{name} text number {k} about gnome {k % 7} and cloud {k % 11}"}
        for name in read_factors().names()["category"]
        for k in range(SEEDS_A_CATEGORY)
    ]
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "seeds.jsonl")


def seconds(options: Options, clock: Callable[[], float]) -> tuple[float, int]:
    """Time of one suite, and its inputs."""
    start = clock()
    made = generate(options)
    return clock() - start, len(made.inputs)


def pipeline_rate(folder: Path, seeds: str, clock: Callable[[], float]) -> float:
    """Rows a second without a model, median."""
    import lm_eval.models  # noqa: F401 -- fills the registry
    from lm_eval.api.registry import model_registry

    from harness.asking import assistant

    if "instant" not in model_registry:
        model_registry.register("instant", target=Instant)
    assistant._UNSTORED |= {"instant"}  # type: ignore[misc]
    rates = []
    for turn in range(REPEATS + 1):
        took, rows = seconds(
            Options(out=folder / f"p{turn}", generator=AssistantSpec(model="instant"), seeds=seeds),
            clock,
        )
        rates.append(rows / took)
    return statistics.median(rates[1:])


class Server(ThreadingHTTPServer):
    """Answers chat requests after a fixed latency."""

    daemon_threads, block_on_close, request_queue_size = True, False, 128
    latency = 0.1


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(Server.latency)
        text = written(payload["messages"][-1]["content"], payload.get("seed"))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        body = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def served(folder: Path, seeds: str, address: str, concurrent: int, rows: int) -> float:
    """Seconds a row with so many requests at a time, median."""
    file = folder / "few.yaml"
    levels = "\n".join(f"  - {json.dumps(name)}" for name in read_factors().names()["category"])
    file.write_text(f"category:\n{levels}\nstyle: [slang]\npersuasion: [logical_appeal]\n")
    times = []
    for turn in range(REPEATS):
        args = {"base_url": address, "model": "w", "num_concurrent": concurrent, "max_retries": 1}
        store = str(folder / f"answers-{concurrent}-{turn}.jsonl")
        given = {"model": "local-chat-completions", "model_args": args, "store": store}
        took, made = seconds(
            Options(
                out=folder / f"s{concurrent}-{turn}",
                generator=writer_spec(json.dumps(given)),
                seeds=seeds,
                factors=file,
                variant="rag",
                replicates=max(1, rows // 14),
            ),
            time.perf_counter,
        )
        times.append(took / made)
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both figures; exit status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--rows", type=int, default=1260)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args(arguments)
    Server.latency = options.latency
    assert lm_eval.models.openai_completions and pipeline and retrieval
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["PAPERHARNESS_CACHE"] = str(folder / "cache")
        seeds = seeds_file(folder)
        clock = time.process_time if options.clock == "cpu" else time.perf_counter
        rate = pipeline_rate(folder, seeds, clock)
        print(
            f"pipeline without a model: {rate:,.0f} rows/s ({options.clock} time, 1,260 rows; "
            f"claim {ROWS_A_SECOND:,})"
        )
        server = Server(("127.0.0.1", 0), _Handler)
        elsewhere = multiprocessing.get_context("fork").Process(target=server.serve_forever)
        elsewhere.start()
        address = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        one = served(folder, seeds, address, 1, options.rows // 10)
        many = served(folder, seeds, address, 32, options.rows)
        elsewhere.kill()
    ratio = one / many
    print(
        f"latency {options.latency} s: {1 / one:.1f} rows/s with 1 request at a time, "
        f"{1 / many:.1f} with 32: ratio {ratio:.1f} (claim {RATIO})"
    )
    return int(rate < ROWS_A_SECOND or ratio < RATIO)


if __name__ == "__main__":
    sys.exit(main())
