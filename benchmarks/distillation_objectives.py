r"""Which objective brings a student nearest to its teacher in one budget: figures with intervals.

    python benchmarks/distillation_objectives.py --work FOLDER
    python benchmarks/distillation_objectives.py --work FOLDER --quick
    python benchmarks/distillation_objectives.py --work FOLDER --teacher testbed:smollm2 \
        --student layers:0-28/2 --data train.jsonl --held-out held-out.jsonl --dtype bfloat16

By default the testbed's student (0.4 M parameters, trained on the same kind of texts without a
teacher) is distilled from the testbed's teacher (3.3 M) with each objective and three seeds: the
same exchanges, steps and learning rate. Then every student, and the undistilled one, is compared
with the teacher by ``taid_fidelity`` on held-out exchanges.

A figure is the mean over seeds, with the 95 % interval of a bootstrap over exchanges (all seeds of
an exchange together) and the standard deviation over seeds; the differences from the undistilled
student and from ``--against`` are paired by exchange. TAID's adaptive steps are α·σ(m)·(1 − t), so
that what they add up to goes with α times the number of steps: α is set here such that this product
is the paper's, about 5e-4 · 16,000 = 8. With α = 5e-4 in so few steps ``taid`` would be
``taid_fixed``. ``minillm`` learns from its own samples, which cost time that is not in the budget.

All that is made stays in the folder: a rerun goes on where it was. ``leaderboard.html`` and
``leaderboard.csv`` hold every run.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness_taid.data.exchanges import Limits
from harness_taid.network.pruning import LAYERS, pruned
from harness_taid.training import distill
from harness_taid.training.options import Options
from tqdm import tqdm

from harness.artefacts.writing import appearing
from harness.host.task_files import task_folder
from harness.leaderboard import read_results, write_csv, write_html
from harness.statistics import Floats, Statistic

UNDISTILLED = "undistilled"
TASK = "taid_fidelity"
PRODUCT = 8
"""α times the number of steps."""
FIGURES = {
    "forward_kl": "KL(p‖q)",
    "reverse_kl": "KL(q‖p)",
    "acceptance": "Σ min(p, q)",
    "student_nll": "perplexity",
}


def contenders(steps: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name, objective and settings of what is compared."""
    plain = ("sft", "fkl", "rkl", "js", "srkl", "tvd", "adaptive_kl", "minillm")
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
            teacher=options.teacher,
            student=options.student,
            data=options.data,
            rows=options.rows,
            limits=Limits(response=options.max_response),
            objective=objective,
            settings=settings,
            steps=options.steps,
            batch_size=options.batch_size,
            device_batch_size=min(options.batch_size, 32),
            rate=options.lr,
            warmup=0.1,
            dev_rows=0,  # the last step is taken from all alike
            save_seconds=120.0,
            dtype=options.dtype,
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

        metadata = {"data": options.held_out, "rows": options.eval_rows}
        tracker = EvaluationTracker(output_path=str(folder))
        results = simple_evaluate(
            model="hf-distilled",
            model_args={
                "pretrained": pretrained,
                "teacher": options.teacher,
                "dtype": options.dtype,
                "teacher_dtype": options.dtype,
            },
            tasks=[TASK],
            task_manager=TaskManager(
                include_path=str(task_folder("taid")), include_defaults=False, metadata=metadata
            ),
            device="cpu",
            batch_size=8,
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


def by_seed(items: Sequence[Any]) -> Floats:
    """A figure's mean over tokens in each run [runs]."""
    totals = np.array([item["sums"] for item in items]).sum(0)
    return np.asarray(totals / sum(item["count"] for item in items))


def row_of(
    runs: Sequence[list[dict[str, Any]]], others: Sequence[list[dict[str, Any]]], figure: str
) -> dict[str, Any]:
    """A figure's mean, interval and spread over seeds, and its difference from others' runs."""
    statistic = Statistic(figure, mean_over_runs)
    own, base = sums(runs, figure), sums(others, figure)
    paired = [
        {"sums": [np.mean(one["sums"]) - np.mean(zero["sums"])], "count": one["count"]}
        for one, zero in zip(own, base, strict=True)
    ]
    low, high = statistic.interval(own)
    gap_low, gap_high = statistic.interval(paired)
    seeds = by_seed(own)
    return {
        "mean": statistic(own),
        "low": low,
        "high": high,
        "seeds": float(np.std(seeds, ddof=1)) if len(seeds) > 1 else 0.0,
        "gap": statistic(paired),
        "gap_low": gap_low,
        "gap_high": gap_high,
        "gap_seeds": [float(x) for x in seeds - by_seed(base)],
    }


def report(found: dict[str, list[list[dict[str, Any]]]], against: str) -> dict[str, Any]:
    """Print a table a figure, best first; returns them."""
    tables: dict[str, Any] = {}
    for figure, title in FIGURES.items():
        rows = {name: row_of(runs, found[against], figure) for name, runs in found.items()}
        best_first = 1 if figure != "acceptance" else -1
        tables[figure] = dict(sorted(rows.items(), key=lambda item: best_first * item[1]["mean"]))
        print(
            f"\n{figure}, {title}: mean over seeds [95 %], σ over seeds; minus {against} [95 %], "
            "seed by seed"
        )
        shown = math.exp if figure == "student_nll" else float  # differences stay those of −ln q
        for name, row in tables[figure].items():
            seeds = " ".join(f"{x:+.4f}" for x in row["gap_seeds"])
            apart = f"{row['gap']:+.4f} [{row['gap_low']:+.4f}, {row['gap_high']:+.4f}]  {seeds}"
            print(
                f"{name:12} {shown(row['mean']):.4f} [{shown(row['low']):.4f}, "
                f"{shown(row['high']):.4f}]  σ {row['seeds']:.4f}   "
                f"{'' if name == against else apart}"
            )
    return tables


def undistilled(options: argparse.Namespace) -> str:
    """The student as it is before; one of the teacher's blocks is written first."""
    if not options.student.startswith(LAYERS):
        return str(options.student)
    folder: Path = options.work / "students" / UNDISTILLED
    if not folder.is_dir():
        with appearing(folder) as draft:
            for part in pruned(options.student, options.teacher, "main"):
                part.save_pretrained(draft)
    return str(folder)


def main() -> None:
    """Read the options, run what is missing, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--work", type=Path, default=Path("out/objectives"), help="students, results"
    )
    parser.add_argument("--teacher", default="testbed:teacher")
    parser.add_argument("--student", default="testbed:student")
    parser.add_argument("--data", default="testbed", help="as for harness taid distill")
    parser.add_argument("--held-out", default="testbed", help="as --metadata taid_data= takes it")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--objectives", default="", help="comma-separated; default all but minillm")
    parser.add_argument("--against", default=UNDISTILLED, help="what differences are taken from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--max-response", type=int, default=512)
    parser.add_argument("--eval-rows", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="two objectives, a few steps")
    options = parser.parse_args()
    every = [name for name in contenders(options.steps) if name != "minillm"]
    names = [n for n in options.objectives.split(",") if n] or every
    if options.quick:
        names, options.seeds, options.steps, options.rows = ["fkl", "taid"], 2, 10, 200
        options.eval_rows = 20
    options.work.mkdir(parents=True, exist_ok=True)
    found = {UNDISTILLED: [evaluated(UNDISTILLED, undistilled(options), options)]}
    seconds = []
    for seed in tqdm(range(options.seeds), desc="seeds"):
        for name in names:
            folder, taken = distilled(name, seed, options)
            seconds += [] if taken is None else [taken]
            found.setdefault(name, []).append(evaluated(f"{name}-{seed}", str(folder), options))
    tables = report(found, options.against)
    if seconds:
        print(f"\na distillation took {min(seconds):.0f} to {max(seconds):.0f} s")
    (options.work / "figures.json").write_text(json.dumps(tables, indent=1))
    table = read_results([options.work / "results"])
    write_csv(table, options.work / "leaderboard.csv")
    write_html(table, options.work / "leaderboard.html", title="Distillation objectives")


if __name__ == "__main__":
    main()
