"""What judging costs on the testbed, and what is lost by judging less or without a judge.

    python benchmarks/judge_scope.py [--methods reft_r1 diffmean random] [--runs FOLDER]
        [--rows 300] [--batch-size 70]

The testbed's teacher is steered by each method over all factors (``--runs`` keeps these runs, or
reads what an earlier call kept); its judge, who knows the truth, rates the answers at each
``judge_scope``. Printed for each method and scope: responses judged and their share, the score and
its difference from ``all``, and for how many concepts the factor is that of ``all``.

Then the judge ``proxy`` rates a sample of the answers of all methods, drawn evenly, and Spearman's
rank correlation with the truth is printed: of each rating, and of the harmonic mean; with 95 %
bootstrap intervals over concepts.

Claim: ``score`` has exactly the score of ``all``, from 54 % of the responses.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from harness_axbench.assessing.proxy import Proxy
from harness_axbench.metrics import chosen_factor, score
from harness_axbench.metrics.ratings import NAMES
from scipy.stats import spearmanr

from harness.judging.judged_task import parse_rating
from harness.judging.rescore import rescore
from harness.judging.run_files import read_results, read_samples, results_file

TASK, MODEL = "axbench_steer", "testbed:teacher"
SCOPES = ("all", "score", "race")
RESAMPLES = 1_000


def steered(folder: Path, methods: Sequence[str], batch_size: int) -> dict[str, Path]:
    """A run of each method, made where there is none."""
    dictionary = folder / "dictionary"
    if not dictionary.exists():
        given = ["--model", MODEL, "--layer", "2", "--data", "testbed", "--out", str(dictionary)]
        names = ["--methods", ",".join(methods)]
        names += ["--set", "reft_r1.lr=0.03"] if "reft_r1" in methods else []
        called("harness", "axbench", "train", *given, *names)
    for method in methods:
        if not list((folder / method).rglob("results_*.json")):
            args = f"pretrained={MODEL},steering={dictionary},method={method}"
            called(
                *("lm_eval", "--model", "hf-steered", "--model_args", args, "--tasks", TASK),
                *("--metadata", "data=testbed", "--apply_chat_template", "--log_samples"),
                *("--batch_size", str(batch_size), "--output_path", str(folder / method)),
            )
    return {method: folder / method for method in methods}


def called(module: str, *words: str) -> None:
    """Run a module's command."""
    subprocess.run([sys.executable, "-m", module, *words], check=True, stdout=subprocess.DEVNULL)


def samples(path: Path) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    """A run's results and its samples."""
    file = results_file(path)
    saved = read_results(file)
    return saved, read_samples(file, saved, TASK)


def factors(rows: Sequence[Mapping[str, Any]]) -> dict[int, float | None]:
    """Each concept's chosen factor."""
    items = defaultdict(list)
    for row in rows:
        items[row["doc"]["concept_id"]].append(row["overall_score"])
    return {concept: chosen_factor(own) for concept, own in items.items()}


def compare(method: str, run: Path, scratch: Path) -> None:
    """Print one method's line at each scope."""
    whole: dict[int, float | None] = {}
    of_all = 0.0
    for scope in SCOPES:
        path = rescore(run, judge="testbed-judge", scope=scope, out=scratch / method / scope)
        saved, rows = samples(path)
        found = factors(rows)
        value = saved["results"][TASK]["overall_score,none"]
        if scope == "all":
            whole, of_all = found, value
        note = saved["configs"][TASK]["metadata"]["judging"]
        same = sum(found[concept] == factor for concept, factor in whole.items())
        audit = f", audited {note['agreed']}/{note['audited']}" if "audited" in note else ""
        share = note["judged"] / note["responses"]
        print(
            f"{method:10} {scope:6} judged {note['judged']:5} ({share:.1%})"
            f"  score {value:.4f} ({value - of_all:+.4f})  same factor {same}/{len(whole)}{audit}"
        )


def correlate(runs: Mapping[str, Path], rows: int) -> None:
    """Print how the proxy's ratings are ordered as the truth is."""
    drawn = random.Random(0)
    sample = [
        row
        for path in runs.values()
        for row in drawn.sample(samples(path)[1], max(1, rows // len(runs)))
    ]
    texts = [row["resps"][0][0] for row in sample]
    about = [
        {"concept": r["doc"]["concept"], "instruction": r["doc"]["instruction"], "response": text}
        for r, text in zip(sample, texts, strict=True)
    ]
    proxy = Proxy(pretrained=MODEL, data="testbed")
    docs = [{"rating": name, **one} for one in about for name in NAMES]
    answers = proxy.generate_until([SimpleNamespace(doc=doc) for doc in docs])
    found = np.array([parse_rating(one, 0, 2) for one in answers], dtype=float).reshape(-1, 3)
    truth = np.array([[row["overall_score"][name] for name in NAMES] for row in sample])
    concepts = np.array([row["doc"]["concept_id"] for row in sample])

    def overall(ratings: Any) -> Any:
        return np.array([score(dict(zip(NAMES, map(float, own), strict=True))) for own in ratings])

    columns = {name: (found[:, k], truth[:, k]) for k, name in enumerate(NAMES)}
    columns["overall"] = (overall(found), overall(truth))
    print(f"proxy, Spearman's correlation with the truth on {len(sample)} answers:")
    for name, (mine, true) in columns.items():
        low, high = interval(mine, true, concepts)
        print(f"  {name:12} {spearmanr(mine, true)[0]:.3f} [{low:.3f}, {high:.3f}]")


def interval(mine: Any, true: Any, concepts: Any) -> tuple[float, float]:
    """A 95 % percentile interval of the correlation, over concepts drawn anew."""
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(concepts == concept) for concept in np.unique(concepts)]
    values = []
    for _ in range(RESAMPLES):
        own = np.concatenate([places[k] for k in rng.integers(len(places), size=len(places))])
        values.append(spearmanr(mine[own], true[own])[0])
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["reft_r1", "diffmean", "random"])
    parser.add_argument("--runs", type=Path, help="where the runs are, or are to be kept")
    parser.add_argument("--rows", type=int, default=300, help="answers that the proxy rates")
    parser.add_argument("--batch-size", type=int, default=70)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.runs or Path(scratch) / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        runs = steered(folder, options.methods, options.batch_size)
        for method, run in runs.items():
            compare(method, run, Path(scratch))
        correlate(runs, options.rows)


if __name__ == "__main__":
    main()
