"""How long 5,000 results files take to become a leaderboard.

Claim: 5,000 results files to one long CSV in at most 20 seconds on one core. Each file has the
shape and size that lm-eval 0.4.13 writes for a group of four tasks (about 15 kB, most of it task
configurations and the environment's report).

Peers, on the same files: ``json.load`` of every file, which any reader must pay; and, with
pandas installed, ``pandas.json_normalize`` of every file's results into one frame and its CSV.

    python benchmarks/leaderboard_csv.py [--files 5000]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND_SECONDS = 20.0
REPORT = (
    "PyTorch version: 2.13.0+cu130\nIs debug build: False\n"
    "GPU models and configuration: GPU 0: NVIDIA H200\nNvidia driver version: 580.1\n\nCPU:\n"
    "CPU(s):                                  64\n"
    "Model name:                              AMD EPYC 9554\n"
    + "".join(
        f"Vulnerability number {n}:    Mitigation; as described in the manual\n" for n in range(45)
    )
    + "\nVersions of relevant libraries:\n[pip3] numpy==2.4.6\n[pip3] torch==2.13.0+cu130\n"
)


def document(number: int, random_numbers: random.Random) -> dict[str, Any]:
    """One file's content: a group of four tasks with three metrics each."""
    names = [f"suite_{part}" for part in ("steer", "detect", "suppress", "recall")]
    results: dict[str, Any] = {}
    for name in names:
        entry: dict[str, Any] = {"name": name, "alias": name, "sample_len": 500}
        for metric in ("overall", "fluency", "relevance"):
            value = random_numbers.random()
            entry[f"{metric},none"] = value
            entry[f"{metric}_stderr,none"] = 0.02
            entry[f"{metric}_ci95,none"] = [value - 0.04, value + 0.04]
        results[name] = {**entry, "n_unscored,none": number % 3}
    group = {"alias": "suite", "name": "suite", "sample_len": 2000, "overall,none": 0.5}
    config = {
        "test_split": "test",
        "process_docs": "def process_docs(dataset):\n" + "    # a line of source\n" * 40,
        "doc_to_text": "{{instruction}}\n" * 10,
        "metric_list": [{"metric": name, "higher_is_better": True} for name in ("overall",)],
        "metadata": {"version": 1.0, "data_source": "hub", "split": "test", "headline": "overall"},
    }
    method = {"method": "diffmean", "method_args": {"layer": 20, "factor": number / 10}}
    return {
        "results": {**results, "suite": group},
        "groups": {"suite": group},
        "group_subtasks": {"suite": names},
        "configs": {name: {"task": name, **config} for name in names},
        "versions": dict.fromkeys(names, 1.0),
        "n-shot": dict.fromkeys(names, 0),
        "higher_is_better": {name: {"overall": True, "fluency": True} for name in names},
        "n-samples": {name: {"original": 500, "effective": 500} for name in names},
        "config": {
            "model": "hf-steered",
            "model_args": {"pretrained": f"org/model-{number % 50}", "dtype": "bfloat16"},
            "model_dtype": "torch.bfloat16",
            **(method if number % 4 else {}),
            "limit": 10 if number % 20 == 0 else None,
            "random_seed": 0,
            "numpy_seed": 1234,
        },
        "date": 1.76e9 + number,
        "pretty_env_info": REPORT,
        "transformers_version": "5.19.0",
        "lm_eval_version": "0.4.13",
        "total_evaluation_time_seconds": "120.5",
    }


def generate(folder: Path, count: int) -> int:
    """Write the files; returns their bytes."""
    random_numbers = random.Random(0)
    size = 0
    for number in range(count):
        path = folder / f"model-{number % 50}" / f"results_{number:06}.json"
        path.parent.mkdir(exist_ok=True)
        size += path.write_text(json.dumps(document(number, random_numbers), indent=2))
    return size


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def with_pandas(files: list[Path], target: Path) -> None:
    """The peer: every file's results flattened into one frame, written as CSV."""
    import pandas as pd

    frames = [pd.json_normalize(json.loads(path.read_bytes())["results"]) for path in files]
    pd.concat(frames).to_csv(target)


def main() -> int:
    """Print the seconds and ratios; exit status 1 if the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    count = parser.parse_args().files
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from harness.leaderboard import read_results, write_csv, write_html, write_wide

    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        (room / "results").mkdir()
        size = generate(room / "results", count)
        files = sorted((room / "results").rglob("results_*.json"))
        print(f"{count:,} files, {size / 1e6:.0f} MB, one core")
        table = read_results([room / "results"])
        ours = seconds(lambda: write_csv(read_results([room / "results"]), room / "long.csv"))
        loading = seconds(lambda: [json.loads(path.read_bytes()) for path in files])
        print(f"read_results + write_csv    {ours:6.2f} s   {len(table.rows):,} rows")
        print(f"json.load alone             {loading:6.2f} s   ours / this = {ours / loading:.2f}")
        try:
            pandas = seconds(lambda: with_pandas(files, room / "peer.csv"))
        except ImportError:
            print("pandas.json_normalize       not installed")
        else:
            print(
                f"pandas.json_normalize + CSV {pandas:6.2f} s   ours / this = {ours / pandas:.2f}"
            )
        wide = seconds(lambda: write_wide(table, room / "wide.csv"))
        html = seconds(lambda: write_html(table, room / "page.html"))
        page = (room / "page.html").stat().st_size / 1e6
        print(f"write_wide                  {wide:6.2f} s")
        print(f"write_html                  {html:6.2f} s   {page:.1f} MB")
    verdict = "within" if ours <= BOUND_SECONDS else "OVER"
    print(f"{ours:.2f} s is {verdict} the bound of {BOUND_SECONDS:.0f} s")
    return 0 if ours <= BOUND_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
