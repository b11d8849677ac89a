"""LoReFT against a loop over one concept, and its edits on prompts that are being answered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from harness_axbench.activations.corpus import Library
from harness_axbench.activations.reader import Reader
from harness_axbench.data import concepts as data
from harness_axbench.data.concepts import ConceptData
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson
from harness_axbench.methods.loreft import Loreft, Settings
from harness_axbench.methods.loreft_editor import Edits, ends
from harness_axbench.options import run_options
from harness_axbench.steering.plan import make_plan
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal
from transformers import AutoModelForCausalLM

from axbench.methods.test_gradient_methods import SEED, batches, close, decaying, gemma
from axbench.passes import steered_passes
from harness import Place
from harness.errors import ArtefactError, HarnessError
from harness.models.blocks import block

EPOCHS, RANK = 3, 2


@pytest.fixture(scope="module", params=["llama", "gemma"])
def reader(request: pytest.FixtureRequest, llama: str, tokenizer: Any) -> Reader:
    if request.param == "llama":
        model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    else:
        model = gemma()
    return Reader(model.eval().requires_grad_(False), tokenizer, layer=1)


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    """Concepts of 12, 12 and 5 positives: the last has fewer steps."""
    whole = data.load(run_options({"axbench_data": str(data_folder)}))
    last = [row for row in whole.train if row["concept_id"] == 2]
    return replace(whole, train=[row for row in whole.train if row not in last[5:]])


def learnt(
    reader: Reader, found: ConceptData, places: tuple[int, ...] = (0, 1, 2), **changes: Any
) -> dict[str, Tensor]:
    concepts = tuple(found.concepts[place] for place in places)
    settings = {"epochs": EPOCHS, "rank": RANK, "layers": "0+2", "batch_size": 3, "lr": 0.01}
    lesson = Lesson(
        data=found,
        concepts=concepts,
        corpus=Library(reader, found).corpus(concepts),
        settings=Settings(**settings | changes),
        hidden_size=32,
        seed=SEED,
    )
    return dict(Loreft.train(lesson).tensors)


class OneLayer(nn.Module):
    """R, W and b of one layer and one concept."""

    def __init__(self, rotation: Tensor, source: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.rotation = nn.Parameter(rotation.clone())
        self.source, self.offset = nn.Parameter(source.clone()), nn.Parameter(offset.clone())
        orthogonal(self, "rotation", orthogonal_map="householder", use_trivialization=False)

    def forward(self, h: Tensor) -> Tensor:
        r = self.rotation
        return h + (self.source @ h + self.offset - r @ h) @ r


def alone(reader: Reader, found: ConceptData, place: int) -> list[OneLayer]:
    """One concept's loop: whole model, one text at a time, no padding."""
    rows = found.positives(found.concepts[place])
    source = torch.Generator().manual_seed(SEED)
    starts = torch.empty(2, RANK, 32)
    for own in starts:
        nn.init.orthogonal_(own, generator=source)
    bound = 1 / math.sqrt(32)
    weight = torch.empty(2, RANK, 32).uniform_(-bound, bound, generator=source)
    offset = torch.empty(2, RANK).uniform_(-bound, bound, generator=source)
    edits = [OneLayer(*parts) for parts in zip(starts, weight, offset, strict=True)]
    parameters = [p for edit in edits for p in edit.parameters()]
    order = batches(len(rows), 3, EPOCHS)
    by_epoch = [[chosen for epoch, chosen in order if epoch == e] for e in range(EPOCHS)]
    steps = [own[at : at + 2] for own in by_epoch for at in range(0, len(own), 2)]
    optimiser, schedule = decaying(parameters, 0.01, len(steps))
    for group in steps:
        optimiser.zero_grad()
        for chosen in group:
            pairs = [nats(reader, rows[i], edits) for i in chosen]
            loss = sum(own for own, _ in pairs) / sum(number for _, number in pairs)
            (loss / len(group)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    return edits


def nats(reader: Reader, row: Any, edits: list[OneLayer]) -> tuple[Tensor, int]:
    ids, start = reader.encode_exchange(row)
    first, last = range(reader.prefix, reader.prefix + 5), range(start - 5, start)
    places = sorted({p for p in (*first, *last) if reader.prefix <= p < start})

    def hook_of(edit: OneLayer) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            before = output if isinstance(output, Tensor) else output[0]
            hidden = before.clone()
            hidden[0, places] = torch.stack([edit(before[0, p]) for p in places])
            return hidden if isinstance(output, Tensor) else (hidden, *output[1:])

        return hook

    layers = reader.model.model.layers
    pairs = zip((0, 2), edits, strict=True)
    handles = [layers[layer].register_forward_hook(hook_of(edit)) for layer, edit in pairs]
    logits = reader.model(torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    chosen = logits.log_softmax(-1)[range(start - 1, len(ids) - 1), ids[start:]]
    return -chosen.sum(), len(ids) - start


@pytest.mark.parametrize("place", [0, 2])
def test_it_is_one_concepts_loop(reader: Reader, found: ConceptData, place: int) -> None:
    stacked = learnt(reader, found)
    expected = alone(reader, found, place)
    for layer, edit in enumerate(expected):
        close(stacked["rotation"][place, layer], edit.rotation.detach())
        close(stacked["source"][place, layer], edit.source.detach())
        close(stacked["offset"][place, layer], edit.offset.detach())
        own = stacked["rotation"][place, layer]
        torch.testing.assert_close(own @ own.T, torch.eye(RANK), atol=1e-5, rtol=0)


def test_neither_company_nor_microbatches_matter(reader: Reader, found: ConceptData) -> None:
    together = learnt(reader, found)
    alone_too = learnt(reader, found, (1,))
    pieces = learnt(reader, found, tokens=1)
    for name, values in together.items():
        close(alone_too[name][0], values[1])
        close(pieces[name], values)


def test_an_edit_by_hand() -> None:
    """The worked example of the module, and a token that is left alone."""
    edits = Edits(
        torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[0.5]]])
    )
    hidden = torch.tensor([[[3.0, 4.0], [3.0, 4.0]]])
    found = edits.apply(0, hidden, torch.tensor([[True, False]]))
    assert found.tolist() == [[[4.5, 4.0], [3.0, 4.0]]]


def test_both_ends_of_a_prompt_wherever_the_padding_is() -> None:
    long = [0, *[1] * 15]
    short = [0] * 8 + [1] * 8
    where = ends(torch.tensor([long, short]).bool(), prefix=2)
    assert where[0].nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
    assert where[1].nonzero().flatten().tolist() == [10, 11, 12, 13, 14, 15]
    right = ends(torch.tensor([long[::-1], short[::-1]]).bool(), prefix=2)
    assert right[0].nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 10, 11, 12, 13, 14]
    assert not bool(ends(torch.tensor([[0, 0, 1]]).bool(), prefix=2).any())


@pytest.fixture(scope="module")
def trained(make_dictionary: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"loreft": {"epochs": "2", "lr": "0.02", "layers": "0+2"}}
    folder = tmp_path_factory.mktemp("loreft") / "d"
    return make_dictionary(folder, methods=("loreft",), settings=settings, shard_size=2)


def test_each_prompt_is_edited_by_its_own(trained: Path, llama: str) -> None:
    """Against each prompt alone, unpadded, with edits written out; no decoding step is edited."""
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    plan = make_plan(str(trained), None, None, None)
    assert plan.factorless
    editor = find("loreft").editor(model, plan)
    tensors, prefix = plan.found.tensors("loreft"), int(plan.found.manifest["prefix"])
    prompts = [[1, *range(10, 26)], [1, *range(30, 36)], [1, *range(40, 49)]]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(own)) + own for own in prompts])
    mask = torch.tensor([[0] * (width - len(own)) + [1] * len(own) for own in prompts])
    rows = [plan.steering(2, None), None, plan.steering(0, None)]
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    with steered_passes(model, editor, rows, [len(own) for own in prompts]):
        answers = model.generate(ids, attention_mask=mask, **settings)[:, width:]
    changed = 0
    for own, row, answer in zip(prompts, rows, answers.tolist(), strict=True):
        plain = greedy(model, own, 6)
        if row is None:
            assert answer == plain
            continue
        place = row.place
        first = set(range(prefix, prefix + 5)) | set(range(len(own) - 5, len(own)))
        places = sorted(p for p in first if prefix <= p < len(own))
        handles = []
        for at, layer in enumerate((0, 2)):
            r, w, b = (tensors[k][place, at] for k in ("rotation", "source", "offset"))

            def hook(
                _m: Any, _i: Any, output: Any, r: Tensor = r, w: Tensor = w, b: Any = b
            ) -> Any:
                hidden = (output if isinstance(output, Tensor) else output[0]).clone()
                for p in places:  # noqa: B023
                    hidden[0, p] += r.T @ (w @ hidden[0, p] + b - r @ hidden[0, p])
                return hidden if isinstance(output, Tensor) else (hidden, *output[1:])

            handles.append(block(model, layer).register_forward_hook(hook))
        expected = greedy(model, own, 6)
        for handle in handles:
            handle.remove()
        assert answer == expected
        changed += expected != plain
    assert changed  # the edits do something


def greedy(model: Any, prompt: list[int], number: int) -> list[int]:
    """Without a cache: every step sees the edited prompt again."""
    ids = list(prompt)
    for _ in range(number):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        logits[2] = -torch.inf if len(ids) - len(prompt) < number else logits[2]
        ids.append(int(logits.argmax()))
    return ids[len(prompt) :]


def test_where_it_does_not_apply(trained: Path, llama: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    plan = make_plan(str(trained), None, None, None)
    editor = find("loreft").editor(model, plan)
    ids = torch.arange(3, 9).unsqueeze(0)
    before = model(ids).logits
    with editor.under([None], None):
        torch.testing.assert_close(model(ids).logits, before)
    with pytest.raises(HarnessError, match="it scores no texts"):
        editor.under([plan.steering(0, None)], None)
    two = [Place(0, 6)] * 2
    with editor.under([plan.steering(0, None)] * 2, two), pytest.raises(HarnessError, match="2 ro"):
        model(ids)
    with editor.under([plan.steering(0, None)], [Place(6, 6)]):  # the answer's tokens
        torch.testing.assert_close(model(ids).logits, before)
    assert not any(len(layer._forward_hooks) for layer in model.model.layers)


def test_edits_of_another_shape(trained: Path, llama: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    plan = make_plan(str(trained), None, None, None)
    tensors = plan.found.tensors("loreft")
    tensors["offset"] = tensors["offset"][:, :1]
    found = SimpleNamespace(
        folder="d",
        manifest=plan.found.manifest,
        concepts=plan.found.concepts,
        check_fits=plan.found.check_fits,
        fact=plan.found.fact,
        tensors=lambda _: tensors,
    )
    with pytest.raises(ArtefactError, match=r"d: loreft needs .* in 'offset'"):
        find("loreft").editor(model, SimpleNamespace(found=found, method="loreft"))


def test_the_dictionary_says_what_was_edited(trained: Path) -> None:
    facts = dictionary.read(trained).facts("loreft")
    assert facts["kind"] == "adapters"
    assert (facts["layers"], facts["rank"], facts["ends"]) == ([0, 2], 4, 5)
    assert facts["factors"] == []
    assert dictionary.read(trained).tensors("loreft")["rotation"].shape == (3, 2, 4, 32)


def test_layers_the_model_has_not(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"blocks 0 … 2; .* --set loreft.layers=1\+2"):
        make_dictionary(
            tmp_path / "d", methods=("loreft",), settings={"loreft": {"layers": "5+10"}}
        )
