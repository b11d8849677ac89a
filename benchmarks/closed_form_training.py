"""Directions of many concepts from one pass, against one concept after another.

    python benchmarks/closed_form_training.py [--concepts 100] [--loop-concepts 1] [--threads 1]

DiffMean, PCA, LAT and LinearProbe are learnt for all concepts as ``harness axbench train`` does,
from each text's outputs, which are read once; and for a few concepts by the loop of the paper's
procedure: every method on its own, concept by concept, whole forward passes with the vocabulary
head in batches of 6 (probe: 12, and anew in every epoch), the shared negatives again for every
concept. The loop's time is that of a concept times the number of concepts. Both use the testbed's
teacher and the same texts, 72 positives a concept and 72 negatives a genre.

Then the cost of a concept for the closed-form methods as their number grows, with 8 positives each
and the outputs of block 0, so that a thousand of them take seconds. Printed is processor time; the
number of threads is set, so that a machine shared with others measures the same.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from harness_axbench.activations.corpus import Library
from harness_axbench.activations.loading import load_reader, width_of
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import Concept, ConceptData
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson
from sklearn.decomposition import PCA

from harness.data.sources import Row, Source
from harness.testbed.english.answers import answer, prompts
from harness.testbed.english.lexicon import CONCEPTS, GENRES

TARGET = 50
METHODS = ("diffmean", "pca", "lat", "probe")
CLOSED = METHODS[:3]
SEED = 42


def made_up(count: int, positives: int, seed: int = 0) -> ConceptData:
    """Concept data from the testbed's sentences; its concepts' words are used in a cycle."""
    rng = random.Random(seed)

    def row(genre: str, category: str, number: int, about: Any) -> Row:
        prompt, topic = rng.choice(prompts(genre, "train"))
        return {
            "input": prompt,
            "output": f"{answer(genre, topic, about, rng)} {rng.randrange(10**6)}",
            "concept_genre": genre,
            "category": category,
            "concept_id": number,
        }

    rows, concepts = [], []
    for number in range(count):
        about = CONCEPTS[number % len(CONCEPTS)]
        concepts.append(Concept(number, about.description, about.genre))
        rows += [row(about.genre, "positive", number, about) for _ in range(positives)]
    for genre in GENRES:
        rows += [row(genre, "negative", -1, None) for _ in range(72)]
    return ConceptData(Source("folder", "benchmark", "benchmark"), tuple(concepts), rows, [])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of some work, and what it returns."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def ours(
    reader: Reader, data: ConceptData, methods: Sequence[str], shard: int
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Seconds of reading and of each method, and the directions [concepts, hidden]."""
    library = Library(reader, data)
    spent = dict.fromkeys(("reading", *methods), 0.0)
    found: dict[str, list[torch.Tensor]] = {name: [] for name in methods}
    for start in range(0, len(data.concepts), shard):
        concepts = data.concepts[start : start + shard]
        seconds, corpus = timed(lambda own=concepts: library.corpus(own))
        spent["reading"] += seconds
        for name in methods:
            kind = find(name)
            lesson = Lesson(
                data=data,
                concepts=concepts,
                corpus=corpus,
                settings=kind.settings(),
                hidden_size=width_of(reader.model),
                seed=SEED,
            )
            seconds, stored = timed(lambda kind=kind, own=lesson: kind.train(own))
            spent[name] += seconds
            found[name].append(stored.tensors["weight"])
    return spent, {name: torch.cat(parts) for name, parts in found.items()}


class Loop:
    """The paper's procedure for one concept and one method at a time.

    Args:
        reader: Has model, tokenizer and layer.
        data: The concept data.
    """

    def __init__(self, reader: Reader, data: ConceptData) -> None:
        self.reader, self.data = reader, data
        self.methods = {
            "diffmean": self.diffmean,
            "pca": self.pca,
            "lat": self.lat,
            "probe": self.probe,
        }

    @torch.no_grad()
    def states(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """Each text's activations [tokens, hidden] by a whole forward pass."""
        encoded = [torch.tensor(self.reader.encode(row)) for row in rows]
        ids = torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True)
        lengths = torch.tensor([len(own) for own in encoded])
        mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        out = self.reader.model(ids, attention_mask=mask, output_hidden_states=True)
        hidden = out.hidden_states[self.reader.layer + 1].float()
        return [row[self.reader.prefix : n] for row, n in zip(hidden, lengths, strict=True)]

    def tokens(self, rows: Sequence[Row]) -> torch.Tensor:
        """The activations of all tokens, in batches of 6 texts."""
        parts = [self.states(rows[k : k + 6]) for k in range(0, len(rows), 6)]
        return torch.cat([tokens for part in parts for tokens in part])

    def diffmean(self, concept: Concept) -> torch.Tensor:
        """Means of positives and of the genre's negatives."""
        positive = self.tokens(self.data.positives(concept))
        return positive.mean(0) - self.tokens(self.data.negatives(concept.genre)).mean(0)

    def pca(self, concept: Concept) -> torch.Tensor:
        """scikit-learn's first component of the positives."""
        positive = self.tokens(self.data.positives(concept)).numpy()
        return torch.from_numpy(PCA(n_components=1).fit(positive).components_[0])

    def lat(self, concept: Concept) -> torch.Tensor:
        """scikit-learn's first component of normed differences."""
        positive = self.tokens(self.data.positives(concept))
        source = torch.Generator().manual_seed(SEED)
        positive = positive[torch.randperm(len(positive), generator=source)]
        half = len(positive) // 2
        delta = torch.nn.functional.normalize(positive[:half] - positive[half : 2 * half], dim=-1)
        return torch.from_numpy(PCA(n_components=1).fit(delta.numpy()).components_[0])

    def probe(self, concept: Concept) -> torch.Tensor:
        """24 epochs in batches of 12 texts, the model run for each."""
        positive = self.data.positives(concept)
        rows = [*positive, *self.data.negatives(concept.genre)]
        source = torch.Generator().manual_seed(SEED)
        start = torch.randn(width_of(self.reader.model), generator=source)
        w = (start / start.norm()).requires_grad_()
        optimizer = torch.optim.AdamW([w], lr=5e-3, weight_decay=1e-3)
        steps = 24 * -(-len(rows) // 12)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        loss = torch.nn.BCEWithLogitsLoss()
        for _ in range(24):
            order = torch.randperm(len(rows), generator=source).tolist()
            for k in range(0, len(order), 12):
                chosen = order[k : k + 12]
                parts = self.states([rows[i] for i in chosen])
                labels = [float(i < len(positive)) for i in chosen]
                target = torch.cat(
                    [torch.full((len(p),), y) for p, y in zip(parts, labels, strict=True)]
                )
                optimizer.zero_grad()
                loss(torch.cat(parts) @ w, target).backward()
                with torch.no_grad():
                    w /= w.norm()
                    w.grad -= (w.grad @ w) * w
                optimizer.step()
                decay.step()
        return w.detach()


def compare(reader: Reader, options: argparse.Namespace) -> None:
    """Print the time of both ways, and how alike their directions are."""
    data = made_up(options.concepts, 72)
    spent, found = ours(reader, data, METHODS, options.shard_size)
    loop = Loop(reader, data)
    few = data.concepts[: options.loop_concepts]
    scale = len(data.concepts) / len(few)
    print(
        f"{len(data.concepts)} concepts; the loop measured on {len(few)} of them, times "
        f"{scale:.0f}; processor seconds"
    )
    print(f"{'':10}{'loop':>10}{'here':>10}{'ratio':>9}   least |cosine| of the directions")
    whole = 0.0
    for name in METHODS:
        seconds, rows = timed(lambda name=name: [loop.methods[name](c) for c in few])
        whole += seconds * scale
        cosine = torch.nn.functional.cosine_similarity(
            torch.stack(rows), found[name][: len(few)]
        ).abs()
        print(
            f"{name:10}{seconds * scale:10.1f}{spent[name]:10.1f}"
            f"{seconds * scale / spent[name]:9.0f}   {float(cosine.min()):.6f}"
        )
    print(f"{'reading':10}{'in each':>10}{spent['reading']:10.1f}")
    total = sum(spent.values())
    verdict = "reached" if whole / total >= TARGET else "missed"
    print(f"{'all':10}{whole:10.1f}{total:10.1f}{whole / total:9.0f}")
    print(f"ratio {whole / total:.1f}; target {TARGET}: {verdict}")


def growth(reader: Reader, shard: int) -> None:
    """Print the cost of a concept as the concepts grow."""
    print(f"\n{'concepts':>8}{'ms a concept':>14}{'reading':>10}{'methods':>10}")
    for count in (10, 30, 100, 300, 1000):
        spent, _ = ours(reader, made_up(count, 8), CLOSED, shard)
        each = {name: 1000 * seconds / count for name, seconds in spent.items()}
        methods = sum(each[name] for name in CLOSED)
        print(f"{count:8}{sum(each.values()):14.1f}{each['reading']:10.1f}{methods:10.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=100)
    parser.add_argument("--loop-concepts", type=int, default=1, help="how many the loop learns")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--shard-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    def reader(layer: int) -> Reader:
        return load_reader(
            "testbed:teacher",
            layer=layer,
            batch_size=options.batch_size,
            device="cpu",
            dtype="float32",
            revision="main",
        )

    compare(reader(options.layer), options)
    growth(reader(0), options.shard_size)


if __name__ == "__main__":
    main()
