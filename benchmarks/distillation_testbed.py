"""Which objective brings a student nearest to its teacher in one budget: figures with intervals.

    python benchmarks/distillation_testbed.py --work FOLDER
    python benchmarks/distillation_testbed.py --work FOLDER --quick

The testbed's student (0.4 M parameters, trained on the same kind of texts without a teacher) is
distilled from the testbed's teacher (3.3 M) with each objective and three seeds: the same
exchanges, steps and learning rate. Then every student, and the undistilled one, is compared with
the teacher by ``taid_fidelity`` on held-out exchanges.

A figure is the mean over seeds, with the 95 % interval of a bootstrap over exchanges (all seeds of
an exchange together) and the standard deviation over seeds; the difference from the undistilled
student is paired by exchange. TAID's adaptive steps are α·σ(m)·(1 − t), so that what they add up to
goes with α times the number of steps: α is set here such that this product is the paper's, about
5e-4 · 16,000 = 8. With α = 5e-4 in so few steps ``taid`` would be ``taid_fixed``.

All that is made stays in the folder: a rerun goes on where it was. ``leaderboard.html`` and
``leaderboard.csv`` hold every run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness_taid.training import distill
from harness_taid.training.options import Options
from tqdm import tqdm

from harness.host.task_files import task_folder
from harness.leaderboard import read_results, write_csv, write_html
from harness.statistics import Floats, Statistic

TEACHER, STUDENT = "testbed:teacher", "testbed:student"
UNDISTILLED = "undistilled"
TASK = "taid_fidelity"
PRODUCT = 8
"""α times the number of steps."""
FIGURES = {"forward_kl": "KL(p‖q)", "reverse_kl": "KL(q‖p)", "acceptance": "Σ min(p, q)"}


def contenders(steps: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name, objective and settings of what is compared."""
    plain = ("sft", "fkl", "rkl", "js", "srkl", "tvd", "adaptive_kl")
    found: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in plain}
    found["taid"] = ("taid", {"alpha": min(1.0, PRODUCT / steps)})
    found["taid_fixed"] = ("taid", {"adaptive": False})
    return found


def distilled(name: str, seed: int, options: argparse.Namespace) -> tuple[Path, float | None]:
    """A student's folder, and the seconds that it took if it was made now."""
    objective, settings = contenders(options.steps)[name]
    started = time.monotonic()
    made = distill.distill(
        Options(
            out=options.work / "students" / f"{name}-{seed}",
            teacher=None if objective == "sft" else TEACHER,
            student=STUDENT,
            data="testbed",
            rows=options.rows,
            objective=objective,
            settings=settings,
            steps=options.steps,
            batch_size=options.batch_size,
            device_batch_size=options.batch_size,
            rate=options.lr,
            warmup=0.1,
            dev_rows=0,  # the last step is taken from all alike
            save_seconds=30.0,
            device="cpu",
            seed=seed,
        )
    )
    return made.folder, None if made.present else time.monotonic() - started


def evaluated(label: str, pretrained: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The samples of a run of ``taid_fidelity``, from disk where it is done already."""
    folder = options.work / "results" / f"{label}-{options.eval_rows}"
    done = folder / "done.json"
    if not done.is_file():
        from lm_eval import simple_evaluate
        from lm_eval.loggers import EvaluationTracker
        from lm_eval.tasks import TaskManager

        metadata = {"data": "testbed", "rows": options.eval_rows}
        tracker = EvaluationTracker(output_path=str(folder))
        results = simple_evaluate(
            model="hf-distilled",
            model_args={"pretrained": pretrained, "teacher": TEACHER},
            tasks=[TASK],
            task_manager=TaskManager(
                include_path=str(task_folder("taid")), include_defaults=False, metadata=metadata
            ),
            device="cpu",
            batch_size=32,
            apply_chat_template=True,
            log_samples=True,
            evaluation_tracker=tracker,
        )
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        tracker.save_results_samples(task_name=TASK, samples=samples[TASK])
        done.write_text(json.dumps({"pretrained": pretrained}))
    (file,) = folder.rglob(f"samples_{TASK}_*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: int(row["doc_id"]))


def sums(runs: Sequence[list[dict[str, Any]]], figure: str) -> list[dict[str, Any]]:
    """An item an exchange: its tokens' sum of a figure in each run, and their number."""
    items = []
    for rows in zip(*runs, strict=True):
        tokens = [row["acceptance"] for row in rows]
        values = [
            [1 - x for x in one["tvd"]] if figure == "acceptance" else one[figure] for one in tokens
        ]
        items.append({"sums": [sum(one) for one in values], "count": len(values[0])})
    return items


def mean_over_runs(items: Sequence[Any], weights: Floats) -> Floats:
    """[B] means over tokens and runs of resampled exchanges."""
    totals = np.array([np.mean(item["sums"]) for item in items])
    counts = np.array([item["count"] for item in items], dtype=float)
    return np.asarray((weights @ totals) / (weights @ counts))


def row_of(
    runs: Sequence[list[dict[str, Any]]], start: list[dict[str, Any]], figure: str
) -> dict[str, float]:
    """A figure's mean, interval, spread over seeds, and difference from the undistilled student."""
    statistic = Statistic(figure, mean_over_runs)
    own, base = sums(runs, figure), sums([start], figure)
    paired = [
        {"sums": [np.mean(one["sums"]) - zero["sums"][0]], "count": one["count"]}
        for one, zero in zip(own, base, strict=True)
    ]
    low, high = statistic.interval(own)
    gap_low, gap_high = statistic.interval(paired)
    seeds = [mean_over_runs(sums([run], figure), np.ones((1, len(run))))[0] for run in runs]
    return {
        "mean": statistic(own),
        "low": low,
        "high": high,
        "seeds": float(np.std(seeds, ddof=1)) if len(seeds) > 1 else 0.0,
        "gap": statistic(paired),
        "gap_low": gap_low,
        "gap_high": gap_high,
    }


def report(found: dict[str, list[list[dict[str, Any]]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Print a table a figure, best first; returns them."""
    (start,) = found[UNDISTILLED]
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for figure, title in FIGURES.items():
        rows = {name: row_of(runs, start, figure) for name, runs in found.items()}
        best_first = 1 if figure != "acceptance" else -1
        tables[figure] = dict(sorted(rows.items(), key=lambda item: best_first * item[1]["mean"]))
        print(
            f"\n{figure}, {title}: mean over seeds [95 %], σ over seeds; minus undistilled [95 %]"
        )
        for name, row in tables[figure].items():
            print(
                f"{name:12} {row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]  "
                f"σ {row['seeds']:.4f}   {row['gap']:+.4f} "
                f"[{row['gap_low']:+.4f}, {row['gap_high']:+.4f}]"
            )
    return tables


def main() -> None:
    """Read the options, run what is missing, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of students and results")
    parser.add_argument("--objectives", default="", help="comma-separated; default all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--eval-rows", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="two objectives, a few steps")
    options = parser.parse_args()
    names = [n for n in options.objectives.split(",") if n] or list(contenders(options.steps))
    if options.quick:
        names, options.seeds, options.steps, options.rows = ["fkl", "taid"], 2, 10, 200
        options.eval_rows = 20
    options.work.mkdir(parents=True, exist_ok=True)
    found = {UNDISTILLED: [evaluated(UNDISTILLED, STUDENT, options)]}
    seconds = []
    for seed in tqdm(range(options.seeds), desc="seeds"):
        for name in names:
            folder, taken = distilled(name, seed, options)
            seconds += [] if taken is None else [taken]
            found.setdefault(name, []).append(evaluated(f"{name}-{seed}", str(folder), options))
    tables = report(found)
    if seconds:
        print(f"\na distillation took {min(seconds):.0f} to {max(seconds):.0f} s")
    (options.work / "figures.json").write_text(json.dumps(tables, indent=1))
    table = read_results([options.work / "results"])
    write_csv(table, options.work / "leaderboard.csv")
    write_html(table, options.work / "leaderboard.html", title="Distillation on the testbed")


if __name__ == "__main__":
    main()
