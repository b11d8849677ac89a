"""Every plugin takes from the hub what it would take from a user's files, with equal results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub import content
from hub.conftest import Command, Ended
from hub.server import Hub

pytestmark = pytest.mark.long

TIMED = ("per_second", "speedup", "acceptance_rate", "accepted_tokens")
"""Metrics that hang on the machine's speed; drafts grow with it."""

Both = Callable[[str, str], tuple[Ended, Ended]]


@pytest.fixture
def both(run: Command, shared_home: Path, local: Path) -> Both:
    """Runs a command on the hub's data, once more offline, and on a user's own."""

    def runs(line: str, own: str) -> tuple[Ended, Ended]:
        first = run(line.replace("LOCAL", str(local)), home=shared_home, token=content.ACCEPTED)
        assert first.status == 0, first.errors[-3000:]
        again = run(line.replace("LOCAL", str(local)), home=shared_home, offline=True)
        assert again.status == 0, again.errors[-3000:]
        assert _outcome(again) == _outcome(first)
        other = run(own.replace("LOCAL", str(local)), home=shared_home / "unused", offline=True)
        assert other.status == 0, other.errors[-3000:]
        return first, other

    return runs


def _outcome(ended: Ended) -> dict[str, Any]:
    """What a command has made, without times, names and places."""
    made = ended.folder / "out"
    results = list(made.rglob("results_*.json"))
    if results:
        return _metrics(json.loads(results[0].read_text()))
    kept = [made] if made.is_file() else [p for p in made.rglob("*") if _is_content(p)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def _metrics(results: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for task, values in results["results"].items():
        told = results["configs"][task]["metadata"]
        found[task] = [told["data_sha256"], told["n_rows"]] + [
            (name, value)
            for name, value in sorted(values.items())
            if not any(part in name for part in TIMED) and name not in ("alias", "sample_len")
        ]
    return found


def _is_content(path: Path) -> bool:
    return path.suffix in (".safetensors", ".parquet") or path.name == "cg2c.jsonl"


def _same(pair: tuple[Ended, Ended]) -> None:
    first, other = map(_outcome, pair)
    assert first
    assert first == other


def test_tasks_of_every_plugin(both: Both) -> None:
    tasks = "llm_aggrefact_wice,llm_aggrefact_tuned_wice,axbench_detect_prompt,axbench_steer_prompt"
    start = "lm_eval run --model hf --model_args pretrained={} --device cpu --output_path out "
    start += f"--limit 4 --gen_kwargs max_gen_toks=8 --tasks {tasks},astral_safety --metadata "
    shared = " judge=testbed-judge axbench_writer=template"
    own = "aggrefact_data=LOCAL/aggrefact axbench_data=LOCAL/concept10 astral_data=LOCAL/suite"
    pair = both(
        f"{start.format(content.TEACHER)}astral_data={content.SUITE}{shared}",
        f"{start.format('LOCAL/teacher')}{own}{shared}",
    )
    _same(pair)
    told = pair[0].results["configs"]
    assert told["llm_aggrefact_wice"]["metadata"]["data_source"] == f"hub:{content.AGGREFACT}"
    assert told["astral_safety"]["metadata"]["data_source"] == f"hub:{content.SUITE}"


def test_a_suites_rows_as_a_data_set(run: Command, shared_home: Path) -> None:
    start = "lm_eval run --model hf --model_args pretrained=testbed:student --device cpu --limit 1 "
    start += "--gen_kwargs max_gen_toks=4 --tasks astral_safety --output_path out --metadata "
    found = [
        run(f"{start}judge=testbed-judge astral_data={name}", home=shared_home).results
        for name in (content.SUITE, content.SUITE_ROWS)
    ]
    hashes = {one["configs"]["astral_safety"]["metadata"]["data_sha256"] for one in found}
    assert len(hashes) == 1


def test_a_published_checker(both: Both, hub: Hub) -> None:
    start = "lm_eval run --model hf-fact-checker --tasks llm_aggrefact_wice --limit 8 --device cpu "
    start += "--output_path out --model_args family=factcg,pretrained="
    pair = both(
        f"{start}{content.CHECKER}",
        f"{start}testbed:checker --metadata data=LOCAL/aggrefact",
    )
    _same(pair)
    told = pair[0].results["config"]
    assert (
        told["model_sha"]
        == told["artefact_hash"]
        == hub.repositories["models", content.CHECKER].commit
    )


def test_drafter_and_target_in_shards(both: Both) -> None:
    start = "lm_eval run --model hf-speculative --tasks spec_bench --limit 2 --device cpu "
    start += "--gen_kwargs max_gen_toks=8 --output_path out --model_args "
    _same(
        both(
            f"{start}pretrained={content.TEACHER},drafter={content.STUDENT}",
            f"{start}pretrained=LOCAL/teacher,drafter=testbed:student --metadata data=LOCAL/"
            "question.jsonl",
        )
    )


def test_an_adapter_as_teacher_beside_its_base_and_itself(both: Both) -> None:
    start = "lm_eval run --model hf-distilled --tasks taid_fidelity --limit 2 --device cpu "
    start += (
        f"--output_path out --model_args teacher={content.ADAPTER},pretrained={content.STUDENT}"
    )
    local = "lm_eval run --model hf-distilled --tasks taid_fidelity --limit 2 --device cpu "
    local += "--output_path out --metadata data=LOCAL/chats --model_args "
    local += "teacher=LOCAL/student-lora,pretrained=testbed:student"
    pair = both(start, local)
    _same(pair)
    assert pair[0].results["results"]["taid_fidelity"]["forward_kl,none"] > 0.001


LEARNING = "--batch-size 8 --device-batch-size 8 --device cpu --dev-rows 4 --epochs 1"
TRAINING = "--max-length 64 --batch-size 4 --device-batch-size 4 --evaluations 1 --dev-share 0.2"
WRITING = "--concepts LOCAL/concepts.txt --writer testbed-writer --negatives-from writer --genres "
WRITING += "text,code,math --train-per-concept 6 --negatives-per-genre 6 --eval-per-concept 4 "
WRITING += "--hard-per-concept 2"
COMMANDS = {
    "axbench train": (
        f"--model {content.TEACHER} --layer 1 --methods diffmean,bow --device cpu",
        "--model LOCAL/teacher --layer 1 --methods diffmean,bow --device cpu --data "
        "LOCAL/concept10",
    ),
    "axbench train of concept500": (
        f"--model {content.STUDENT} --layer 1 --device cpu --data {content.CONCEPT500} --subset "
        "prod_9b_l31_v1",
        "--model testbed:student --layer 1 --device cpu --data LOCAL/concept500",
    ),
    "axbench import": (
        f"--from {content.DICTIONARY} --method reft_r1 --layer 2 --model {content.TEACHER}",
        "--from LOCAL/gemma-reft-r1-2b-it-res --method reft_r1 --layer 2 --model LOCAL/teacher",
    ),
    "axbench generate": (
        f"{WRITING} --tokenizer {content.TEACHER} --steering-instructions hub",
        f"{WRITING} --tokenizer LOCAL/teacher --instructions LOCAL/instructions.jsonl "
        "--steering-instructions LOCAL/concept10/alpaca_eval.json",
    ),
    "factcg generate of documents": (
        "--kind doc --items 6 --writer testbed-writer",
        "--kind doc --items 6 --writer testbed-writer --source LOCAL/C2D-and-D2C-MiniCheck.parquet",
    ),
    "factcg generate of questions": (
        "--kind mhqa --items 6 --writer testbed-writer",
        "--kind mhqa --items 6 --writer testbed-writer --source LOCAL/MuSiQue.jsonl",
    ),
    "factcg train": (
        f"--model {content.CHECKER} --stage2 LOCAL/pairs.jsonl --device cpu {TRAINING}",
        f"--model testbed:checker --stage2 LOCAL/pairs.jsonl --device cpu {TRAINING}",
    ),
    "taid distill": (
        f"--teacher {content.TEACHER} --student {content.STUDENT} --data {content.ULTRACHAT} "
        f"--objective fkl {LEARNING}",
        "--teacher LOCAL/teacher --student testbed:student --data LOCAL/chats --objective fkl "
        f"{LEARNING}",
    ),
    "taid capture": (
        f"--teacher {content.TEACHER} --data {content.ULTRACHAT} --top-k 4 --device cpu "
        "--dev-rows 2",
        "--teacher LOCAL/teacher --data LOCAL/chats --top-k 4 --device cpu --dev-rows 2",
    ),
}


OFTEN = ("axbench train", "axbench import", "factcg generate of questions", "taid distill")
ALL = [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]


@pytest.mark.parametrize("name", ALL)
def test_commands(name: str, both: Both) -> None:
    hub, own = COMMANDS[name]
    start = f"harness {name.partition(' of ')[0]} --out out "
    _same(both(f"{start}{hub}", f"{start}{own}"))


@pytest.mark.slow
def test_a_judge_that_learns_from_the_hubs_rows(both: Both) -> None:
    start = "lm_eval run --model hf --tasks axbench_steer_prompt --limit 2 --device cpu "
    start += "--gen_kwargs max_gen_toks=8 --output_path out --model_args pretrained={} --metadata "
    own = {
        "judge": {"model": "proxy", "model_args": {"data": "LOCAL/concept10"}},
        "axbench_data": "LOCAL/concept10",
    }
    told = [
        json.dumps({"judge": {"model": "proxy"}, "axbench_writer": "template"} | more)
        for more in ({}, own)
    ]
    _same(
        both(
            start.format(content.STUDENT) + told[0].replace(" ", ""),
            start.format("testbed:student") + told[1].replace(" ", ""),
        )
    )


@pytest.mark.slow
def test_a_bench_of_speculation(both: Both) -> None:
    start = "harness specdecode bench --out out --limit 2 --tokens 8 --gammas 1 --schemes gumbel "
    start += "--batch-sizes 1 --repeats 1 --draws 0 --device cpu --no-chat-template "
    pair = both(
        f"{start}--target {content.TEACHER} --drafters {content.STUDENT}",
        f"{start}--target LOCAL/teacher --drafters testbed:student --prompts LOCAL/question.jsonl",
    )
    told = [json.loads((one.folder / "out" / "bench.json").read_text()) for one in pair]
    assert told[0].keys() == told[1].keys()


def test_files_are_asked_for_as_the_hub_gives_them(hub: Hub) -> None:
    """Large files come from the store without the token, and each only once."""
    stored = [one for one in hub.asked if one.path.startswith("/store/")]
    assert {one.token for one in stored} <= {None}
    assert {one.status for one in stored} <= {200, 206}
