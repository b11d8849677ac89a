"""Sampling by row: transformers' distribution, and answers that do not depend on the batch."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.models.draws import OwnDraws, own_draws
from harness_axbench.models.hf import SteeredHF
from lm_eval.api.instance import Instance
from scipy.stats import chisquare
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessorList

N = 20_000


def test_inversion_by_hand() -> None:
    draws = OwnDraws(LogitsProcessorList(), [3], 4, 1)
    draws._uniform = torch.tensor([[0.6], [0.2], [0.999], [0.0]], dtype=torch.float64)
    scores = torch.tensor([0.2, 0.5, 0.3]).log().expand(4, 3)
    drawn = draws(torch.zeros(4, 4, dtype=torch.long), scores)
    assert drawn.argmax(-1).tolist() == [1, 1, 2, 0]
    assert torch.isinf(drawn).sum(-1).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"temperature": 1.0, "top_k": 0},
        {"temperature": 1.7, "top_k": 0},
        {"temperature": 1.0},
        {"temperature": 1.0, "top_k": 5},
        {"temperature": 0.8, "top_k": 0, "top_p": 0.7},
        {"temperature": 1.0, "top_k": 0, "min_p": 0.2},
    ],
    ids=str,
)
def test_the_distribution_is_transformers_own(kwargs: dict[str, Any]) -> None:
    """χ² of 20,000 first tokens against the probabilities that transformers samples from."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.6,
    )
    model = LlamaForCausalLM(config).eval()
    ids = torch.tensor([[5, 6, 7]])
    shared = {"max_new_tokens": 1, "pad_token_id": 0, "eos_token_id": 63}
    out = model.generate(
        ids,
        **shared,
        do_sample=True,
        **kwargs,
        output_scores=True,
        return_dict_in_generate=True,
    )
    expected = out.scores[0][0].double().softmax(-1)
    drawn = own_draws(model.generation_config, {"do_sample": True, **kwargs}, list(range(N)), 3, 4)
    assert drawn is not None
    found = model.generate(ids.expand(N, -1), **shared, **drawn)[:, 3]
    counts = torch.bincount(found, minlength=64).double()
    assert counts[expected == 0].sum() == 0
    frequent = expected * N >= 5
    observed = torch.cat([counts[frequent], counts[~frequent].sum()[None]])
    wanted = torch.cat([expected[frequent], expected[~frequent].sum()[None]]) * N
    kept = wanted > 0
    assert chisquare(observed[kept].numpy(), wanted[kept].numpy()).pvalue > 1e-4


def test_what_is_left_to_transformers() -> None:
    plain = GenerationConfig()
    assert own_draws(plain, {"do_sample": False}, [1], 1, 2) is None
    assert own_draws(plain, {}, [1], 1, 2) is None
    for more in ({"num_beams": 2}, {"typical_p": 0.5}, {"num_return_sequences": 3}):
        assert own_draws(plain, {"do_sample": True, **more}, [1], 1, 2) is None
    assert own_draws(GenerationConfig(do_sample=True), {}, [1], 1, 2) is not None


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
        *(sys.executable, "-m", "lm_eval", "--model", "hf-steered", "--model_args", arguments),
        *("--tasks", "axbench_steer", "--batch_size", "8", "--device", "cpu", "--log_samples"),
        *("--gen_kwargs", "max_gen_toks=8", "--output_path", str(out), "--limit", "60"),
        *("--metadata", f'{{"axbench_data": "{data}", "judge": "none"}}'),
    ]


def responses(out: Path) -> list[Any]:
    import jsonlines

    (path,) = out.rglob("samples_axbench_steer_*.jsonl")
    with jsonlines.open(path) as lines:
        return sorted((row["doc_id"], row["resps"]) for row in lines)


def test_an_evaluation_killed_at_any_moment(
    llama: str, data_folder: Path, steering: Path, tmp_path: Path
) -> None:
    """SIGKILL between batches; the rerun's sampled answers are an uninterrupted run's."""
    clean = evaluation(llama, data_folder, steering, tmp_path / "clean", tmp_path / "a.jsonl")
    assert subprocess.run(clean, capture_output=True, check=False).returncode == 0
    cache = tmp_path / "b.jsonl"
    run = evaluation(llama, data_folder, steering, tmp_path / "out", cache)
    for wanted in (1, 30):
        child = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            if cache.exists() and len(cache.read_bytes().splitlines()) >= wanted:
                break
            time.sleep(0.001)
        child.kill()
        child.wait()
    before = len(cache.read_bytes().splitlines())
    final = subprocess.run(run, capture_output=True, check=False)
    assert final.returncode == 0, final.stderr.decode()[-2000:]
    assert responses(tmp_path / "out") == responses(tmp_path / "clean")
    assert before >= 30
    assert len(cache.read_bytes().splitlines()) <= 60 + 2, "a torn line at most is asked again"
