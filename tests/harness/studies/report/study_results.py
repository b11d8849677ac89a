"""A study in a folder, for tests of its page: results files as lm-eval 0.4.13 writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.comparing.difference import Difference
from harness.leaderboard import read_results
from harness.studies.report import StudyCell, View


@dataclass
class Study:
    """Cells are added one by one; ``view`` reads what is in the folder."""

    folder: Path
    cells: list[StudyCell] = field(default_factory=list)

    def planned(self, run: str, task: str) -> StudyCell:
        """A cell without results."""
        place = self.folder / f"{len(self.cells)}-abcd1234"
        command = f"lm_eval run --config {run}.{task}.yaml"
        cell = StudyCell(name=f"{run}/{task}", run=run, task=task, folder=place, command=command)
        self.cells.append(cell)
        return cell

    def done(self, run: str, task: str, metrics: dict[str, Any], **more: Any) -> Path:
        """A cell with one task's results; returns the file."""
        return self.written(run, task, {task: metrics}, **more)

    def written(
        self,
        run: str,
        task: str,
        tasks: dict[str, dict[str, Any]],
        *,
        group: dict[str, Any] | None = None,
        up: bool = True,
        chance: float | None = None,
        n: int = 100,
        seconds: str | None = "12.5",
        config: dict[str, Any] | None = None,
        **of_task: Any,
    ) -> Path:
        """A cell with the results of tasks, under a group if one is given."""
        cell = self.planned(run, task)
        metadata = {"version": 1.0, "chance": chance} | of_task.pop("metadata", {})
        groups = {task: {"alias": task, **group}} if group else {}
        names = {key.partition(",")[0] for m in [*tasks.values(), group or {}] for key in m}
        document = {
            "results": {name: {"alias": name, **m} for name, m in tasks.items()} | groups,
            "groups": groups,
            "group_subtasks": {task: list(tasks)} if group else {},
            "configs": {name: {"task": name, "metadata": metadata, **of_task} for name in tasks},
            "versions": dict.fromkeys(tasks, 1.0),
            "n-shot": dict.fromkeys(tasks, 0),
            "higher_is_better": {name: dict.fromkeys(names, up) for name in [*tasks, *groups]},
            "n-samples": {name: {"original": 100, "effective": n} for name in tasks},
            "config": {
                "model": "hf",
                "model_args": {"pretrained": "org/model", "variant": run},
                "limit": None if n == 100 else n,
                **(config or {}),
            },
            "date": 1_760_000_000.0 + len(self.cells),
            "lm_eval_version": "0.4.13",
            "total_evaluation_time_seconds": seconds,
        }
        path = cell.folder / "org__model" / "results_2026-01-01T00-00-00.0.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def view(self, **more: Any) -> View:
        """The study, its runs and tasks in the order in which they came."""
        given: dict[str, Any] = {
            "title": "Steering",
            "cells": self.cells,
            "runs": list(dict.fromkeys(cell.run for cell in self.cells)),
            "tasks": list(dict.fromkeys(cell.task for cell in self.cells)),
            "baseline": "plain",
        }
        if "table" not in more:
            given["table"] = read_results([self.folder])
        return View(**(given | more))


def difference(run: str, task: str, over: float, half: float = 0.05, **more: Any) -> Difference:
    """``over`` the run plain, on acc."""
    given: dict[str, Any] = {
        "task": task,
        "metric": "acc",
        "filter": "none",
        "baseline": "plain",
        "run": run,
        "higher_is_better": True,
        "documents": 100,
        "units": 100,
        "baseline_value": 0.5,
        "value": 0.5 + over,
        "difference": over,
        "low": over - half,
        "high": over + half,
        "p": 0.001 if abs(over) > half else 0.4,
        "p_holm": 0.004 if abs(over) > half else 1.0,
        "test": "mcnemar",
    }
    return Difference(**(given | more))
