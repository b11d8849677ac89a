"""IG and InputXGradient: heads against a plain loop, scores against whole-model gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.methods.attribution import InputXGradient, IntegratedGradients, PathSettings
from harness_axbench.methods.base import Lesson
from harness_axbench.methods.heads import Heads, HeadSettings, _slots, last_states
from harness_axbench.models.detection import concept_scores
from harness_axbench.options import run_options
from harness_axbench.steering.plan import make_plan
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from axbench.loader import loader_orders
from harness.errors import HarnessError

SETTINGS = HeadSettings(batch_size=5, accumulate=2, epochs=3, lr=0.01, weight_decay=0.1)


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    return load(run_options({"axbench_data": str(data_folder)}))


@pytest.fixture(scope="module")
def reader(llama: str) -> Reader:
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    return Reader(model, AutoTokenizer.from_pretrained(llama), layer=1, batch_size=5)


def lesson(corpus: Corpus, found: ConceptData, concepts: Any, settings: Any = SETTINGS) -> Lesson:
    return Lesson(
        data=found, concepts=concepts, corpus=corpus, settings=settings, hidden_size=32, seed=6
    )


def state(reader: Reader, row: Any) -> torch.Tensor:
    with torch.no_grad():
        out = reader.model(torch.tensor([reader.encode(row)]), output_hidden_states=True)
    return out.hidden_states[-1][0, -1]


def plain_head(states: torch.Tensor, labels: torch.Tensor, settings: HeadSettings) -> nn.Module:
    """One concept's head: torch's layers and optimiser, dropout by the documented draws."""
    torch.manual_seed(0)
    inner, outer = nn.Linear(32, 16), nn.Linear(16, 2)
    source = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for layer in (inner, outer):
            bound = layer.in_features**-0.5
            layer.weight.copy_(
                torch.empty(layer.weight.shape).uniform_(-bound, bound, generator=source)
            )
            layer.bias.copy_(
                torch.empty(layer.bias.shape).uniform_(-bound, bound, generator=source)
            )
    parameters = [*inner.parameters(), *outer.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    groups = -(-len(states) // 10)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, settings.epochs * groups)
    for epoch, drawn in enumerate(loader_orders(len(states), settings.epochs, 6)):
        order = torch.tensor(drawn)
        draws = torch.Generator().manual_seed(6 * 1_000_003 + epoch)
        kept = torch.stack([torch.rand(48, generator=draws) for _ in states]) >= 0.3
        for start in range(0, len(states), 10):
            batches = order[start : start + 10].split(5)
            for batch in batches:
                first, second = kept[batch, :32] / 0.7, kept[batch, 32:] / 0.7
                logits = outer(inner(states[batch] * first).relu() * second)
                (cross_entropy(logits, labels[batch]) / len(batches)).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return nn.Sequential(inner, nn.ReLU(), outer)


def test_heads_are_those_of_a_plain_loop(reader: Reader, found: ConceptData) -> None:
    corpus = Library(reader, found).corpus(found.concepts)
    tensors = InputXGradient.train(lesson(corpus, found, found.concepts)).tensors
    for place, concept in enumerate(found.concepts):
        rows = [*found.positives(concept), *found.negatives(concept.genre)]
        states = torch.stack([state(reader, row) for row in rows])
        labels = torch.tensor([1] * 12 + [0] * 12)
        inner, _, outer = plain_head(states, labels, SETTINGS)
        for name, expected in (
            ("inner", inner.weight),
            ("inner_bias", inner.bias),
            ("outer", outer.weight),
            ("outer_bias", outer.bias),
        ):
            torch.testing.assert_close(tensors[name][place], expected, atol=1e-5, rtol=1e-3)


def test_states_are_transformers(reader: Reader, found: ConceptData) -> None:
    corpus = Library(reader, found).corpus(found.concepts[:1])
    states = last_states(corpus)
    rows = found.positives(found.concepts[0])
    expected = torch.stack([state(reader, row) for row in rows])
    torch.testing.assert_close(states[corpus.positive[0]], expected, atol=1e-4, rtol=1e-4)


def test_the_company_does_not_matter(reader: Reader, found: ConceptData) -> None:
    library = Library(reader, found)
    small = HeadSettings(batch_size=5, epochs=2, tokens=64)
    together = InputXGradient.train(
        lesson(library.corpus(found.concepts), found, found.concepts, small)
    ).tensors
    whole = HeadSettings(batch_size=5, epochs=2)
    for place, concept in enumerate(found.concepts):
        corpus = library.corpus((concept,))
        alone = InputXGradient.train(lesson(corpus, found, (concept,), whole)).tensors
        for name, own in alone.items():
            torch.testing.assert_close(together[name][place], own[0], atol=1e-5, rtol=1e-4)


def test_both_share_one_training(
    reader: Reader, found: ConceptData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness_axbench.methods import heads

    trained = []
    stock = heads._trained
    monkeypatch.setattr(heads, "_trained", lambda *a: trained.append(a) or stock(*a))
    corpus = Library(reader, found).corpus(found.concepts[:1])
    both = (
        InputXGradient.train(lesson(corpus, found, found.concepts[:1])),
        IntegratedGradients.train(
            lesson(
                corpus,
                found,
                found.concepts[:1],
                PathSettings(batch_size=5, accumulate=2, epochs=3, lr=0.01, weight_decay=0.1),
            )
        ),
    )
    assert len(trained) == 1
    assert torch.equal(both[0].tensors["inner"], both[1].tensors["inner"])
    InputXGradient.train(lesson(corpus, found, found.concepts[:1], HeadSettings(epochs=1)))
    assert len(trained) == 2


@pytest.fixture(scope="module")
def dictionary(
    tmp_path_factory: pytest.TempPathFactory, make_dictionary: Callable[..., Path]
) -> str:
    settings = {name: {"epochs": "8", "lr": "0.02"} for name in ("ig", "ixg")}
    settings["ig"]["points"] = "3"
    folder = tmp_path_factory.mktemp("attribution") / "d"
    return str(make_dictionary(folder, methods=("ig", "ixg"), settings=settings, shard_size=2))


def expected(reader: Reader, heads: Heads, place: int, row: Any, fractions: list[float]) -> float:
    """Gradients of the whole model at fractions of layer 1's output, averaged; one text alone."""
    ids = torch.tensor([reader.encode(row)])
    with torch.no_grad():
        h = reader.model(ids, output_hidden_states=True).hidden_states[2]
    total = torch.zeros_like(h)
    for fraction in fractions:
        leaf = (h * fraction).requires_grad_()
        layer = reader.model.model.layers[1]
        handle = layer.register_forward_hook(
            lambda m, i, o, leaf=leaf: leaf if isinstance(o, torch.Tensor) else (leaf, *o[1:])
        )
        last = reader.model(ids, output_hidden_states=True).hidden_states[-1][0, -1]
        handle.remove()
        inner = (heads.inner[place] @ last + heads.inner_bias[place]).relu()
        p = (heads.outer[place] @ inner + heads.outer_bias[place]).softmax(0)[1]
        total += torch.autograd.grad(p, leaf)[0] / len(fractions)
    return float((h * total).abs().sum(-1)[0, reader.prefix :].max())


@pytest.mark.parametrize(("name", "fractions"), [("ixg", [1.0]), ("ig", [1 / 3, 2 / 3, 1.0])])
def test_scores_are_gradients_of_the_whole_model(
    dictionary: str, reader: Reader, found: ConceptData, name: str, fractions: list[float]
) -> None:
    plan = make_plan(dictionary, name, None, None)
    heads = Heads.of(plan.found.tensors(name), torch.device("cpu"), 32)
    rows = found.evaluation[::3]
    asked = [row | {"concept_id": c} for row in rows for c in (0, 2)]
    scores = concept_scores(plan, asked, lambda: reader)
    for doc in asked:
        own = scores[doc["input"], doc["output"], doc["concept_id"]]
        assert own == pytest.approx(
            expected(reader, heads, doc["concept_id"], doc, fractions), rel=1e-3, abs=1e-6
        )
    assert len(set(scores.values())) > len(asked) // 2


def test_by_hand() -> None:
    """p₁ = x² + y at (2, 1)."""

    def gradient(h: torch.Tensor) -> torch.Tensor:
        return torch.stack([2 * h[..., 0], torch.ones_like(h[..., 1])], -1)

    h = torch.tensor([[[2.0, 1.0], [-2.0, 1.0]]])
    assert InputXGradient.attribution(h, gradient, {}).tolist() == [[9.0, 9.0]]
    facts = {"settings": {"points": 2}}
    assert IntegratedGradients.attribution(h, gradient, facts).tolist() == [[7.0, 7.0]]


def test_rows_of_a_concept_are_numbered() -> None:
    assert _slots(torch.tensor([2, 0, 2, 2, 0])).tolist() == [0, 0, 1, 2, 1]


def test_settings_out_of_range() -> None:
    with pytest.raises(HarnessError, match=r"setting dropout=1\.0 is not below 1"):
        HeadSettings(dropout=1.0)
    with pytest.raises(HarnessError, match="setting points=0 is not at least 1"):
        PathSettings(points=0)


def test_they_cannot_steer(dictionary: str) -> None:
    plan = make_plan(dictionary, "ig", None, None)
    with pytest.raises(HarnessError, match="method=ig cannot steer; it is for axbench_detect"):
        plan.steering(0, 1.0)
