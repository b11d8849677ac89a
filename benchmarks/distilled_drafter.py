r"""What a distilled student earns as a drafter, against what ``taid_fidelity`` predicts.

    python benchmarks/distilled_drafter.py [--students testbed:student FOLDER …] [--distil 40]

For each student: ``taid_fidelity`` along the teacher's own samples gives TVD(p, q) at each token
and the probability that this token was a draft which passed. The same prompts are then answered by
``hf-speculative`` with the student as drafter, sampling at temperature 1. All are separate commands
that leave files; nothing but these files is read. Each side is run with several seeds.

Prediction. The ratio test accepts a draft at position t with probability 1 − TVD_t, and its output
is distributed as the teacher's. Whether a draft is made at t depends on what was accepted before:
with π_t(j) the probability that t is the round's j-th place, m places drafted a round, and a_t =
min(1, q(x_t)/p(x_t)) the probability that the token x_t was a draft that passed,

    accepted += π_t(j) (1 − TVD_t),  π_{t+1}(j+1) += π_t(j) a_t,  π_{t+1}(0) += π_t(j) (1 − a_t)

for j < m, and π_{t+1}(0) += π_t(m). Accepted over drafted tokens is therefore known exactly, up to
the sampling of texts. The mean of 1 − TVD over all tokens, which the task reports, differs from it
a little: drafts are not made everywhere. Coupling by shared Gumbel noise accepts less: between
(1 − TVD)/(1 + TVD) and 1 − TVD at each token (Daliri et al. 2024).

Printed are both sides with standard errors over seeds, and the difference in standard errors.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIDELITY, GENERATION = "taid_fidelity", "taid_generation"


def command(*words: object) -> None:
    """Run a command of the project; its output is shown where it fails."""
    done = subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def evaluated(out: Path, options: argparse.Namespace, model: str, task: str, **how: str) -> Path:
    """The results file of one run of lm_eval."""
    if not list(out.rglob("results_*.json")):
        command(
            Path(sys.executable).with_name("lm_eval"),
            *("--model", model, "--tasks", task, "--output_path", out, "--log_samples"),
            *("--device", options.device, "--batch_size", options.batch, "--limit", options.rows),
            *("--apply_chat_template", "--model_args", how["model_args"]),
            *("--gen_kwargs", how["gen_kwargs"], "--metadata", how["metadata"]),
        )
    (found,) = out.rglob("results_*.json")
    return found


def samples(results: Path, task: str) -> list[dict[str, Any]]:
    """The samples beside a results file."""
    (file,) = results.parent.glob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def predicted(rows: Sequence[dict[str, Any]], gamma: int, length: int) -> float:
    """Accepted over drafted tokens that the ratio test is expected to have.

    Args:
        rows: For each text ``tvd`` and ``passing`` of its tokens.
        gamma: Tokens drafted a round, at most.
        length: Tokens of a text, at most: no more is drafted than may still be written, less one.
    """
    accepted = drafted = 0.0
    for row in rows:
        places = {0: 1.0}
        for t, (tvd, passing) in enumerate(zip(row["tvd"], row["passing"], strict=True)):
            following: dict[int, float] = {}
            for j, share in places.items():
                m = min(gamma, length - (t - j) - 1)
                drafted += share * m if j == 0 else 0.0
                if j < m:
                    accepted += share * (1 - tvd)
                    following[j + 1] = following.get(j + 1, 0.0) + share * passing
                    following[0] = following.get(0, 0.0) + share * (1 - passing)
                else:
                    following[0] = following.get(0, 0.0) + share
            places = following
    return accepted / drafted


def mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error."""
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def fidelity(room: Path, student: str, options: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """For each seed the figures of each text along the teacher's samples."""
    found = []
    for seed in range(options.seeds):
        metadata = {"data": options.data, "along": "teacher", "sample_seed": seed}
        results = evaluated(
            room / f"fidelity-{seed}", options, "hf-distilled", FIDELITY,
            model_args=f"pretrained={student},teacher={options.teacher}",
            gen_kwargs=f"max_gen_toks={options.length}", metadata=json.dumps(metadata),
        )  # fmt: skip
        found.append([sample["acceptance"] for sample in samples(results, FIDELITY)])
    return found


def measured(room: Path, student: str, scheme: str, gamma: int, options: Any) -> list[float]:
    """For each seed accepted over drafted tokens of ``hf-speculative``."""
    found = []
    for seed in range(options.seeds):
        results = evaluated(
            room / f"{scheme}-{gamma}-{seed}", options, "hf-speculative", GENERATION,
            model_args=f"pretrained={options.teacher},drafter={student},scheme={scheme},"
            f"gamma={gamma},seed={seed}",
            gen_kwargs=f"max_gen_toks={options.length},do_sample=true,temperature=1.0,top_k=0",
            metadata=json.dumps({"data": options.data}),
        )  # fmt: skip
        totals = json.loads(results.read_text(encoding="utf-8"))["config"]["speculation"]
        found.append(totals["accepted"] / totals["proposed"])
    return found


def report(room: Path, student: str, options: argparse.Namespace) -> None:
    """Measure one student and print."""
    by_seed = fidelity(room, student, options)
    tokens = [x for rows in by_seed for row in rows for x in row["tvd"]]
    plain = mean([1 - statistics.fmean(x for row in rows for x in row["tvd"]) for rows in by_seed])
    print(f"{student}: {len(tokens):,} tokens along {options.teacher}'s samples")
    print(f"  taid_fidelity acceptance, 1 − TVD    {plain[0]:.4f} ± {plain[1]:.4f}")
    for gamma in options.gammas:
        expected = mean([predicted(rows, gamma, options.length) for rows in by_seed])
        found = mean(measured(room, student, "leviathan", gamma, options))
        apart = (found[0] - expected[0]) / math.hypot(found[1], expected[1])
        print(
            f"  leviathan γ={gamma}: predicted {expected[0]:.4f} ± {expected[1]:.4f}, measured "
            f"{found[0]:.4f} ± {found[1]:.4f}, apart {apart:+.1f} standard errors"
        )
    low = statistics.fmean((1 - x) / (1 + x) for x in tokens)
    found = mean(measured(room, student, "gumbel", 1, options))
    verdict = "inside" if low <= found[0] <= plain[0] else "outside"
    print(
        f"  gumbel γ=1: bounds {low:.4f} to {plain[0]:.4f}, measured {found[0]:.4f} ± "
        f"{found[1]:.4f}: {verdict}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", nargs="+", default=["testbed:student"])
    parser.add_argument("--teacher", default="testbed:teacher")
    parser.add_argument("--distil", type=int, default=0, help="also distil one, in so many steps")
    parser.add_argument("--objective", default="taid")
    parser.add_argument("--data", default="testbed")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--gammas", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, help="keep the files here, and go on from them")
    options = parser.parse_args()
    room = options.out or Path(tempfile.mkdtemp())
    try:
        if options.distil:
            made = room / f"{options.objective}-{options.distil}"
            command(
                *(sys.executable, "-m", "harness", "taid", "distill", "--out", made),
                *("--student", options.students[0], "--teacher", options.teacher),
                *("--data", options.data, "--objective", options.objective, "--lr", "1e-3"),
                *("--steps", options.distil, "--batch-size", 16, "--dev-rows", 0),
            )
            options.students.append(str(made))
        for number, student in enumerate(options.students):
            report(room / f"student-{number}", student, options)
    finally:
        if options.out is None:
            shutil.rmtree(room)


if __name__ == "__main__":
    main()
