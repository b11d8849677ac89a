"""What ``concept=each`` costs: one pass over all concepts against a loop concept by concept.

    python benchmarks/steering_elsewhere.py [--rows 160] [--batch-size 32] [--repeats 3]

Two tasks of lm-eval's own kinds on the testbed's documents, answered by its teacher, steered by
DiffMean towards 16 concepts: a multiple choice (is a claim supported?) and texts to write on. In
one process, with the model loaded once, in turns of random order:

    each        every row towards the concept whose turn it is
    one         every row towards the same concept: what a single concept's pass costs
    loop        concept by concept, each on its own rows: the same answers as each
    whole loop  concept by concept on all rows, what the mean took before; from one concept's time

Printed are median seconds, the median ratio of each to the others, and how far the answers of each
and loop differ. On a machine shared with others, --threads 1 --clock cpu counts processor time.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from harness import compose
from harness.testbed.english import corpus

MODEL = "testbed:teacher"
CHOICE, WRITTEN = "claims", "continued"
FACTOR = 1.0
WORDS = 60


def tasks(folder: Path, rows: int) -> TaskManager:
    """Both tasks, with their data."""
    short = [row for row in corpus.claims("test") if len(str(row["doc"]).split()) < WORDS]
    claims = short[:: len(short) // rows][:rows]
    lines = [
        json.dumps(
            {
                "asked": corpus.FACT_TEMPLATE.format(doc=row["doc"], claim=row["claim"]),
                "label": row["label"],
                "begun": f"{row['doc']}\n",
            }
        )
        for row in claims
    ]
    (folder / "claims.jsonl").write_text("\n".join(lines))
    source = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(folder / "claims.jsonl")},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
    }
    choice = {
        "task": CHOICE,
        "output_type": "multiple_choice",
        "doc_to_text": "{{asked}}",
        "doc_to_choice": ["No", "Yes"],
        "doc_to_target": "{{label}}",
        "metric_list": [{"metric": "acc"}],
    }
    written = {
        "task": WRITTEN,
        "output_type": "generate_until",
        "doc_to_text": "{{begun}}",
        "doc_to_target": "{{asked}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }
    for task in (choice, written):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(source | task))
    return TaskManager(include_path=str(folder), include_defaults=False)


def dictionary(folder: Path) -> Path:
    """DiffMean for the testbed's concepts."""
    options = Options(
        out=folder,
        methods=("diffmean",),
        model=MODEL,
        layer=2,
        run=run_options({"data": "testbed"}),
        batch_size=64,
        device="cpu",
        dtype="float32",
    )
    return train(options).folder


Answers = dict[str, dict[int, Any]]
"""By task and row."""


class Sides:
    """The ways of one model to answer both tasks.

    Args:
        lm: Steered by ``concept=each``.
        manager: Knows the tasks.
        rows: Of each task.
    """

    def __init__(self, lm: Any, manager: TaskManager, rows: int) -> None:
        self._lm, self._manager, self._rows = lm, manager, rows
        self._each = lm.plan

    def each(self) -> Answers:
        """Every row towards the concept whose turn it is."""
        self._lm.plan = self._each
        return self._evaluated()

    def one(self) -> Answers:
        """Every row towards the first concept."""
        self._lm.plan = replace(self._each, each=(), everywhere=self._each.each[0])
        return self._evaluated()

    def loop(self) -> Answers:
        """Concept by concept on its own rows."""
        found: Answers = {CHOICE: {}, WRITTEN: {}}
        for place, steering in enumerate(self._each.each):
            self._lm.plan = replace(self._each, each=(), everywhere=steering)
            own = list(range(place, self._rows, len(self._each.each)))
            for task, answers in self._evaluated(own).items():
                found[task] |= answers
        return found

    def _evaluated(self, rows: list[int] | None = None) -> Answers:
        found = simple_evaluate(
            model=self._lm,
            tasks=[CHOICE, WRITTEN],
            task_manager=self._manager,
            samples=None if rows is None else dict.fromkeys((CHOICE, WRITTEN), rows),
            bootstrap_iters=0,
            log_samples=True,
            verbosity="ERROR",
        )
        assert found is not None
        return {
            task: {row["doc_id"]: row["filtered_resps"] for row in found["samples"][task]}
            for task in (CHOICE, WRITTEN)
        }


def difference(one: Answers, other: Answers) -> str:
    """How far two sides' answers are apart."""
    gaps = [
        abs(float(a[0]) - float(b[0]))
        for row, answers in one[CHOICE].items()
        for a, b in zip(answers, other[CHOICE][row], strict=True)
    ]
    same = sum(text == other[WRITTEN][row] for row, text in one[WRITTEN].items())
    return (
        f"log-probabilities differ by {max(gaps):.1e} at most, {same} of {len(one[WRITTEN])} texts "
        f"are equal"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        manager = tasks(folder, options.rows)
        lm = compose("hf-steered")(
            MODEL,
            steering=str(dictionary(folder / "dictionary")),
            concept="each",
            factor=FACTOR,
            device="cpu",
            dtype="float32",
            batch_size=options.batch_size,
        )
        concepts, sides = len(lm.plan.each), Sides(lm, manager, options.rows)
        order: list[tuple[str, Callable[[], Answers]]] = [
            ("each", sides.each), ("one", sides.one), ("loop", sides.loop),
        ]  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name, _ in order}
        answers: dict[str, Answers] = {}
        sides.one()  # warm
        for _ in range(options.repeats):
            random.shuffle(order)
            for name, side in order:
                start = clock()
                answers[name] = side()
                times[name].append(clock() - start)
    times["whole loop"] = [concepts * spent for spent in times["one"]]
    for name, spent in times.items():
        ratio = statistics.median(b / a for a, b in zip(times["each"], spent, strict=True))
        print(f"{name:11} {statistics.median(spent):7.2f} s   {ratio:6.2f} × each")
    print(f"each and loop: {difference(answers['each'], answers['loop'])}")


if __name__ == "__main__":
    main()
