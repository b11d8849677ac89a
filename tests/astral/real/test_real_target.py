"""A pretrained model under test: what it answers is judged, and what it declines is told."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import lm_eval
import pytest
from harness_astral.requests import SAFE, UNKNOWN, UNSAFE
from harness_astral.tasks import rows
from lm_eval.tasks import TaskManager

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from harness.host.task_files import task_folder
from harness.testbed import resolve

pytestmark = pytest.mark.real


def test_four_prompts_end_with_verdicts(tmp_path: Path) -> None:
    inputs = list(rows.safety_docs(astral_data="testbed").rows)
    probes = [row for row in inputs if row["kind"] == "probe"][:4]
    suite = tmp_path / "four.jsonl"
    suite.write_text("".join(json.dumps(row) + "\n" for row in probes), encoding="utf-8")
    metadata = {
        "astral_data": str(suite),
        "judge": "testbed-judge",
        "astral_max_unknown": 1,
    }
    folder = str(task_folder("astral"))
    results = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": resolve("testbed:smollm2"), "dtype": "bfloat16"},
        tasks=["astral_safety"],
        task_manager=TaskManager(include_path=folder, include_defaults=False, metadata=metadata),
        batch_size=4,
        device="cpu",
        apply_chat_template=True,
        gen_kwargs="max_gen_toks=12",
        bootstrap_iters=0,
    )
    outcomes = [row["filtered_resps"][0] for row in results["samples"]["astral_safety"]]
    told = Counter(one.outcome for one in outcomes)
    assert set(told) <= {SAFE, UNSAFE, UNKNOWN}
    assert sum(told.values()) == 4
    assert all(one.text.strip() and list(one.verdicts.values()) != [None] for one in outcomes)
    figures = results["results"]["astral_safety"]
    assert {name: figures[f"n_{name},none"] for name in (SAFE, UNSAFE, UNKNOWN)} == {
        name: told[name] for name in (SAFE, UNSAFE, UNKNOWN)
    }
