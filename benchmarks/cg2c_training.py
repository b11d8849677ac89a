"""What training on CG2C pairs is worth: figures with 95 % intervals.

    python benchmarks/cg2c_training.py --work FOLDER
    python benchmarks/cg2c_training.py --work FOLDER --data CG2C_doc.jsonl

Without ``--data``: CG2C-Doc is made from the testbed's documents by its deterministic writer, a
small checker is trained on it from random weights, and the same checker with the same number of
rows and steps on random negatives: the same positives, and each claim with the document of another
pair. Both are measured on pairs from other documents whose claims rest on two facts or more; an
unsupported claim's document names all its entities, but lacks one fact. Beside them stand models
that never see the claim: logistic regressions on the document's length, and on its words and pairs
of words. A removed fact leaves a trace in the document, one sentence more that tells nothing; so
both are also measured where the supporting document has lost a fact that its claim does not need.

With ``--data``: a small checker is trained on a CG2C file, of which a fifth is held out by pair,
and measured there, with the same claim-blind models beside it.

Balanced accuracy at 0.5; intervals by bootstrap over pairs. A rerun in the same folder goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness_factcg.checking.checker import Checker
from harness_factcg.checking.families import detect
from harness_factcg.checking.loading import load
from harness_factcg.checking.verdicts import Pair
from harness_factcg.data import cg2c
from harness_factcg.generation import generate
from harness_factcg.metrics import auroc, balanced_accuracy
from harness_factcg.training import rows as training_data
from harness_factcg.training import train as training
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from harness.asking.desk import writer_spec
from harness.data.sources import Row
from harness.statistics import Floats, Statistic
from harness.testbed.english import chains

TEST_SEED = 1000
SWAPPED = 8
"""Pairs whose documents change places among themselves as random negatives."""


def write(path: Path, rows: Sequence[Row]) -> Path:
    """A JSON-lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def testbed_pairs(folder: Path, documents: int, seed: int, size: chains.Size) -> list[Row]:
    """CG2C-Doc from documents of the testbed."""
    source = folder.with_suffix(".txt")
    texts = dict.fromkeys(chains.documents(documents, seed, size))
    source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    made = generate.generate(
        generate.Options(
            out=folder,
            writer=writer_spec("testbed-writer", generate.TOKENS),
            source=str(source),
            hops=(1, 2, 3),
            seed=seed,
        )
    )
    return cg2c.read(made.file)


def random_negatives(rows: Sequence[Row]) -> list[Row]:
    """The positives, and each claim with the document of another pair that does not support it."""
    found: list[Row] = []
    positives = [row for row in rows if row["label"] == 1]
    for start in range(0, len(positives), SWAPPED):
        part = positives[start : start + SWAPPED]
        for place, row in enumerate(part):
            others = [part[(place + k) % len(part)]["doc"] for k in range(1, len(part))]
            wrong = [doc for doc in others if not chains.supports(doc, row["claim"])]
            if wrong:
                found += [row, row | {"doc": wrong[0], "label": 0, "removed": []}]
    return found


def without_a_trace(rows: Sequence[Row]) -> list[Row]:
    """Pairs whose supporting document has lost a fact too, one that the claim does not need.

    Both documents of a pair then have as many facts and as many sentences without one.
    """
    rng = random.Random(0)
    found: list[Row] = []
    for positive, negative in cg2c.pairs(rows):
        needed = chains.claimed(positive["claim"])
        spare = [fact for fact in chains.stated(positive["doc"]) if fact not in needed]
        if spare:
            doc = chains.removed(positive["doc"], rng.choice(spare))
            assert chains.supports(doc, positive["claim"])
            found += [positive | {"doc": doc}, negative]
    return found


def items(rows: Sequence[Row], margins: Sequence[float]) -> list[dict[str, Any]]:
    """Judged claims; an interval resamples pairs."""
    return [
        {"label": row["label"], "margin": float(margin), "document": row["pair_id"]}
        for row, margin in zip(rows, margins, strict=True)
    ]


def margins_of(folder: Path, rows: Sequence[Row]) -> list[float]:
    """Log-odds of a checkpoint, as hf-fact-checker scores."""
    checkpoint = load(str(folder))
    family, _ = detect(checkpoint.model.config, str(folder))
    pairs = [Pair(row["doc"], row["claim"]) for row in rows]
    verdicts = Checker(checkpoint, family).verdicts(pairs, progress=True)
    return [verdicts[pair].margin for pair in pairs]


def report(name: str, found: Sequence[dict[str, Any]]) -> None:
    """One line: balanced accuracy and AUROC with their intervals."""
    (low, high), (floor, ceiling) = balanced_accuracy.interval(found), auroc.interval(found)
    print(
        f"{name:36} balanced accuracy {balanced_accuracy(found):.3f} [{low:.3f}, {high:.3f}]   "
        f"AUROC {auroc(found):.3f} [{floor:.3f}, {ceiling:.3f}]"
    )


def report_difference(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """The difference of two models on the same rows, with the interval of the paired bootstrap."""

    def weighted(both: Sequence[Any], weights: Floats) -> Floats:
        label = np.array([a["label"] for a, _ in both])
        values = [np.zeros(len(weights)), np.zeros(len(weights))]
        for model in (0, 1):
            right = np.array([(pair[model]["margin"] > 0) for pair in both]) == label
            for side in (label == 1, label == 0):
                values[model] += weights @ (right & side) / (weights @ side) / 2
        return values[0] - values[1]

    gap = Statistic("difference", weighted, unit=lambda pair: pair[0]["document"])
    both = list(zip(one, other, strict=True))
    low, high = gap.interval(both)
    print(f"{'difference':36} balanced accuracy {gap(both):+.3f} [{low:+.3f}, {high:+.3f}]")


def report_claim_blind(train: Sequence[Row], test: Sequence[Row]) -> None:
    """Models that see the document alone."""
    labels = [row["label"] for row in train]
    lengths = [[[len(row["doc"].split())] for row in rows] for rows in (train, test)]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    margins = model.fit(lengths[0], labels).decision_function(lengths[1])
    report("claim-blind: length of document", items(test, margins))
    words = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), min_df=2), LogisticRegression(C=0.1, max_iter=2000)
    )
    words.fit([row["doc"] for row in train], labels)
    margins = words.decision_function([row["doc"] for row in test])
    report("claim-blind: words of document", items(test, margins))


def trained(out: Path, data: Path, options: argparse.Namespace) -> Path:
    """The checkpoint of one training; says what it took."""
    started = time.process_time()
    made = training.train(
        training.Options(
            out=out,
            model=options.model,
            stage2=[data],
            epochs=options.epochs,
            rate=options.lr,
            batch_size=options.batch_size,
            device_batch_size=options.batch_size,
            max_length=options.max_length,
            device=options.device,
        )
    )
    seconds = "" if made.present else f"; {time.process_time() - started:.0f} s of processor time"
    print(f"{out.name}: {training.summary(made)}{seconds}")
    return made.folder


def on_testbed(options: argparse.Namespace) -> None:
    """CG2C against random negatives."""
    size = chains.Size(hops=(2, 3), extras=(0, 1), neutral=(1, 5), fillers=(0, 0))
    work = options.work
    train = testbed_pairs(work / "train", options.documents, 1, size)
    test = testbed_pairs(work / "test", options.test_documents, TEST_SEED, size)
    seen = {row["doc"] for row in train}
    test = [row for row in test if row["hops"] >= 2 and row["doc"] not in seen]
    swapped = random_negatives(train)
    kept = {row["pair_id"] for row in swapped}
    files = {
        "cg2c": write(work / "cg2c.jsonl", [row for row in train if row["pair_id"] in kept]),
        "random": write(work / "random.jsonl", swapped),
    }
    for kind, path in files.items():
        print(f"{kind}: {cg2c.length_gap(cg2c.read(path))}")
    folders = {
        kind: trained(work / f"checker-{kind}", path, options) for kind, path in files.items()
    }
    spared = without_a_trace(test)
    for what, rows in (
        ("claims on two facts or more", test),
        ("the same, and the supporting document has lost another fact", spared),
    ):
        print(f"\nheld out: {len(rows)} rows, {what}")
        found = {kind: items(rows, margins_of(folder, rows)) for kind, folder in folders.items()}
        report("checker trained on CG2C-Doc", found["cg2c"])
        report("checker trained on random negatives", found["random"])
        report_difference(found["cg2c"], found["random"])
        report_claim_blind(train, rows)


def on_file(options: argparse.Namespace) -> None:
    """A CG2C file, split by pair."""
    rows = training_data.read([training_data.Source.of(options.data)])
    train, test = training_data.split(rows, 0.2, seed=0)
    plain = {"hops": 0, "source": options.data.stem, "removed": []}
    path = write(options.work / "rest.jsonl", [row | plain for row in train])
    print(f"{len(rows)} rows: {len(train)} to train on, {len(test)} held out")
    print(f"lengths: {cg2c.length_gap(rows)}")
    folder = trained(options.work / "checker", path, options)
    report("checker", items(test, margins_of(folder, test)))
    report_claim_blind(train, test)


def main() -> None:
    """Read the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of data and checkpoints")
    parser.add_argument("--data", type=Path, help="a CG2C file; default the testbed")
    parser.add_argument("--model", default="scratch:3x128")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--test-documents", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.data is None:
        on_testbed(options)
    else:
        on_file(options)


if __name__ == "__main__":
    main()
