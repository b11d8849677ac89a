"""The long commands with as little to do as they can have, and what they leave."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from forking import Forking
from once import own_cache

from harness.testbed import model_path

CONCEPTS = (
    "terms related to the ocean and sea life",
    "terms related to cooking and food preparation",
)
NAMES, CITIES = ("Anna", "Ben", "Clara", "David"), ("Rome", "Paris", "London")

COMMANDS: dict[str, str] = {
    "axbench train": "harness axbench train --out out --model {inputs}/teacher --layer 0 "
    "--methods diffmean,random --data {inputs}/concepts --shard-size 1 --device cpu",
    "axbench generate": "harness axbench generate --out out --concepts {inputs}/concepts.txt "
    "--writer testbed-writer --negatives-from writer --tokenizer testbed:teacher "
    "--instructions testbed --genres text --train-per-concept 6 --negatives-per-genre 6 "
    "--eval-per-concept 4 --hard-per-concept 2",
    "factcg generate": "harness factcg generate --out out --writer testbed-writer "
    "--source testbed --items 20",
    "factcg train": "harness factcg train --out out --model scratch:3x32 --device cpu "
    "--stage2 {inputs}/pairs.jsonl --max-length 64 --batch-size 4 --device-batch-size 4 "
    "--evaluations 5 --dev-share 0.2",
    "astral generate": "harness astral generate --out out --generator testbed-writer "
    "--seeds testbed --strength 2 --replicates 1",
    "taid capture": "harness taid capture --out out --teacher {inputs}/teacher "
    "--data {inputs}/shards.jsonl --top-k 4 --device cpu --dev-rows 2",
    "taid distill": "harness taid distill --out out --teacher {inputs}/teacher "
    "--student {inputs}/student --data {inputs}/exchanges.jsonl --device cpu --epochs 2 "
    "--batch-size 4 --device-batch-size 4 --dev-rows 2 --save-every 2",
    "specdecode bench": "harness specdecode bench --out out --target {inputs}/teacher "
    "--drafters ngram --prompts testbed --limit 2 --tokens 8 --gammas 1 --schemes gumbel "
    "--batch-sizes 1 --repeats 1 --draws 0 --device cpu --no-chat-template",
    "lm_eval": "lm_eval run --model hf-steered --model_args "
    "pretrained={inputs}/teacher,steering={inputs}/dictionary,method=diffmean,"
    "response_cache=answers.jsonl --tasks axbench_steer --limit 3 --metadata "
    "data={inputs}/concepts judge=testbed-judge --gen_kwargs max_gen_toks=8 "
    "--device cpu --batch_size 4 --output_path out --log_samples",
    "score": "harness score {inputs}/results --judge testbed-judge --out out",
    "leaderboard": "harness leaderboard {inputs}/board --csv out/long.csv --wide out/wide.csv "
    "--html out/page.html",
}


def words(name: str, inputs: Path) -> list[str]:
    """The words of a command."""
    return COMMANDS[name].format(inputs=inputs).split()


def write_inputs(folder: Path) -> None:
    """What commands read that costs little."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "concepts.txt").write_text("".join(f"{text}\n" for text in CONCEPTS))
    pairs = [
        {
            "doc": f"{NAMES[k % 4]} lives in {CITIES[(k + lie) % 3]}. The mill is old. Page {k}.",
            "claim": f"{NAMES[k % 4]} lives in {CITIES[k % 3]}.",
            "label": 1 - lie,
        }
        for k in range(20)
        for lie in (0, 1)
    ]
    exchanges = [
        {"prompt": f"Tell me about window {k}.", "response": "It is late. " * (1 + k % 3)}
        for k in range(600)
    ]
    files = (("pairs", pairs), ("exchanges", exchanges[:24]), ("shards", exchanges))
    for name, rows in files:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines)
    for seed, name in enumerate(("teacher", "student")):
        _model(folder / name, seed)


def _model(folder: Path, seed: int) -> None:
    from taid.tiny import llama
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(model_path("teacher"))
    llama(folder, layers=2, seed=seed, rows=2048, words=words, tie_word_embeddings=False)


def make_inputs(folder: Path, forking: Forking, *names: str) -> None:
    """What commands read that other commands make: concepts, dictionary, results, board."""
    makers = {"concepts": "axbench generate", "dictionary": "axbench train", "results": "lm_eval"}
    for place in names:
        if place == "board":
            _make_board(folder)
            continue
        work = folder / f"making {place}"
        work.mkdir()
        more = ("--steering-instructions", "testbed") if place == "concepts" else ()
        started = forking.start(
            *words(makers[place], folder),
            *more,
            cwd=work,
            PAPERHARNESS_CACHE=str(own_cache(work / "cache")),
        )
        assert started.wait() == 0, started.errors[-3000:]
        (work / "out").rename(folder / place)


def _make_board(folder: Path) -> None:
    (folder / "board").mkdir()
    (results,) = (folder / "results").rglob("results_*.json")
    saved = json.loads(results.read_text())
    for k in range(150):
        saved["config"]["model_args"]["seed"] = k
        name = f"results_2026-01-01T00-{k // 60:02d}-{k % 60:02d}.000000.json"
        (folder / "board" / name).write_text(json.dumps(saved))


_DATES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d[:-]\d\d([:-]\d\d(\.\d+)?)?")
_TIMES = re.compile(
    r'"(?:seconds|total_evaluation_time_seconds|start_time|end_time|date)": ("[^"]*"|[\d.]+)'
)


MEASURED = ("bench.json", "report.html", "table.csv")
"""Files of ``specdecode bench`` that hold what the machine took."""


def content(folder: Path) -> dict[str, str]:
    """The files of a folder and their SHA-256, dates, durations and measured speeds left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            own = path.read_bytes()
            if path.suffix in (".json", ".jsonl", ".html", ".csv"):
                own = _TIMES.sub("", _DATES.sub("", own.decode())).encode()
            name = _DATES.sub("", path.relative_to(folder).as_posix())
            if path.with_name(MEASURED[0]).is_file() and name in MEASURED:
                own = b""
            found[name] = hashlib.sha256(own).hexdigest()
    return found
