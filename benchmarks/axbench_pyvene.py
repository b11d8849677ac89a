"""AxBench's training procedure on pyvene, one concept at a time, against ``harness axbench train``.

    pip install 'paperharness[peers-axbench]'
    python benchmarks/axbench_pyvene.py --model MODEL --layer L --data FOLDER [--concepts 0 1]
        [--texts 36] [--set probe.epochs=2 reft_r1.epochs=1] [--dtype bfloat16] [--clock cpu]

Theirs is the procedure of the reference (stanfordnlp/axbench, ``axbench/models``) on pyvene's
public interface: for each concept and each method a loop of its own over batches of 6 texts
(LinearProbe: 12) through the whole model, head included. DiffMean gathers a block's output by a
hook; LinearProbe and ReFT-r1 are trainable interventions of an ``IntervenableModel``, at the
positions behind the prefix, with the reference's losses, AdamW, linear decay, norms and clipping.
So that directions can be compared, theirs get the same token ids, starts and shuffles as ours,
their vectors are held in fp32 whatever the model's dtype, and padding is kept out of ReFT-r1's top
k.

Ours is one call of what the command runs, all concepts and methods at once, from loading the model
to the dictionary on disk. Theirs has its model loaded before. Both have one thread. Both sides are
given the same numbers of epochs; where these are fewer than the paper's (LinearProbe 24, ReFT-r1
3), the ratio is lower than the paper's would give, because ours reads the texts once however many
epochs follow.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from harness_axbench.activations.loading import load_reader
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import Concept, ConceptData, load
from harness_axbench.dictionary.folder import read
from harness_axbench.methods import find
from harness_axbench.methods.stacked import orders
from harness_axbench.options import run_options
from harness_axbench.training.options import Options, parse_settings
from harness_axbench.training.train import train
from torch import Tensor
from torch.nn import functional
from transformers import get_scheduler

from harness.models.blocks import block, hidden_of

METHODS = ("diffmean", "probe", "reft_r1")
TARGET = 2.0
SEED = 42
Text = tuple[list[int], int]
"""Token ids, and where the response begins."""


def chosen_data(
    data: ConceptData, numbers: Sequence[int], folder: Path, most: int | None = None
) -> ConceptData:
    """The rows of some concepts, as a folder that the command can be given.

    Args:
        data: All of them.
        numbers: Ids of the concepts.
        folder: Where the rows go.
        most: Training positives of a concept, and negatives of a genre; all by default.
    """
    folder.mkdir()
    kept = [concept for concept in data.concepts if concept.id in numbers]
    genres = {concept.genre for concept in kept}
    ids = {concept.id for concept in kept}
    training = [row for c in kept for row in data.positives(c)[:most]]
    training += [row for genre in sorted(genres) for row in data.negatives(genre)[:most]]
    evaluation = [r for r in data.evaluation if r["concept_id"] in ids]
    named = [{"concept_id": concept.id, "concept": concept.text} for concept in kept]
    tables = {"train_data": training, "latent_eval_data": evaluation, "metadata": named}
    for name, rows in tables.items():
        text = "".join(json.dumps(row, default=str) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    return load(run_options({"axbench_data": str(folder)}))


class Theirs:
    """The reference's loops, one concept and one method at a time.

    Args:
        reader: Has model, tokenizer, layer and prefix.
        data: The concept data.
        settings: Each method's; batch sizes and rates are the paper's.
    """

    def __init__(self, reader: Reader, data: ConceptData, settings: dict[str, Any]) -> None:
        self.reader, self.data, self.settings = reader, data, settings
        self.width = int(reader.model.config.hidden_size)
        self.pad = reader.tokenizer.pad_token_id or 0

    def learn(self, method: str, concept: Concept) -> Tensor:
        """A concept's vector [hidden], of length one."""
        self._source = torch.Generator().manual_seed(SEED)
        rows = [*self.data.positives(concept), *self.data.negatives(concept.genre)]
        labels = [int(row["category"] == "positive") for row in rows]
        texts = [self.reader.encode_exchange(row) for row in rows]
        learn: Callable[..., Tensor] = getattr(self, method)
        return functional.normalize(learn(texts, labels).detach().float(), dim=0)

    @torch.no_grad()
    def diffmean(self, texts: list[Text], labels: list[int]) -> Tensor:
        """Means of the tokens behind the prefix, by a hook on the block."""
        parts: dict[int, list[Tensor]] = {0: [], 1: []}
        for chosen in self._batches(len(texts), 6):
            ids, mask = self._padded([texts[i][0] for i in chosen])
            hidden = self._gathered(ids, mask)
            for row, i in enumerate(chosen):
                parts[labels[i]].append(hidden[row, self.reader.prefix : len(texts[i][0])])
        return torch.cat(parts[1]).float().mean(0) - torch.cat(parts[0]).float().mean(0)

    def _gathered(self, ids: Tensor, mask: Tensor) -> Tensor:
        found: list[Tensor] = []
        target = block(self.reader.model, self.reader.layer)
        handle = target.register_forward_hook(lambda _m, _i, out: found.append(hidden_of(out)))
        try:
            self.reader.model(input_ids=ids, attention_mask=mask)
        finally:
            handle.remove()
        return found[0]

    def probe(self, texts: list[Text], labels: list[int]) -> Tensor:
        """Binary cross-entropy of probabilities of tokens; nothing is intervened."""
        own = self.settings["probe"]
        wrapped, layer = self._intervenable("probe")
        start = torch.randn(self.width, generator=self._source)
        layer.proj.weight.data[0] = start / start.norm()
        plan = [list(self._batches(len(texts), own.batch_size)) for _ in range(own.epochs)]
        steps = sum(map(len, plan))
        optimiser = torch.optim.AdamW(layer.parameters(), lr=own.lr, weight_decay=own.weight_decay)
        schedule = get_scheduler("linear", optimiser, 0, steps)
        for chosen in (batch for epoch in plan for batch in epoch):
            self._pass(wrapped, [texts[i] for i in chosen])
            latent = wrapped.full_intervention_outputs[0].latent[0]
            counted = self._counted([texts[i] for i in chosen])
            wanted = torch.tensor([float(labels[i]) for i in chosen]).unsqueeze(1)
            chances = torch.sigmoid(latent)[counted]
            loss = functional.binary_cross_entropy(chances, wanted.expand_as(counted)[counted])
            loss.backward()
            self._on_sphere(layer.proj.weight)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        weight: Tensor = layer.proj.weight[0]
        return weight

    def reft_r1(self, texts: list[Text], labels: list[int]) -> Tensor:
        """The language model's loss under the rank-1 intervention, and the penalty."""
        own = self.settings["reft_r1"]
        wrapped, layer = self._intervenable("reft_r1")
        texts = [self._spoken(text) for text in texts]
        every = [order.split(own.batch_size) for order in orders(len(texts), own.epochs, SEED)]
        plan = [[part.tolist() for part in epoch] for epoch in every]
        steps = sum(map(len, plan))
        optimiser = torch.optim.AdamW(layer.parameters(), lr=own.lr, weight_decay=own.weight_decay)
        schedule = get_scheduler("linear", optimiser, 0, steps)
        for step, chosen in enumerate(batch for epoch in plan for batch in epoch):
            batch = [texts[i] for i in chosen]
            counted = self._counted(batch)
            loss = self._pass(wrapped, batch, k=own.k, counted=counted).loss
            _, rest = wrapped.full_intervention_outputs[0].latent
            spare = ((rest * counted).sum(1) / counted.sum(1)).mean()
            (loss + step / steps * own.penalty * spare).backward()
            torch.nn.utils.clip_grad_norm_(wrapped.parameters(), own.clip)
            self._on_sphere(layer.proj.weight)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        weight: Tensor = layer.proj.weight[0]
        return weight

    def _spoken(self, text: Text) -> Text:
        """Without white space that a template puts behind the end of the turn."""
        ids, start = text
        while len(ids) > start + 1 and self.reader.tokenizer.decode([ids[-1]]).isspace():
            ids = ids[:-1]
        return ids, start

    def _intervenable(self, method: str) -> tuple[Any, Any]:
        import pyvene

        kind = interventions()[method]
        layer = kind(embed_dim=self.width, low_rank_dimension=1)
        place = f"model.layers[{self.reader.layer}].output"
        entry = {
            "layer": self.reader.layer,
            "component": place,
            "low_rank_dimension": 1,
            "intervention": layer,
        }
        config = pyvene.IntervenableConfig(representations=[entry])
        return pyvene.IntervenableModel(config, self.reader.model), layer

    def _pass(self, wrapped: Any, batch: list[Text], **subspace: Any) -> Any:
        """A pass of the intervenable model; the labels are the responses' tokens."""
        ids, mask = self._padded([ids for ids, _ in batch])
        labels = ids.masked_fill(mask == 0, -100)
        for row, (_, start) in enumerate(batch):
            labels[row, :start] = -100
        most = max(len(own) for own, _ in batch) - self.reader.prefix
        places = []
        for own, _ in batch:  # padded by the place behind the text, as the reference does
            real = list(range(self.reader.prefix, len(own)))
            places.append(real + [len(own)] * (most - len(real)))
        _, out = wrapped(
            base={"input_ids": ids, "attention_mask": mask},
            unit_locations={"sources->base": (None, [places])},
            labels=labels,
            subspaces=[subspace],
            use_cache=False,
        )
        return out

    def _counted(self, batch: list[Text]) -> Tensor:
        lengths = torch.tensor([len(ids) - self.reader.prefix for ids, _ in batch])
        return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)

    def _padded(self, encoded: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Ids and mask [rows, tokens]; one more token than the longest, as in the reference."""
        width = max(map(len, encoded)) + 1
        ids = torch.full((len(encoded), width), self.pad)
        mask = torch.zeros_like(ids)
        for row, own in enumerate(encoded):
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
        return ids, mask

    def _batches(self, count: int, size: int) -> Iterator[list[int]]:
        order = torch.randperm(count, generator=self._source).tolist()
        for start in range(0, count, size):
            yield order[start : start + size]

    @staticmethod
    @torch.no_grad()
    def _on_sphere(weight: Tensor) -> None:
        """Norm one; the gradient's part along the weight taken out."""
        assert weight.grad is not None
        weight.div_(weight.norm(dim=1, keepdim=True))
        weight.grad.sub_((weight.grad * weight).sum(1, keepdim=True) * weight)


def interventions() -> dict[str, Any]:
    """The reference's two interventions, as classes of pyvene's."""
    import pyvene

    bases = (
        pyvene.SourcelessIntervention,
        pyvene.TrainableIntervention,
        pyvene.DistributedRepresentationIntervention,
    )

    def begin(self: Any, **options: Any) -> None:
        super(type(self), self).__init__(**options, keep_last_dim=True)
        self.proj = torch.nn.Linear(self.embed_dim, 1)
        torch.nn.init.zeros_(self.proj.bias)
        if type(self).__name__ == "TopK":
            torch.nn.init.constant_(self.proj.weight, 0.01)

    def read_only(self: Any, base: Tensor, source: Any = None, subspaces: Any = None) -> Any:
        latent = base.float() @ self.proj.weight[0]
        return pyvene.InterventionOutput(output=base, latent=[latent])

    def top_k(self: Any, base: Tensor, source: Any = None, subspaces: Any = None) -> Any:
        w = self.proj.weight[0]
        latent = torch.relu(base.float() @ w) * subspaces["counted"]
        top, where = latent.topk(subspaces["k"], dim=-1, sorted=False)
        moved = base.float() + top.mean(-1)[:, None, None] * w
        rest = latent.clone().scatter(-1, where, 0)
        return pyvene.InterventionOutput(output=moved.to(base.dtype), latent=[latent, rest])

    probe = type("Probe", bases, {"__init__": begin, "forward": read_only})
    reft = type("TopK", bases, {"__init__": begin, "forward": top_k})
    return {"probe": probe, "reft_r1": reft}


def timed(work: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, Any]:
    """Seconds of some work, and what it returns."""
    start = clock()
    found = work()
    return clock() - start, found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="testbed:teacher")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--data", default="testbed", help="testbed, hub, or a folder")
    parser.add_argument("--concepts", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--texts", type=int, help="positives, and negatives, of a concept; all")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--set", dest="settings", nargs="+", default=[])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    if not importlib.util.find_spec("pyvene"):
        print("the peer is not here: pip install 'paperharness[peers-axbench]'")
        return
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    torch.set_num_threads(1)
    names = ("pyvene", "torch", "transformers", "paperharness")
    print(", ".join(f"{name} {version(name)}" for name in names))
    with tempfile.TemporaryDirectory() as place:
        run(options, clock, Path(place))


def run(options: argparse.Namespace, clock: Callable[[], float], place: Path) -> None:
    """Train on both sides, and print times and cosines."""
    whole = load(run_options({"axbench_data": options.data}))
    data = chosen_data(whole, options.concepts, place / "data", options.texts)
    asked = Options(
        methods=options.methods,
        out=place / "ours",
        model=options.model,
        layer=options.layer,
        run=run_options({"axbench_data": str(place / "data")}),
        settings=parse_settings(options.settings),
        max_act_from="train",
        dtype=options.dtype,
        device="cpu",
        batch_size=16,
    )
    ours, made = timed(lambda: train(asked), clock)
    reader = load_reader(
        options.model,
        layer=options.layer,
        batch_size=6,
        device="cpu",
        dtype=options.dtype,
        revision="main",
    )
    reader.model.requires_grad_(requires_grad=False)
    settings = {name: asked.settings_of(find(name)) for name in options.methods}
    loop = Theirs(reader, data, settings)
    print(f"{len(data.concepts)} concepts, ours {ours:.1f} s for all of {', '.join(settings)}")
    total = 0.0
    for name in options.methods:
        spent, rows = timed(lambda name=name: [loop.learn(name, c) for c in data.concepts], clock)
        total += spent
        own = read(made.folder).tensors(name)["weight"]
        cosine = functional.cosine_similarity(torch.stack(rows), own)
        told = ", ".join(f"{value:.4f}" for value in cosine.tolist())
        epochs = getattr(settings[name], "epochs", 1)
        print(f"{name:9} theirs {spent:7.1f} s in {epochs} epochs; cosines {told}", flush=True)
    ratio = total / ours
    verdict = "reached" if ratio >= TARGET else "missed"
    print(f"theirs {total:.1f} s; ratio {ratio:.2f}; target {TARGET}: {verdict}")


if __name__ == "__main__":
    main()
