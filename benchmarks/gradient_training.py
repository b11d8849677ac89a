"""Training ReFT-r1 and SSV: all concepts at once against one after another.

    python benchmarks/gradient_training.py [--model testbed:teacher] [--layer 2] [--concepts 3]
    python benchmarks/gradient_training.py --model gemma-shaped --layer 20 --concepts 4

The peer is the paper's procedure written out: for each concept batches of 6 rows, the whole model
from token ids under a hook, logits of the full vocabulary at all positions, AdamW. Both run in one
process on the same weights, rows and shuffles, in turns; printed are seconds of training, the
median of the ratios, the ratio of the floating-point operations that either needs, and how far
apart the vectors are. Reading the texts up to the layer counts as ours, though one reading serves
all methods; the ratio without it stands beside. Where matrix products fill the processor, as on a
CPU, the operations bound the ratio; a GPU, which batches of 6 rows leave idle, gains beyond. On a
machine shared with others, --threads 1 --clock cpu counts processor time instead of wall time.

``gemma-shaped`` has random weights and Gemma-2-2B's shape at 1/18 of its width: 26 blocks, the same
share of parameters in blocks, MLPs and head. Layers 10 and 20 are the paper's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.loading import load_reader, width_of
from harness_axbench.activations.reader import Reader
from harness_axbench.data import concepts as data
from harness_axbench.data.concepts import Concept, ConceptData
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson
from harness_axbench.options import run_options
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

from harness.models.blocks import blocks, edited
from harness.models.last_block import apart
from harness.testbed import resolve

METHODS = ("ssv", "reft_r1")
TARGET = 3.0
SEED = 42


@dataclass(frozen=True)
class Setting:
    """What is trained: model, data, concepts, and settings that differ from the paper's."""

    reader: Reader
    data: ConceptData
    concepts: tuple[Concept, ...]
    epochs: int

    def settings(self, name: str) -> Any:
        """The settings of a method."""
        return replace(find(name).settings(), epochs=self.epochs)


def read(setting: Setting, names: Sequence[str]) -> Corpus:
    """The texts that these methods need, up to the layer."""
    negatives = any(find(name).uses_negatives for name in names)
    return Library(setting.reader, setting.data).corpus(setting.concepts, negatives=negatives)


def together(name: str, setting: Setting, corpus: Corpus) -> Tensor:
    """All concepts at once."""
    lesson = Lesson(
        data=setting.data,
        concepts=setting.concepts,
        corpus=corpus,
        settings=setting.settings(name),
        hidden_size=width_of(setting.reader.model),
        seed=SEED,
    )
    return find(name).train(lesson).tensors["weight"]


def one_by_one(name: str, setting: Setting) -> Tensor:
    """One concept after another, as the paper's procedure has it."""
    return torch.stack([alone(name, setting, concept) for concept in setting.concepts])


def alone(name: str, setting: Setting, concept: Concept) -> Tensor:
    """One concept."""
    reader, own = setting.reader, setting.settings(name)
    rows = [*setting.data.positives(concept)]
    if name == "reft_r1":
        rows += setting.data.negatives(concept.genre)
    encoded = [spoken(reader, row) for row in rows]
    device = next(reader.model.parameters()).device
    w = torch.full((width_of(reader.model),), own.init, device=device, requires_grad=True)
    source = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(len(rows), generator=source) for _ in range(own.epochs)]
    plan = [part.tolist() for order in orders for part in order.split(own.batch_size)]
    optimiser = torch.optim.AdamW([w], lr=own.lr, weight_decay=own.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: 1 - s / len(plan))
    for step, chosen in enumerate(plan):
        ids, mask, labels = padded([encoded[i] for i in chosen], device)
        counted = mask & (mask.cumsum(1) > reader.prefix)
        rest: list[Tensor] = []

        def edit(hidden: Tensor, counted: Tensor = counted, rest: list[Tensor] = rest) -> Tensor:
            if name == "ssv":
                return hidden + w * counted.unsqueeze(-1)
            acts = torch.relu(hidden @ w) * counted
            n = counted.sum(1)
            largest = acts.topk(min(own.k, acts.shape[1]), dim=1).values.sum(1)
            rest.append(((acts.sum(1) - largest) / n).mean())
            strength = largest / n.clamp_max(own.k)
            return hidden + strength[:, None, None] * w * counted.unsqueeze(-1)

        with edited(blocks(reader.model)[reader.layer], edit):
            logits = reader.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        loss = functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100
        )
        if rest:
            loss = loss + step / len(plan) * own.penalty * rest[0]
        optimiser.zero_grad()
        loss.backward()
        if name == "reft_r1":
            torch.nn.utils.clip_grad_norm_([w], own.clip)
            with torch.no_grad():
                assert w.grad is not None
                w.div_(w.norm())
                w.grad.sub_(torch.dot(w.grad, w) * w)
        optimiser.step()
        schedule.step()
    return (w / w.norm() if name == "reft_r1" else w).detach().cpu()


def spoken(reader: Reader, row: Any) -> tuple[list[int], int]:
    """Ids of an exchange up to the end of the turn, and where its response begins."""
    ids, start = reader.encode_exchange(row)
    while len(ids) > start + 1 and reader.tokenizer.decode([ids[-1]]).isspace():
        ids = ids[:-1]
    return ids, start


def padded(
    rows: list[tuple[list[int], int]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask, and labels that are −100 outside the responses: [rows, tokens] each."""
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([torch.tensor(own) for own, _ in rows], batch_first=True)
    mask = pad([torch.ones(len(own), dtype=torch.bool) for own, _ in rows], batch_first=True)
    labels = ids.masked_fill(~mask, -100)
    for row, (_, start) in enumerate(rows):
        labels[row, :start] = -100
    return ids.to(device), mask.to(device), labels.to(device)


def by_operations(name: str, setting: Setting, corpus: Corpus) -> float:
    """How many times fewer operations ours needs, counting matrix products with weights.

    A product with frozen weights costs the same forward and backward: one unit a weight and token.
    The peer runs all blocks forward, those above the layer backward, and the head both ways at all
    tokens; ours reads each text once up to the layer, and then runs the blocks above both ways, and
    at responses alone the head and most of the last block.
    """
    model: Any = setting.reader.model
    every = [sum(p.numel() for p in own.parameters()) for own in blocks(model)]
    above = sum(every[setting.reader.layer + 1 :])
    last = sum(p.numel() for own in apart(blocks(model)[-1]) for p in own.parameters())
    head = model.get_output_embeddings().weight.numel()
    taught = [place for own in corpus.positive for place in own]
    if name == "reft_r1":
        taught += [place for own in corpus.negative for place in own]
    texts = [corpus.texts[place] for place in taught]
    tokens = setting.epochs * sum(len(text.ids) for text in texts)
    responses = setting.epochs * sum(len(text.ids) - text.response for text in texts)
    reading = sum(len(text.ids) for text in corpus.texts) * (sum(every) - above)
    theirs = tokens * (sum(every) + above + 2 * head)
    ours = tokens * 2 * (above - last) + responses * 2 * (last + head)
    return theirs / (reading + ours)


def gemma_shaped(folder: Path) -> str:
    """Save a narrow Gemma-2-2B of random weights, with the testbed's tokenizer."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=14_560,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=16,
        query_pre_attn_scalar=16,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    Gemma2ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(resolve("testbed:teacher")).save_pretrained(folder)
    return str(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", default="testbed:teacher", help="id or path, testbed:NAME, or gemma-shaped"
    )
    parser.add_argument("--data", default="testbed", help="testbed, hub, or a folder")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--concepts", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="the paper's are 3")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, help="torch threads; 1 on a shared machine")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        shaped = options.model == "gemma-shaped"
        reader = load_reader(
            gemma_shaped(Path(place)) if shaped else options.model,
            layer=options.layer,
            batch_size=32,
            device="auto",
            dtype="auto",
            revision="main",
        )
    found = data.load(run_options({"axbench_data": options.data}))
    setting = Setting(reader, found, found.concepts[: options.concepts], options.epochs)
    alone = {name: measure(name, setting, options.repeats, clock) for name in METHODS}
    both = Seconds(
        reading=alone["reft_r1"].reading,  # one reading serves both
        training=[sum(one) for one in zip(*(a.training for a in alone.values()), strict=True)],
        theirs=[sum(one) for one in zip(*(a.theirs for a in alone.values()), strict=True)],
    )
    print(f"both in one run: {verdict(both.ratio())}")


@dataclass
class Seconds:
    """What one method, or several in one run, took: a figure a repetition."""

    reading: list[float]
    training: list[float]
    theirs: list[float]

    def ratio(self, *, reading: bool = True) -> float:
        """How many times faster ours is, with or without the reading."""
        every = zip(self.reading, self.training, self.theirs, strict=True)
        return statistics.median(c / (a * reading + b) for a, b, c in every)


def measure(name: str, setting: Setting, repeats: int, clock: Callable[[], float]) -> Seconds:
    """Measure one method alone, and print."""
    taken = Seconds([], [], [])
    for _ in range(repeats):
        start = clock()
        corpus = read(setting, [name])
        taken.reading.append(clock() - start)
        start = clock()
        found = together(name, setting, corpus)
        taken.training.append(clock() - start)
        start = clock()
        expected = one_by_one(name, setting)
        taken.theirs.append(clock() - start)
    print(
        f"{name}: reading {statistics.median(taken.reading):.2f} s, training "
        f"{statistics.median(taken.training):.2f} s; one by one "
        f"{statistics.median(taken.theirs):.2f} s"
    )
    off = float((found - expected).norm() / expected.norm())
    print(
        f"{name}: {verdict(taken.ratio())} (without reading {taken.ratio(reading=False):.2f}); "
        f"by operations {by_operations(name, setting, corpus):.2f}; vectors differ by {off:.0e}"
    )
    return taken


def verdict(ratio: float) -> str:
    """The ratio beside the target."""
    return f"ratio {ratio:.2f}; target {TARGET}: {'reached' if ratio >= TARGET else 'missed'}"


if __name__ == "__main__":
    main()
