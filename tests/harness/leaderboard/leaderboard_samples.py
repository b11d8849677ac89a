"""Results documents for tests, in the shape lm-eval 0.4.13 and 0.4.3 write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

REPORT = """PyTorch version: 2.13.0+cpu
Is debug build: False
GPU models and configuration: Could not collect

CPU:
Architecture:                            x86_64
CPU(s):                                  2
On-line CPU(s) list:                     0,1
Model name:                              AMD EPYC
Model:                                   17
"""


def task(
    metrics: dict[str, Any],
    *,
    metadata: dict[str, Any] | None = None,
    n: int = 100,
    effective: int | None = None,
    up: bool = True,
    **config: Any,
) -> dict[str, Any]:
    """One task's part of a document: raw metric keys and what its configuration says."""
    names = {key.partition(",")[0] for key in metrics}
    return {
        "metrics": metrics,
        "config": {"metadata": {"version": 1.0, **(metadata or {})}, "num_fewshot": 0, **config},
        "samples": {"original": n, "effective": n if effective is None else effective},
        "up": {name: up for name in names if not name.endswith(("_stderr", "_ci95"))},
    }


def document(
    tasks: dict[str, dict[str, Any]],
    *,
    groups: dict[str, tuple[dict[str, Any], list[str]]] | None = None,
    date: float = 1_760_000_000.0,
    **config: Any,
) -> dict[str, Any]:
    """A whole document; ``config`` goes over lm-eval's own defaults."""
    group_entries = {
        name: {"alias": name, "name": name, **metrics}
        for name, (metrics, _) in (groups or {}).items()
    }
    entries = {
        name: {
            "name": name,
            "alias": name,
            "sample_len": part["samples"]["effective"],
            **part["metrics"],
        }
        for name, part in tasks.items()
    }
    return {
        "results": {**entries, **group_entries},
        **({"groups": group_entries} if group_entries else {}),
        "group_subtasks": {name: children for name, (_, children) in (groups or {}).items()},
        "configs": {name: {"task": name, **part["config"]} for name, part in tasks.items()},
        "versions": {name: part["config"]["metadata"]["version"] for name, part in tasks.items()},
        "n-shot": {name: part["config"]["num_fewshot"] for name, part in tasks.items()},
        "higher_is_better": {
            **{name: part["up"] for name, part in tasks.items()},
            **{
                name: {key.partition(",")[0]: True for key in metrics}
                for name, (metrics, _) in (groups or {}).items()
            },
        },
        "n-samples": {name: part["samples"] for name, part in tasks.items()},
        "config": {
            "model": "hf",
            "model_args": {"pretrained": "org/model", "dtype": "float32"},
            "batch_size": 8,
            "device": "cpu",
            "limit": None,
            "gen_kwargs": {},
            "random_seed": 0,
            "numpy_seed": 1234,
            "torch_seed": 1234,
            "fewshot_seed": 1234,
            **config,
        },
        "git_hash": None,
        "date": date,
        "pretty_env_info": REPORT,
        "transformers_version": "5.19.0",
        "lm_eval_version": "0.4.13",
        "task_hashes": {},
        "model_source": "hf",
        "chat_template_sha": None,
        "total_evaluation_time_seconds": "12.5",
    }


def save(folder: Path, content: dict[str, Any], name: str = "a") -> Path:
    """Write a document where ``read_results`` finds it."""
    path = folder / f"results_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


OLDER = {
    "results": {
        "hellaswag": {
            "alias": "hellaswag",
            "acc,none": 0.4,
            "acc_stderr,none": 0.005,
            "acc_norm,none": 0.52,
            "acc_norm_stderr,none": 0.005,
        },
        "wikitext": {
            "alias": "wikitext",
            "word_perplexity,none": 31.25,
            "word_perplexity_stderr,none": "N/A",
        },
    },
    "group_subtasks": {"hellaswag": [], "wikitext": []},
    "configs": {
        "hellaswag": {
            "dataset_path": "hellaswag",
            "validation_split": "validation",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
            "metadata": {"version": 1.0},
        }
    },
    "versions": {"hellaswag": 1.0, "wikitext": 2.0},
    "n-shot": {"hellaswag": 10},
    "higher_is_better": {
        "hellaswag": {"acc": True, "acc_norm": True},
        "wikitext": {"word_perplexity": False},
    },
    "n-samples": {"hellaswag": {"original": 10042, "effective": 10042}},
    "config": {
        "model": "hf",
        "model_args": "pretrained=EleutherAI/pythia-160m,revision=step100000,dtype=bfloat16",
        "batch_size": "8",
        "limit": None,
        "gen_kwargs": None,
        "random_seed": 0,
    },
    "git_hash": "abc1234",
    "date": 1_718_000_000.25,
    "pretty_env_info": "PyTorch version: 2.3.1+cu121\nGPU models and configuration: \n"
    "GPU 0: NVIDIA A100-SXM4-80GB\nGPU 1: NVIDIA A100-SXM4-80GB\n\nNvidia driver version: 535\n",
    "transformers_version": "4.41.2",
    "model_name": "EleutherAI/pythia-160m",
    "total_evaluation_time_seconds": "321.5",
}
"""As lm-eval 0.4.3 wrote it: arguments as text, no sample_len, no lm_eval_version."""

OLDEST = {
    "results": {"piqa": {"acc": 0.75, "acc_stderr": 0.01}},
    "versions": {"piqa": 0},
    "config": {"model": "gpt2", "model_args": "pretrained=gpt2-xl", "limit": 50},
}
"""As lm-eval 0.3 wrote it: no filters in the keys."""
