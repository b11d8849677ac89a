"""A run as lm-eval saves it: a choice, a judged answer, two filters of one answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATE = "2026-01-02T03-04-05.000000"
KEY = "sk-" + "a1b2c3d4" * 3
Lines = list[dict[str, Any]]


def _line(number: int, **more: Any) -> dict[str, Any]:
    return {"doc_id": number, "doc": {"number": number}, "doc_hash": f"hash {number}"} | more


def choices(chosen: tuple[int, ...] = (1, 0)) -> Lines:
    """Yes or no: the right one is the second."""
    return [
        _line(
            number,
            target="1",
            arguments={
                f"gen_args_{k}": {"arg_0": f"Is {number} even?", "arg_1": word}
                for k, word in enumerate((" No", " Yes"))
            },
            resps=[[[str(-1.0 - abs(k - one)), "False"]] for k in (0, 1)],
            filtered_resps=[[str(-1.0 - abs(k - one)), "False"] for k in (0, 1)],
            filter="none",
            metrics=["acc"],
            acc=float(one == 1),
        )
        for number, one in enumerate(chosen)
    ]


def judged() -> Lines:
    """Answers that a judge rated; the second without a rating."""
    said = [("The sea is wide.", 2.0, "Rating: 2"), ("=HYPERLINK(1)", None, f"no, {KEY}")]
    made = []
    for number, (text, rating, words) in enumerate(said):
        value = {"factor": 0.5, "concept": rating}
        judgement = {
            "text": text,
            "trace": {"method": "diffmean", "factor": 0.5},
            "ratings": {"concept": rating},
            "answers": {"concept": [words]},
            "outcome": "fine",
        }
        made.append(
            _line(
                number,
                target="the sea",
                arguments={
                    "gen_args_0": {
                        "arg_0": [json.dumps([{"role": "system", "content": "Be kind."},
                                              {"role": "user", "content": f"Tell me {number}."}])],
                        "arg_1": {"until": [], "temperature": 0.5},
                    }
                },
                resps=[[text]],
                filtered_resps=[json.dumps(judgement)],
                filter="none",
                metrics=["score", "score_ci95", "worst"],
                score=value,
                score_ci95=value,
                worst=value,
            )
        )  # fmt: skip
    return made


def filtered() -> Lines:
    """One answer read by two filters, as lm-eval lists them: filter by filter."""
    return [
        _line(
            number,
            target="4",
            arguments={"gen_args_0": {"arg_0": "2 + 2 =", "arg_1": {"until": ["\n"]}}},
            resps=[["It is 4."]],
            filtered_resps=[found],
            filter=name,
            metrics=["exact_match"],
            exact_match=float(found == "4"),
        )
        for name, found in (("strict", "[invalid]"), ("flexible", "4"))
        for number in (0, 1)
    ]


TASKS: dict[str, tuple[Lines, dict[str, Any], dict[str, Any]]] = {
    "even": (
        choices(),
        {"acc,none": 0.5, "acc_stderr,none": 0.25},
        {"output_type": "multiple_choice", "dataset_path": "owner/even", "test_split": "test"},
    ),
    "concepts": (
        judged(),
        {"score,none": 2.0, "score_ci95,none": [1.0, 2.0], "worst,none": 1.0, "n_unscored,none": 1},
        {"output_type": "generate_until", "generation_kwargs": {"temperature": 0.5}},
    ),
    "sums": (
        filtered(),
        {"exact_match,strict": 0.0, "exact_match,flexible": 1.0},
        {"output_type": "generate_until"},
    ),
}


def save(
    folder: Path,
    *,
    names: tuple[str, ...] = tuple(TASKS),
    metadata: Mapping[str, Any] | None = None,
    samples: bool = True,
    model: str = "org/model",
    method: str = "diffmean",
) -> Path:
    """Save a run; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"version": 1.0, **(metadata or {})}
    results = {
        "results": {n: {"alias": n, **TASKS[n][1]} for n in names},
        "configs": {n: {"task": n, **TASKS[n][2], "metadata": own} for n in names},
        "versions": dict.fromkeys(names, 1.0),
        "n-shot": dict.fromkeys(names, 0),
        "higher_is_better": {n: {"acc": True, "score": True, "exact_match": True} for n in names},
        "n-samples": {n: {"original": 2, "effective": 2} for n in names},
        "config": {
            "model": "hf-steered",
            "model_args": {"pretrained": model, "api_key": KEY},
            "method": method,
            "limit": None,
        },
        "date": 1_760_000_000.0,
        "lm_eval_version": "0.4.13",
        "total_evaluation_time_seconds": "12.5",
    }
    (folder / f"results_{DATE}.json").write_text(json.dumps(results))
    for name in names if samples else ():
        write_lines(folder, name, TASKS[name][0])
    return folder


def write_lines(folder: Path, name: str, lines: Lines) -> Path:
    """Write a task's samples."""
    file = folder / f"samples_{name}_{DATE}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file
