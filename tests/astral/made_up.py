"""Runs of ``astral_safety`` as lm-eval saves them, made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness_astral.oracles.outcomes import Outcome
from harness_astral.report.reading import read_runs
from harness_astral.report.report import Report, report_of
from harness_astral.requests import BENIGN, ERROR, REFUSED_BY_PROVIDER
from harness_astral.suites.suite import Input, suite_hash

CATEGORIES = ("privacy_violation", "terrorism,organized_crime")
STYLES = ("slang", "question")
TECHNIQUE = "logical_appeal"
JUDGES = ("judge:one", "judge:two")
STAMP = "2026-01-31T00-00-00.000000"
SECRETS = {
    name: f"{name}-of-a-text"
    for name in ("prompt", "output", "reason", "words", "why", "trace", "twin")
}


def inputs(categories: Sequence[str] = CATEGORIES, replicates: int = 2) -> list[Input]:
    """Probes of each category in each style, then a benign twin of each."""
    found = [
        Input(
            id=f"{number}-{style}-{replicate}",
            category=category,
            style=style,
            persuasion=TECHNIQUE,
            replicate=replicate,
            prompt=f"{SECRETS['prompt']} {number}",
        )
        for number, category in enumerate(categories)
        for style in STYLES
        for replicate in range(replicates)
    ]
    twins = [
        Input(
            **{**vars(one), "id": f"{one.id}-twin", "kind": BENIGN, "twin_of": one.id}
            | {"prompt": SECRETS["twin"]}
        )
        for one in found
    ]
    return found + twins


def outcome(
    name: str, *, text: str = SECRETS["output"], reason: str = SECRETS["reason"], **more: Any
) -> Outcome:
    """An outcome on which both judges agree."""
    if name in (ERROR, REFUSED_BY_PROVIDER):
        return Outcome("", {"note": SECRETS["trace"]}, {}, {}, name, SECRETS["why"])
    verdicts = dict.fromkeys(JUDGES, name) | more.pop("verdicts", {})
    return Outcome(
        text,
        {"note": SECRETS["trace"]},
        dict.fromkeys(JUDGES, 0.0),
        {judge: [SECRETS["words"]] for judge in JUDGES},
        name,
        refused=more.get("refused", False),
        verdicts=verdicts,
        votes={j: [{"label": v, "reason": reason, "refused": None}] for j, v in verdicts.items()},
    )


def write_run(
    folder: Path,
    suite: Sequence[Input],
    came: Sequence[Outcome],
    *,
    model: str = "org/model-a",
    task: str = "astral_safety",
    note: Mapping[str, Any] | None = None,
    sha256: str | None = None,
    judge: Any = None,
) -> Path:
    """Write results and samples; returns the results file."""
    folder.mkdir(parents=True, exist_ok=True)
    judges = [{"model": "local-chat-completions", "name": name} for name in JUDGES]
    metadata = {"data_source": "folder:suite", "data_sha256": sha256 or suite_hash(suite)}
    metadata |= {"judge": judges if judge is None else judge, "astral": note or {}, "version": 1.0}
    saved = {
        "results": {task: {"alias": task, "unsafe_rate,none": 0.5, "sample_len": len(suite)}},
        "configs": {task: {"task": task, "metadata": metadata}},
        "versions": {task: 1.0},
        "n-shot": {task: 0},
        "n-samples": {task: {"original": len(suite), "effective": len(suite)}},
        "config": {"model": "hf", "model_args": {"pretrained": model}},
        "lm_eval_version": "0.4.13",
        "total_evaluation_time_seconds": "12.5",
        "date": 1769817600.0,
    }
    lines = [
        json.dumps(
            {
                "doc_id": number,
                "doc": one.as_row(),
                "resps": [[own.text]],
                "filtered_resps": [str(own)],
                "filter": "none",
                "metrics": ["unsafe_rate"],
            }
        )
        for number, (one, own) in enumerate(zip(suite, came, strict=True))
    ]
    (folder / f"samples_{task}_{STAMP}.jsonl").write_text("\n".join(lines) + "\n")
    path = folder / f"results_{STAMP}.json"
    path.write_text(json.dumps(saved))
    return path


ATTACK = '</script><script>window.planted=1</script><img src=x onerror="window.planted=2"><!--'


def planted(folder: Path) -> Report:
    """A report in which everything that a stranger could write is an attack."""
    suite = [
        Input(**{**vars(one), "category": ATTACK, "id": f"{ATTACK}{n}", "prompt": ATTACK}
              | ({"twin_of": ATTACK} if one.twin_of else {}))
        for n, one in enumerate(inputs())
    ]  # fmt: skip
    came = [outcome("unsafe", text=ATTACK, reason=ATTACK) for _ in suite]
    path = write_run(folder, suite, came, model=f"org/{ATTACK}")
    return report_of(read_runs([path], show_text=True), show_text=True)
