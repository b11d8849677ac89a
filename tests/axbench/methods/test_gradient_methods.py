"""SSV, ReFT-r1 and RePS against loops over one concept, written from the equations.

The loops run the whole model on one text at a time, without padding, with a hook on the layer and
torch's own AdamW; they share no code with what they check beyond the tokenizer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.activations.corpus import Library
from harness_axbench.activations.likelihood import spoken, surprise
from harness_axbench.activations.reader import Reader
from harness_axbench.data import concepts as data
from harness_axbench.data.concepts import ConceptData
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.methods import TRAINABLE, find
from harness_axbench.methods.base import Lesson, Method
from harness_axbench.methods.reft_r1 import on_sphere, split
from harness_axbench.methods.reps import RePS, RepsDPO, RepsIPO, RepsSimPO, Side
from harness_axbench.methods.stacked import AdamW, orders
from harness_axbench.options import run_options
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

from axbench.loader import loader_orders
from harness.errors import HarnessError

pytestmark = pytest.mark.long

LAYER, SEED = 1, 7


def gemma() -> Any:
    """Soft-capped scores and logits, and a window shorter than the texts."""
    torch.manual_seed(4)
    config = Gemma2Config(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=8.0,
        initializer_range=0.3,
        pad_token_id=0,
    )
    config._attn_implementation = "eager"
    return Gemma2ForCausalLM(config)


@pytest.fixture(scope="module", params=["llama", "gemma"])
def reader(request: pytest.FixtureRequest, llama: str, tokenizer: Any) -> Reader:
    if request.param == "llama":
        model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    else:
        model = gemma()
    return Reader(model.eval().requires_grad_(False), tokenizer, layer=LAYER)


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    """Concepts of 12, 12 and 5 positives: the last has fewer steps."""
    whole = data.load(run_options({"axbench_data": str(data_folder)}))
    last = [row for row in whole.train if row["concept_id"] == 2]
    return replace(whole, train=[row for row in whole.train if row not in last[5:]])


def learnt(
    name: str, reader: Reader, found: ConceptData, places: Sequence[int] = (0, 1, 2), **changes: Any
) -> dict[str, Tensor]:
    """What a method learns for some concepts."""
    kind = find(name)
    concepts = tuple(found.concepts[place] for place in places)
    lesson = Lesson(
        data=found,
        concepts=concepts,
        corpus=Library(reader, found).corpus(concepts),
        settings=replace(kind.settings(), **changes),
        hidden_size=32,
        seed=SEED,
    )
    return dict(kind.train(lesson).tensors)


def close(found: Tensor, expected: Tensor) -> None:
    error = float((found - expected).norm() / expected.norm())
    assert error < 1e-4, error


# One concept, one text at a time


class Alone:
    """The model, whole, with something added to the layer's output."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.model = reader, reader.model

    def nats(self, row: Any, edit: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
        """−log P of a row's response, and its number of tokens."""
        ids, start = self.reader.encode_exchange(row)

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = output if isinstance(output, Tensor) else output[0]
            prefix = self.reader.prefix
            hidden = torch.cat([hidden[:, :prefix], edit(hidden[0, prefix:]).unsqueeze(0)], dim=1)
            return hidden if isinstance(output, Tensor) else (hidden, *output[1:])

        handle = self.model.model.layers[LAYER].register_forward_hook(hook)
        logits = self.model(torch.tensor([ids])).logits[0]
        handle.remove()
        chosen = logits.log_softmax(-1)[range(start - 1, len(ids) - 1), ids[start:]]
        return -chosen.sum(), len(ids) - start


def batches(n: int, size: int, epochs: int) -> list[tuple[int, list[int]]]:
    found = []
    for epoch, order in enumerate(loader_orders(n, epochs, SEED)):
        found += [(epoch, order[at : at + size]) for at in range(0, n, size)]
    return found


def decaying(parameters: list[Tensor], lr: float, total: int, decay: float = 0.0) -> Any:
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: 1 - s / total)


def added(reader: Reader, rows: Sequence[Any], w: Tensor) -> tuple[list[Tensor], list[int]]:
    pairs = [Alone(reader).nats(row, lambda h: h + w) for row in rows]
    return [nats for nats, _ in pairs], [tokens for _, tokens in pairs]


def ssv_alone(reader: Reader, found: ConceptData, place: int, epochs: int) -> Tensor:
    rows = found.positives(found.concepts[place])
    w = torch.full((32,), 0.01, requires_grad=True)
    plan = batches(len(rows), 6, epochs)
    optimiser, schedule = decaying([w], 1e-2, len(plan), decay=0.1)
    for _, chosen in plan:
        nats, tokens = added(reader, [rows[i] for i in chosen], w)
        optimiser.zero_grad()
        (sum(nats) / sum(tokens)).backward()
        optimiser.step()
        schedule.step()
    return w.detach()


@pytest.mark.parametrize("place", [0, 2])
def test_ssv_is_one_concepts_loop(reader: Reader, found: ConceptData, place: int) -> None:
    stacked = learnt("ssv", reader, found, epochs=2, weight_decay=0.1)["weight"]
    close(stacked[place], ssv_alone(reader, found, place, 2))


def reft_alone(reader: Reader, found: ConceptData, place: int, epochs: int) -> Tensor:
    concept, k, penalty = found.concepts[place], 8, 2.0
    rows = found.positives(concept) + found.negatives(concept.genre)
    w = torch.full((32,), 0.01, requires_grad=True)
    plan = batches(len(rows), 6, epochs)
    optimiser, schedule = decaying([w], 1e-2, len(plan))
    for step, (_, chosen) in enumerate(plan):
        nats, tokens, rest = [], [], []

        def edit(hidden: Tensor) -> Tensor:
            acts = torch.relu(hidden @ w)
            ranked = acts.sort(descending=True).values
            rest.append(ranked[k:].sum() / len(acts))  # noqa: B023
            return hidden + ranked[:k].mean() * w

        for i in chosen:
            own, number = Alone(reader).nats(rows[i], edit)
            nats.append(own)
            tokens.append(number)
        loss = sum(nats) / sum(tokens) + step / len(plan) * penalty * sum(rest) / len(rest)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([w], 1.0)
        with torch.no_grad():
            w.div_(w.norm())
            w.grad.sub_(torch.dot(w.grad, w) * w)
        optimiser.step()
        schedule.step()
    return (w / w.norm()).detach()


@pytest.mark.parametrize("place", [0, 2])
def test_reft_r1_is_one_concepts_loop(reader: Reader, found: ConceptData, place: int) -> None:
    stacked = learnt("reft_r1", reader, found, epochs=2, penalty=2.0)["weight"]
    close(stacked[place], reft_alone(reader, found, place, 2))


def reps_alone(
    reader: Reader, found: ConceptData, place: int, epochs: int, pair_loss: Callable[..., Tensor]
) -> tuple[Tensor, Tensor]:
    concept, alphas = found.concepts[place], [2.0 * n for n in range(1, 11)]
    rows, others = found.positives(concept), found.negatives(concept.genre)
    source = torch.Generator().manual_seed(SEED + 1)
    order = torch.randperm(len(others), generator=source).tolist()
    losing = []
    for i, row in enumerate(rows):
        same = [other for other in others if other["input"] == row["input"]]
        losing.append(same[0] if same else others[order[i]])
    drawn = torch.randint(10, (len(rows), epochs), generator=source)
    first = torch.rand(32, generator=torch.Generator().manual_seed(SEED))
    w = ((2 * first - 1) / math.sqrt(32)).requires_grad_()
    b = torch.zeros(1, requires_grad=True)
    plan = batches(len(rows), 6, epochs)
    optimiser, schedule = decaying([w, b], 0.04, len(plan))
    alone = Alone(reader)

    def null(hidden: Tensor) -> Tensor:
        strength = torch.relu(hidden @ w + b) / (w @ w)
        return hidden - strength.unsqueeze(1) * w

    for epoch, chosen in plan:
        losses = []
        for i in chosen:
            alpha = alphas[drawn[i, epoch]]
            for edit, win, lose in (
                (lambda h, a=alpha: h + a * w, rows[i], losing[i]),
                (null, losing[i], rows[i]),
            ):
                sides = []
                for row in (win, lose):
                    steered, length = alone.nats(row, edit)
                    with torch.no_grad():
                        plain, _ = alone.nats(row, lambda h: h)
                    sides.append((-steered, -plain, length))
                losses.append(pair_loss(*sides))
        optimiser.zero_grad()
        (sum(losses) / len(chosen)).backward()
        torch.nn.utils.clip_grad_norm_([w, b], 1.0)
        optimiser.step()
        schedule.step()
    return w.detach(), b.detach()


def scaled_simpo(win: Any, lose: Any) -> Tensor:
    scale = max(float(lose[1] - win[1]), 1.0)
    margin = scale / win[2] * win[0] - lose[0] / lose[2]
    return torch.logaddexp(torch.zeros(()), -margin)


def dpo(win: Any, lose: Any) -> Tensor:
    margin = 0.1 * ((win[0] - win[1]) - (lose[0] - lose[1]))
    return torch.logaddexp(torch.zeros(()), -margin)


@pytest.mark.parametrize(("name", "pair_loss"), [("reps", scaled_simpo), ("reps_dpo", dpo)])
def test_reps_is_one_concepts_loop(
    reader: Reader, found: ConceptData, name: str, pair_loss: Callable[..., Tensor]
) -> None:
    stacked = learnt(name, reader, found, epochs=2)
    weight, bias = reps_alone(reader, found, 2, 2, pair_loss)
    close(stacked["weight"][2], weight)
    assert float(bias.abs()) > 1e-3
    assert float(stacked["bias"][2]) == pytest.approx(float(bias), rel=1e-4)


# The order of rows


@pytest.mark.parametrize("rows", [1, 5, 12, 144])
def test_rows_come_in_a_dataloaders_order(rows: int) -> None:
    assert [own.tolist() for own in orders(rows, 4, 42)] == loader_orders(rows, 4, 42)


# What must not matter


@pytest.mark.parametrize("name", ["ssv", "reft_r1", "reps"])
def test_neither_company_nor_microbatches_matter(
    reader: Reader, found: ConceptData, name: str
) -> None:
    together = learnt(name, reader, found, epochs=1)["weight"]
    for place in range(3):
        close(learnt(name, reader, found, (place,), epochs=1)["weight"][0], together[place])
    close(learnt(name, reader, found, epochs=1, tokens=1)["weight"], together)


def test_a_batch_step_of_several_batches(reader: Reader, found: ConceptData) -> None:
    """Two batches a step are the mean of both, not one large batch."""
    rows = found.positives(found.concepts[0])
    w = torch.full((32,), 0.01, requires_grad=True)
    order = batches(len(rows), 5, 1)
    optimiser, _ = decaying([w], 1e-2, 2)
    for step, group in enumerate([order[:2], order[2:]]):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / 2)
        optimiser.zero_grad()
        for _, chosen in group:
            nats, tokens = added(reader, [rows[i] for i in chosen], w)
            (sum(nats) / sum(tokens) / len(group)).backward()
        optimiser.step()
    own = learnt("ssv", reader, found, (0,), epochs=1, batch_size=5, accumulate=2)
    close(own["weight"][0], w.detach())


@pytest.mark.parametrize("name", ["ssv", "reft_r1", "reps", "loreft"])
def test_a_model_in_half_precision(reader: Reader, found: ConceptData, name: str) -> None:
    """Parameters stay in fp32 and end up near where they do with the model in fp32."""
    half = copy.deepcopy(reader.model).bfloat16()
    other = Reader(half, reader.tokenizer, layer=LAYER)
    changes = {"epochs": 1, "layers": "0+1"} if name == "loreft" else {"epochs": 1}
    one, two = (learnt(name, own, found, **changes) for own in (reader, other))
    for key, values in two.items():
        assert values.dtype == torch.float32
        cosine = torch.cosine_similarity(values.flatten(), one[key].flatten(), dim=0)
        assert float(cosine) > 0.9, key


# By hand


def test_the_largest_activations_and_the_rest() -> None:
    acts = torch.tensor([[3.0, 0.0, 1.0, 2.0, 9.0], [4.0, 2.0, 8.0, 8.0, 8.0]])
    counted = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()
    strength, rest = split(acts, counted, 2)
    assert strength.tolist() == [2.5, 3.0]
    assert rest.tolist() == [0.25, 0.0]
    strength, rest = split(acts, counted, 3)  # the second row has two tokens only
    assert strength.tolist() == [2.0, 3.0]
    assert rest.tolist() == [0.0, 0.0]
    assert split(acts, counted, 50)[0].tolist() == [1.5, 3.0]


def test_vectors_stay_on_the_sphere() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    weight.grad = torch.tensor([[1.0, 0.0], [5.0, 7.0]])
    on_sphere(weight)
    torch.testing.assert_close(weight.detach(), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    torch.testing.assert_close(weight.grad, torch.tensor([[0.64, -0.48], [5.0, 0.0]]))


def test_losses_of_a_pair() -> None:
    """The worked example of the module."""

    def side(steered: float, plain: float, length: int) -> Side:
        return Side(torch.tensor([steered]), torch.tensor([plain]), torch.tensor([length]))

    win, lose = side(-10, -12, 5), side(-6, -7, 3)
    expected: dict[type[Any], float] = {
        RePS: math.log(1 + math.exp(8)),
        RepsDPO: math.log(1 + math.exp(-0.1)),
        RepsIPO: 16.0,
        RepsSimPO: math.log(1 + math.exp(0)),  # −2 + 2
    }
    for kind, value in expected.items():
        assert float(kind.loss(win, lose, kind.settings())) == pytest.approx(value, rel=1e-5)
    # the scale is never below 1
    assert float(RePS.loss(lose, win, None)) == pytest.approx(math.log(2), rel=1e-5)


def test_adamw_is_torchs_at_each_rate() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(3, 4), torch.randn(5, 3, 4)
    rates = torch.tensor([0.1, 0.01, 0.0])
    ours = start.clone()
    optimiser = AdamW([ours], weight_decay=0.3)
    for gradient in gradients:
        ours.grad = gradient.clone()
        optimiser.step(rates)
    for place in range(2):
        own = start[place].clone().requires_grad_()
        theirs = torch.optim.AdamW([own], lr=float(rates[place]), weight_decay=0.3)
        for gradient in gradients:
            own.grad = gradient[place].clone()
            theirs.step()
        torch.testing.assert_close(ours[place], own.detach())
    assert torch.equal(ours[2], start[2])


def test_what_a_template_puts_behind_the_turn_is_not_learnt(
    chat_llama: str, found: ConceptData
) -> None:
    model = AutoModelForCausalLM.from_pretrained(chat_llama, dtype=torch.float32).eval()
    chat = Reader(model, AutoTokenizer.from_pretrained(chat_llama), layer=LAYER)
    corpus = Library(chat, found).corpus(found.concepts[:1])
    short = spoken(corpus)
    for before, after in zip(corpus.texts, short.texts, strict=True):
        said = chat.tokenizer.decode(before.ids)
        assert said.endswith(".\n")
        assert chat.tokenizer.decode(after.ids) == said[:-1]
        assert after.response == before.response
        assert len(after.hidden) == len(after.ids)


def test_surprise_is_the_whole_models(reader: Reader, found: ConceptData) -> None:
    corpus = Library(reader, found).corpus(found.concepts[:1])
    batch = corpus.batch(corpus.positive[0])
    rows = found.positives(found.concepts[0])
    with torch.no_grad():
        expected = torch.stack([Alone(reader).nats(row, lambda h: h)[0] for row in rows])
        torch.testing.assert_close(surprise(corpus, batch, batch.hidden), expected)


# At the edge


def test_a_loss_that_is_no_number(reader: Reader, found: ConceptData) -> None:
    expected = r"reft_r1: the loss of concept 0 \('the sea'\) is not a number at step 2 of \d+; try"
    with pytest.raises(HarnessError, match=expected):
        learnt("reft_r1", reader, found, lr=1e38)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"lr": -1.0}, {"k": 0}, {"lr": math.nan}])
def test_settings_out_of_range(change: dict[str, Any]) -> None:
    kind: type[Method] = find("reft_r1")
    with pytest.raises(HarnessError, match=f"setting {next(iter(change))}=.* is not at least"):
        kind.settings(**change)


def test_in_a_dictionary(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    names = ("ssv", "reft_r1", "reps", "reps_simpo", "reps_dpo", "reps_ipo")
    assert set(names) <= set(TRAINABLE)
    settings = {name: {"epochs": "1"} for name in names}
    whole = make_dictionary(tmp_path / "d", methods=names, settings=settings)
    shards = make_dictionary(tmp_path / "s", methods=names, settings=settings, shard_size=2)
    first, second = dictionary.read(whole), dictionary.read(shards)
    for name in names:
        facts = first.facts(name)
        assert facts["activation"] == "relu"
        assert facts["settings"]["epochs"] == 1
        close(first.weight(name), second.weight(name))
        if name.startswith("reps"):
            assert facts["max_act"] == [1.0] * 3
            assert facts["max_act_origin"] == ["raw factors"] * 3
            assert len(facts["factors"]) == 14
            assert first.tensors(name)["bias"].shape == (3,)
        else:
            assert "factors" not in facts
