"""What training on CG2C pairs is worth: figures with 95 % intervals.

    python benchmarks/cg2c_training.py --work FOLDER
    python benchmarks/cg2c_training.py --work FOLDER --data CG2C_doc.jsonl \
        --model testbed:minilm --max-length 320 --lr 1e-4 --batch-size 16 --epochs 1 \
        --dtype bfloat16 --elsewhere DATA/aggrefact/dev.jsonl --elsewhere-rows 60

Without ``--data``: CG2C-Doc is made from the testbed's documents by its deterministic writer, a
small checker is trained on it from random weights, and the same checker with the same number of
rows and steps on random negatives: the same positives, and each claim with the document of another
pair. Both are measured on pairs from other documents whose claims rest on two facts or more; an
unsupported claim's document names all its entities, but lacks one fact. Beside them stand models
that never see the claim: logistic regressions on the document's length, and on its words and pairs
of words. A removed fact leaves a trace in the document, one sentence more that tells nothing; so
both are also measured where the supporting document has lost a fact that its claim does not need.

With ``--data``: a checker is trained on a CG2C file, of which a fifth is held out by pair (and by
document), and the same start with as many rows and steps on random negatives: the same positives,
and each claim with the document of a row that is not of its pair, nor of its document's other
pairs. Both, and the claim-blind models, are measured on the rows held out, on the positives held
out against random negatives, and on the first rows of ``--elsewhere``, a table of documents, claims
and labels. Beside them: the words of document and claim, and how much of the claim's words the
document has.

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
from harness_factcg.checking.opening import open_checker
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
from harness.data.sources import Row, read_table
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


def margins_of(folder: Path, rows: Sequence[Row], options: argparse.Namespace) -> list[float]:
    """Log-odds of a checkpoint, as hf-fact-checker scores; kept, for a rerun."""
    scores = folder.with_name(f"{folder.name}-scores.jsonl")
    checker = open_checker(str(folder), dtype=options.dtype, response_cache=scores)
    pairs = [Pair(row["doc"], row["claim"]) for row in rows]
    verdicts = checker.verdicts(pairs, progress=True)
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
    both = make_pipeline(CountVectorizer(min_df=2), LogisticRegression(C=0.1, max_iter=2000))
    both.fit([f"{row['doc']} {row['claim']}" for row in train], labels)
    margins = both.decision_function([f"{row['doc']} {row['claim']}" for row in test])
    report("words of document and claim", items(test, margins))
    overlap = [[[_shared(row)] for row in rows] for rows in (train, test)]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    margins = model.fit(overlap[0], labels).decision_function(overlap[1])
    report("share of the claim's words in document", items(test, margins))


def _shared(row: Row) -> float:
    """The share of a claim's words that its document has."""
    claim, doc = ({*row[name].lower().split()} for name in ("claim", "doc"))
    return len(claim & doc) / len(claim)


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
            dtype=options.dtype,
            evaluations=options.evaluations,
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
        found = {
            kind: items(rows, margins_of(folder, rows, options)) for kind, folder in folders.items()
        }
        report("checker trained on CG2C-Doc", found["cg2c"])
        report("checker trained on random negatives", found["random"])
        report_difference(found["cg2c"], found["random"])
        report_claim_blind(train, rows)


def swapped(rows: Sequence[Row], seed: int) -> list[Row]:
    """The positives of pairs of any text, and each claim with a document of another group.

    Groups are what hangs together by pairs and documents, so that no claim meets its own document.
    Documents change places among a few groups, so that a part can still be held out.
    """
    rng = random.Random(seed)
    groups = training_data.groups(rows)
    found: list[Row] = []
    for start in range(0, len(groups), SWAPPED):
        part = groups[start : start + SWAPPED]
        part = part if len(part) > 1 else groups[-SWAPPED:]
        for group in part:
            others = [rows[k]["doc"] for other in part if other is not group for k in other]
            for row in (rows[k] for k in group if rows[k]["label"] == 1):
                found += [row, row | {"doc": rng.choice(others), "label": 0}]
    return found


def on_file(options: argparse.Namespace) -> None:
    """A CG2C file, split by pair: its own negatives against random ones."""
    rows = training_data.read([training_data.Source.of(options.data)])[: options.rows]
    train, test = training_data.split(rows, 0.2, seed=0)
    plain = {"hops": 0, "source": options.data.stem, "removed": []}
    kinds = {"cg2c": train, "random": swapped(train, 1)}
    print(f"{len(rows)} rows: {len(train)} to train on, {len(test)} held out")
    print(f"lengths: {cg2c.length_gap(rows)}")
    folders = {}
    for kind, own in kinds.items():
        path = write(options.work / f"{kind}.jsonl", [row | plain for row in own])
        folders[kind] = trained(options.work / f"checker-{kind}", path, options)
    tests = {"held out": test, "held out, random negatives": swapped(test, 2)}
    if options.elsewhere:
        table = read_table(options.elsewhere)[: options.elsewhere_rows]
        found = [{name: row[name] for name in ("doc", "claim", "label")} for row in table]
        tests[str(options.elsewhere.name)] = [
            row | {"pair_id": str(number)} for number, row in enumerate(found)
        ]
    for what, own in tests.items():
        print(f"\n{what}: {len(own)} rows, {sum(row['label'] for row in own)} supported")
        scored = {k: items(own, margins_of(folder, own, options)) for k, folder in folders.items()}
        report("checker trained on CG2C-Doc", scored["cg2c"])
        report("checker trained on random negatives", scored["random"])
        report_difference(scored["cg2c"], scored["random"])
        report_claim_blind(train, own)


def main() -> None:
    """Read the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--work", type=Path, default=Path("out/cg2c"), help="data and checkpoints")
    parser.add_argument("--data", type=Path, help="a CG2C file; default the testbed")
    parser.add_argument("--rows", type=int, help="of --data, so many of the first; default all")
    parser.add_argument("--model", default="scratch:3x128")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--test-documents", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", help="of training (autocast) and scoring")
    parser.add_argument("--evaluations", type=int, default=10, help="and checkpoints, a training")
    parser.add_argument("--elsewhere", type=Path, help="a table with doc, claim and label")
    parser.add_argument("--elsewhere-rows", type=int, help="so many of its first rows; default all")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.data is None:
        on_testbed(options)
    else:
        on_file(options)


if __name__ == "__main__":
    main()
