"""Units of a small study: a task whose rows do as they are told, on models that cost little."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import yaml

from harness.studies.units import Artefact, Cell

YAML = """
task: obedient
custom_dataset: !function small_study.rows
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "lol"
generation_kwargs: {until: ["END"], do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


def rows(*, act: str = "", begun: str = "", **_: Any) -> dict[str, Any]:
    """Three rows, or a misfortune."""
    again = bool(begun) and Path(begun).exists()
    if begun:
        Path(begun).touch()
    if act == "once" and not again:
        time.sleep(60)
    if act == "sleep":
        time.sleep(60)
    if act == "fail":
        raise ValueError("no rows\x1b[2J today")
    if act.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, act))
    return {"test": datasets.Dataset.from_list([{"text": f"Say {k}."} for k in range(3)])}


class Study:
    """Makes units in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        (folder / "tasks" / "obedient.yaml").write_text(YAML)

    def artefact(self, name: str, *more: str, methods: str = "bow") -> Artefact:
        """A dictionary, by default of a method that needs no model."""
        out = self.folder / "artefacts" / name
        words = ("harness", "axbench", "train", "--methods", methods, "--data", "testbed")
        return Artefact(
            name, name, out, (*words, "--out", str(out), *more), (), self.folder / f"{name}.log"
        )

    def cell(self, name: str, *needs: str, sharing: str = "one", **metadata: Any) -> Cell:
        """A run of the obedient task on lm-eval's ``dummy``."""
        return self.run(
            name, "dummy", {}, "obedient", *needs, sharing=sharing, metadata=metadata or {"a": 1},
            include_path=str(self.folder / "tasks"),
        )  # fmt: skip

    def run(
        self,
        name: str,
        model: str,
        model_args: Mapping[str, Any],
        task: str,
        *needs: str,
        sharing: str = "one",
        **more: Any,
    ) -> Cell:
        """A run of any task on any model."""
        config = {"model": model, "model_args": dict(model_args), "tasks": [task], **more}
        config |= {"device": "cpu", "log_samples": True}
        path = self.folder / "configs" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(config))
        return Cell(
            name, name, self.folder / "cells" / name, ("lm_eval", "run", "--config", str(path)),
            needs, self.folder / "logs" / f"{name}.log",
            config=config, sharing=sharing, task=task, run=name,
        )  # fmt: skip


def values(folder: Path) -> Any:
    """The values of a run's results file, and all that its model answered."""
    (results,) = folder.rglob("results_*.json")
    answers = {
        path.name.rpartition("_")[0]: [
            [_said(answer) for answer in json.loads(line)["filtered_resps"]]
            for line in path.read_text().splitlines()
        ]
        for path in sorted(folder.rglob("samples_*.jsonl"))
    }
    assert answers
    return json.loads(results.read_text())["results"], answers


def _said(answer: Any) -> Any:
    """An answer without its trace, which may tell how long it took."""
    if isinstance(answer, list):
        return [_said(one) for one in answer]
    if isinstance(answer, str) and answer.startswith('{"text"'):
        return json.loads(answer)["text"]
    return answer


def left_over(folder: Path) -> list[str]:
    """Drafts and locks, wherever they are."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*"))
