"""What steering does to a model's answers as the factor grows, from the samples of saved runs.

    python benchmarks/steering_curves.py RESULTS --data FOLDER [--model MODEL --dtype bfloat16]

Takes runs of axbench_steer that were made with perplexity=true and prints, for each method and
factor, means over concepts with 95 % bootstrap intervals over concepts:

    perplexity  of the answers under the unsteered model, the geometric mean over a concept's
    P(concept)  of a bag of words: counts of words, logistic regression (C = 100), fitted for each
                concept on its training positives and its genre's negatives, answers alone. Its
                AUROC on the evaluation texts, which it has not seen, is printed first
    concept, related, fluent, score
                the ratings of the run's judge, where it has one, 0 to 2, and their harmonic mean

With --model and --steering, the dictionary, also how long an edit of factor 1 is: max_act over the
median norm of the layer's outputs.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness_axbench.activations.loading import load_reader
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.dictionary.folder import read
from harness_axbench.metrics import factors_in
from harness_axbench.options import run_options
from harness_axbench.report.curves import OVERALL, Estimate, factor_curves, mean_of_values
from harness_axbench.report.reading import STEERING, Series, read_runs
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from harness.judging.run_files import read_results, read_samples

RATINGS = {"concept": "concept", "relatedness": "related", "fluency": "fluent", OVERALL: "score"}


class Words:
    """A bag of words for each concept, on answers alone."""

    def __init__(self, data: ConceptData) -> None:
        self._models, self.areas = {}, {}
        for concept in data.concepts:
            positive = [row["output"] for row in data.positives(concept)]
            negative = [row["output"] for row in data.negatives(concept.genre)]
            model = make_pipeline(CountVectorizer(), LogisticRegression(C=100, max_iter=1000))
            model.fit(positive + negative, [1] * len(positive) + [0] * len(negative))
            own = [r for r in data.evaluation if r["concept_id"] == concept.id]
            own = [r for r in own if r["category"] in ("positive", "negative")]
            chances = model.predict_proba([row["output"] for row in own])[:, 1]
            labels = [row["category"] == "positive" for row in own]
            self._models[concept.id] = model
            self.areas[concept.id] = float(roc_auc_score(labels, chances))

    def chances(self, concept: int, texts: Sequence[str]) -> list[float]:
        """P(concept) of each text."""
        found: list[float] = self._models[concept].predict_proba(list(texts))[:, 1].tolist()
        return found


def answers(series: Series) -> dict[tuple[int, float], list[tuple[str, float]]]:
    """The answers and their perplexities, by concept and factor."""
    path = Path(series.run.file)
    rows = read_samples(path, read_results(path), series.task)
    found: dict[tuple[int, float], list[tuple[str, float]]] = defaultdict(list)
    for item, row in zip(series.items, rows, strict=True):
        response: Any = row["resps"]
        while isinstance(response, list):
            response = response[0]
        perplexity = float(item.get("perplexity") or math.nan)
        found[item["concept_id"], item["factor"]].append((str(response), perplexity))
    return found


def perplexity(own: Sequence[tuple[str, float]]) -> float:
    """The logarithm of the geometric mean of the answers' perplexities, which are all finite."""
    known = [math.log(value) for _, value in own if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def over(values: Mapping[int, float]) -> Estimate:
    """The mean over concepts."""
    return mean_of_values(values, None)


def shown(found: Estimate, digits: int = 2) -> str:
    """A mean and its interval."""
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def lengths(series: Series, norm: float, steering: Path) -> dict[int, float]:
    """max_act of each concept in units of the median norm of the layer's outputs."""
    found = read(steering)
    acts = found.facts(series.run.method)["max_act"]
    return {concept.id: acts[place] / norm for place, concept in enumerate(found.concepts)}


def print_series(series: Series, words: Words, norm: float | None, steering: Path | None) -> None:
    """A line for each factor."""
    made = answers(series)
    judged = any(item["concept"] is not None for item in series.items)
    rated = RATINGS if judged else {}
    curves = factor_curves(series.items, list(rated))
    acts = lengths(series, norm, steering) if norm and steering else {}
    print(f"\n{series.label}, {len(series.items)} answers")
    if acts:
        told = ", ".join(f"{number}: {value:.2f}" for number, value in acts.items())
        print(f"max_act in median norms of the layer's outputs: {told}")
    print("| " + " | ".join(["factor", "perplexity", "P(concept)", *rated.values()]) + " |")
    print("|---|---|---|" + "---|" * len(rated))
    for place, factor in enumerate(factors_in(series.items)):
        at = {concept: own for (concept, f), own in made.items() if f == factor}
        logs = over({concept: perplexity(own) for concept, own in at.items()})
        surprise = Estimate(*(math.exp(v) for v in (logs.value, logs.low, logs.high)))
        chance = over(
            {c: float(np.mean(words.chances(c, [t for t, _ in own]))) for c, own in at.items()}
        )
        cells = [f"{factor:g}", shown(surprise, 0), shown(chance)]
        cells += [shown(curves[kind][place]) for kind in rated]
        print(f"| {' | '.join(cells)} |")


def median_norm(model: str, dtype: str, layer: int, data: ConceptData) -> float:
    """Of a block's outputs at the counted tokens of 24 training texts."""
    reader = load_reader(
        model, layer=layer, batch_size=8, device="cpu", dtype=dtype, revision="main"
    )
    rows = data.train[:: max(1, len(data.train) // 24)][:24]
    norms = [batch.hidden[batch.counted].norm(dim=1) for batch in reader.stream(rows, "norms")]
    return float(torch.cat(norms).median())


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--data", default="testbed", help="testbed, hub, or the concept data")
    parser.add_argument("--model", help="whose norms; id or path, or testbed:NAME")
    parser.add_argument("--steering", type=Path, help="the dictionary that the runs steered with")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    if not options.results:
        print("no results are named, so there are no curves to print")
        return
    data = load(run_options({"axbench_data": options.data}))
    words = Words(data)
    told = ", ".join(f"{number}: {area:.3f}" for number, area in words.areas.items())
    print(f"bag of words on held-out texts, AUROC by concept: {told}")
    norm = None
    if options.model:
        if options.steering is None:
            parser.error("--model needs --steering, which names the layer")
        layer = read(options.steering).layer
        norm = median_norm(options.model, options.dtype, layer, data)
        print(f"median norm of the outputs of layer {layer}: {norm:.0f}")
    for section in read_runs(options.results).sections:
        if section.family == STEERING:
            for series in section.series:
                if factors_in(series.items):
                    print_series(series, words, norm, options.steering)


if __name__ == "__main__":
    main()
