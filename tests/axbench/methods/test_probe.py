"""LinearProbe against a plain loop over one concept, written from the equations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.methods.base import Lesson
from harness_axbench.methods.probe import LinearProbe, ProbeSettings, _errors
from harness_axbench.options import run_options
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from harness.errors import HarnessError

SETTINGS = ProbeSettings(epochs=5, batch_size=7, lr=0.02, weight_decay=0.1)


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    return load(run_options({"axbench_data": str(data_folder)}))


@pytest.fixture(scope="module")
def reader(llama: str) -> Reader:
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    return Reader(model, AutoTokenizer.from_pretrained(llama), layer=1)


def trained(corpus: Corpus, found: ConceptData, concepts: Any, settings: Any = SETTINGS) -> Any:
    lesson = Lesson(
        data=found,
        concepts=concepts,
        corpus=corpus,
        settings=settings,
        hidden_size=32,
        seed=11,
    )
    return LinearProbe.train(lesson).tensors["weight"]


def plain(corpus: Corpus, c: int, settings: ProbeSettings, seed: int) -> torch.Tensor:
    """One concept by autograd: batches of texts, every token of them."""
    source = torch.Generator().manual_seed(seed)
    w = torch.randn(32, generator=source)
    w = (w / w.norm()).requires_grad_()
    texts = [(p, 1.0) for p in corpus.positive[c]] + [(p, 0.0) for p in corpus.negative[c]]
    n_batches = (len(texts) + settings.batch_size - 1) // settings.batch_size
    optimizer = torch.optim.AdamW([w], lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, settings.epochs * n_batches)
    for _ in range(settings.epochs):
        order = torch.randperm(len(texts), generator=source).tolist()
        for start in range(0, len(order), settings.batch_size):
            batch = [texts[k] for k in order[start : start + settings.batch_size]]
            h = torch.cat([corpus.texts[p].hidden[corpus.reader.prefix :] for p, _ in batch])
            lengths = [len(corpus.texts[p].ids) - corpus.reader.prefix for p, _ in batch]
            y = torch.cat([torch.full((n,), y) for n, (_, y) in zip(lengths, batch, strict=True)])
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(h @ w, y).backward()
            with torch.no_grad():
                w /= w.norm()
                w.grad -= (w.grad @ w) * w
            optimizer.step()
            schedule.step()
    return (w / w.norm()).detach()


def test_it_is_one_concept_after_another(reader: Reader, found: ConceptData) -> None:
    corpus = Library(reader, found).corpus(found.concepts)
    weight = trained(corpus, found, found.concepts)
    for c in range(len(found.concepts)):
        torch.testing.assert_close(weight[c], plain(corpus, c, SETTINGS, 11), atol=1e-5, rtol=1e-4)
    start = torch.randn(32, generator=torch.Generator().manual_seed(11))
    assert float(weight[0] @ start / start.norm()) < 0.95, "it has learnt"


def test_the_company_does_not_matter(reader: Reader, found: ConceptData) -> None:
    """Also where another concept has fewer texts and so other steps."""
    short = [row for row in found.train if row["concept_id"] != 1]
    short += found.positives(found.concepts[1])[:5]
    uneven = dataclasses.replace(found, train=short)
    library = Library(reader, uneven)
    together = trained(library.corpus(uneven.concepts), uneven, uneven.concepts)
    for c, concept in enumerate(uneven.concepts):
        alone = trained(library.corpus([concept]), uneven, (concept,))
        torch.testing.assert_close(together[c], alone[0], atol=1e-6, rtol=1e-5)
    corpus = library.corpus(uneven.concepts)
    torch.testing.assert_close(together[1], plain(corpus, 1, SETTINGS, 11), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}])
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="probe: batch_size and epochs are at least 1, lr and"):
        ProbeSettings(**wrong)


def test_one_step_by_hand(reader: Reader, found: ConceptData) -> None:
    """The gradient of a mean over tokens, not over texts."""
    from harness_axbench.methods.probe import _gradients

    hidden = torch.tensor([[0.0, 2.0], [4.0, 0.0], [1.0, 1.0]])
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found_gradient = _gradients(
        weight, hidden.split([2, 1]), torch.tensor([1.0, 0.0, 1.0]), "logits"
    )
    sigma = 1 / (1 + torch.tensor(-4.0).exp())
    expected = torch.stack([torch.stack([4 * sigma, torch.tensor(-1.0)]) / 2, -hidden[2] / 2])
    torch.testing.assert_close(found_gradient, expected)


def test_errors_of_the_references_half_precision() -> None:
    """By hand, and as torch computes them: sigmoids in bfloat16, cross-entropy on probabilities."""
    scores = torch.tensor([7.0, 7.0, -7.0, -7.0, 0.0, -30.0, 5.0])
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    found = _errors(scores, labels, "saturating")
    assert found.tolist()[:2] == [0, 0]
    assert found.tolist()[2:5] == pytest.approx([-0.9991, 0.0009, -0.5], abs=1e-4)
    assert -0.2 < found[5] < 0
    half = scores.bfloat16().requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy(half.sigmoid().float(), labels, reduction="sum")
    (expected,) = torch.autograd.grad(loss, half)
    torch.testing.assert_close(found, expected.float(), rtol=0.02, atol=1e-3)


def test_losses_agree_where_nothing_saturates(reader: Reader, found: ConceptData) -> None:
    corpus = Library(reader, found).corpus(found.concepts)
    own, other = (
        trained(corpus, found, found.concepts, ProbeSettings(epochs=4, loss=loss))
        for loss in ("logits", "saturating")
    )
    assert not torch.equal(own, other)
    assert torch.cosine_similarity(own, other).min() > 0.98
    with pytest.raises(HarnessError, match="setting loss=hinge is not one of logits, saturating"):
        ProbeSettings(loss="hinge")


def test_it_tells_positives_from_negatives(reader: Reader, found: ConceptData) -> None:
    corpus = Library(reader, found).corpus(found.concepts)
    weight = trained(corpus, found, found.concepts, ProbeSettings(epochs=40, lr=0.05))
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(3))
    for c in range(3):
        means = [
            (corpus.tokens(p[c]) @ weight[c]).mean() for p in (corpus.positive, corpus.negative)
        ]
        assert means[0] > means[1] + 0.1
