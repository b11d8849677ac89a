"""Runs as lm-eval saves them, results and samples, made of each document's values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DATE = "2026-01-02T03-04-05.000000"
Values = Sequence[Any]


def task(
    values: Values,
    *,
    metric: str = "acc",
    value: float | None = None,
    first: int = 0,
    filter_name: str = "none",
    **config: Any,
) -> dict[str, Any]:
    """A task with one metric.

    Args:
        values: Its value of each document.
        metric: Its name.
        value: What the results say; the mean if not given.
        first: Number of the first document.
        filter_name: lm-eval's filter.
        **config: More of its configuration.
    """
    mean = sum(map(float, values)) / len(values) if value is None else value
    lines = [
        {
            "doc_id": first + number,
            "doc": {"question": f"What is {first + number}?"},
            "target": "0",
            "arguments": [["a prompt"]],
            "resps": [["an answer"]],
            "filtered_resps": ["an answer"],
            "filter": filter_name,
            "metrics": [metric],
            "doc_hash": f"hash of {first + number}",
            "prompt_hash": "p",
            "target_hash": "t",
            metric: one,
        }
        for number, one in enumerate(values)
    ]
    return {
        "lines": lines,
        "entry": {f"{metric},{filter_name}": mean, "sample_len": len(values)},
        "config": {"metadata": {"version": 1.0}, **config},
        "up": {metric: True},
    }


def save(
    folder: Path,
    tasks: Mapping[str, Mapping[str, Any]],
    *,
    groups: Mapping[str, tuple[dict[str, Any], list[str]]] | None = None,
    model: str = "",
    samples: bool = True,
    **config: Any,
) -> Path:
    """Save a run; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: {"alias": name, **entry} for name, (entry, _) in (groups or {}).items()}
    results = {
        "results": {**{name: one["entry"] for name, one in tasks.items()}, **whole},
        "groups": whole,
        "group_subtasks": {name: children for name, (_, children) in (groups or {}).items()},
        "configs": {name: one["config"] for name, one in tasks.items()},
        "versions": {name: one["config"]["metadata"]["version"] for name, one in tasks.items()},
        "n-shot": {name: one["config"].get("num_fewshot", 0) for name, one in tasks.items()},
        "higher_is_better": {name: one["up"] for name, one in tasks.items()},
        "n-samples": {
            name: {"original": len(one["lines"]), "effective": len(one["lines"])}
            for name, one in tasks.items()
        },
        "config": {"model": "hf", "model_args": {"pretrained": model or folder.name}, **config},
        "date": 1_760_000_000.0,
    }
    (folder / f"results_{DATE}.json").write_text(json.dumps(results), encoding="utf-8")
    for name, one in tasks.items() if samples else ():
        text = "".join(json.dumps(line) + "\n" for line in one["lines"])
        samples_file(folder, name).write_text(text, encoding="utf-8")
    return folder


def samples_file(folder: Path, name: str) -> Path:
    return folder / f"samples_{name}_{DATE}.jsonl"
