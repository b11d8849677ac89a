"""Steered answers that are sampled do not depend on the batch, nor on a kill."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from forking import Forking
from lm_eval.api.instance import Instance

from harness import compose

pytestmark = pytest.mark.long

SteeredHF = compose("hf-steered")

SAMPLED = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0}


def rows() -> list[Any]:
    prompts = ("the old", "a very small green house near", "we see the door", "the old")
    return [
        Instance(
            "generate_until",
            {"concept_id": number % 3, "factor": 0.4},
            (prompt, SAMPLED),
            0,
            ("axbench_steer", number, 1),
        )
        for number, prompt in enumerate(prompts * 3)
    ]


def answers(llama: str, steering: Path, chosen: list[Any], **options: Any) -> list[str]:
    torch.manual_seed(options.pop("seed", 5))
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 4, "method": "diffmean"}
    lm = SteeredHF(llama, steering=str(steering), **settings | options)
    return list(map(str, lm.generate_until(chosen)))


def test_answers_do_not_depend_on_the_batch(llama: str, steering: Path) -> None:
    together = answers(llama, steering, rows())
    assert answers(llama, steering, rows(), batch_size=1) == together
    assert answers(llama, steering, rows(), batch_size=12) == together
    assert answers(llama, steering, rows()[:4]) == together[:4]
    assert answers(llama, steering, rows(), seed=6) != together
    repeats = Counter(together[i] for i in range(0, 12, 4))  # three prompts, three concepts
    assert len(repeats) == 3


def evaluation(llama: str, data: Path, steering: Path, out: Path, cache: Path) -> list[str]:
    arguments = (
        f"pretrained={llama},steering={steering},method=diffmean,dtype=float32,"
        f"response_cache={cache}"
    )
    return [
        *("lm_eval", "--model", "hf-steered", "--model_args", arguments),
        *("--tasks", "axbench_steer", "--batch_size", "8", "--device", "cpu", "--log_samples"),
        *("--gen_kwargs", "max_gen_toks=8", "--output_path", str(out), "--limit", "60"),
        *("--metadata", f'{{"axbench_data": "{data}", "judge": "none"}}'),
    ]


def responses(out: Path) -> list[Any]:
    import jsonlines

    (path,) = out.rglob("samples_axbench_steer_*.jsonl")
    with jsonlines.open(path) as lines:
        return sorted((row["doc_id"], row["resps"]) for row in lines)


def _holds(file: Path, lines: int) -> bool:
    return file.exists() and len(file.read_bytes().splitlines()) >= lines


def test_an_evaluation_killed_at_any_moment(
    llama: str, data_folder: Path, steering: Path, tmp_path: Path, fresh: Forking
) -> None:
    """SIGKILL between batches; the rerun's sampled answers are an uninterrupted run's."""
    clean = evaluation(llama, data_folder, steering, tmp_path / "clean", tmp_path / "a.jsonl")
    assert fresh.run(*clean).returncode == 0
    cache = tmp_path / "b.jsonl"
    run = evaluation(llama, data_folder, steering, tmp_path / "out", cache)
    for wanted in (1, 30):
        child = fresh.start(*run, cwd=tmp_path, **os.environ)
        child.until(partial(_holds, cache, wanted))
        child.send(signal.SIGKILL)
        child.wait()
    before = len(cache.read_bytes().splitlines())
    final = fresh.run(*run)
    assert final.returncode == 0, final.stderr[-2000:]
    assert responses(tmp_path / "out") == responses(tmp_path / "clean")
    assert before >= 30
    assert len(cache.read_bytes().splitlines()) <= 60 + 2, "a torn line at most is asked again"
