"""Methods on scaled states: each learns what it would from states that were scaled before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.normalising import STANDARDISE, UNIT
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.dictionary.directions import LINEAR, Directions
from harness_axbench.methods import NAMES, find
from harness_axbench.methods.base import Lesson, Stored
from harness_axbench.methods.pca import detects_reversed
from harness_axbench.options import run_options
from transformers import AutoModelForCausalLM, AutoTokenizer

ABLE = ("diffmean", "pca", "lat", "probe")


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    return load(run_options({"axbench_data": str(data_folder)}))


@pytest.fixture(scope="module")
def library(llama: str, found: ConceptData) -> Library:
    """Reads states of which one dimension is wide and one in five tokens is long."""
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    library = Library(Reader(model, AutoTokenizer.from_pretrained(llama), layer=1), found)
    stock = library.corpus

    def corpus(concepts: Any, **options: Any) -> Corpus:
        own = stock(concepts, **options)
        texts = []
        for text in own.texts:
            long = torch.where(text.ids % 5 == 0, 8.0, 1.0).unsqueeze(1)
            wide = torch.ones(32).index_fill(0, torch.tensor([3]), 4.0)
            texts.append(replace(text, hidden=text.hidden * long * wide))
        return replace(own, texts=texts)

    library.corpus = corpus  # type: ignore[method-assign]
    return library


def learnt(corpus: Corpus, found: ConceptData, name: str, concept: int, **more: Any) -> Stored:
    """What a method leaves of one concept."""
    kind = find(name)
    lesson = Lesson(
        data=found,
        concepts=(found.concepts[concept],),
        corpus=corpus,
        settings=kind.settings(),
        hidden_size=32,
        seed=42,
        **more,
    )
    return kind.train(lesson)


def scaled_before(corpus: Corpus, kind: str) -> Corpus:
    """The texts with states that were put on one scale, by plain numbers."""
    places = [*corpus.positive[0], *corpus.negative[0]]
    tokens = corpus.tokens(places).double()
    prefix = corpus.reader.prefix

    def scaled(hidden: Any) -> Any:
        if kind == UNIT:
            return hidden / hidden.norm(dim=1, keepdim=True) * tokens.norm(dim=1).mean()
        return (hidden - tokens.mean(0)) / tokens.std(0, correction=0)

    texts = [
        replace(
            t, hidden=torch.cat([t.hidden[:prefix], scaled(t.hidden[prefix:].double()).float()])
        )
        for t in corpus.texts
    ]
    return replace(corpus, texts=texts)


@pytest.mark.parametrize("kind", [UNIT, STANDARDISE])
@pytest.mark.parametrize("name", ABLE)
def test_it_learns_what_it_would_from_scaled_states(
    library: Library, found: ConceptData, name: str, kind: str
) -> None:
    corpus = library.corpus(found.concepts[1:2])
    expected = learnt(scaled_before(corpus, kind), found, name, 1).tensors["weight"]
    own = learnt(corpus, found, name, 1, normalise=kind).tensors
    weight = own["weight"] if kind == UNIT else own["encoder"] * own["spread"]
    torch.testing.assert_close(weight, expected, atol=2e-4, rtol=1e-3)
    plain = learnt(corpus, found, name, 1).tensors["weight"]
    assert not torch.allclose(plain, expected, atol=0.02)


@pytest.mark.parametrize("kind", [UNIT, STANDARDISE])
@pytest.mark.parametrize("name", ABLE)
def test_other_concepts_do_not_matter(
    library: Library, found: ConceptData, name: str, kind: str
) -> None:
    method = find(name)
    lesson = Lesson(
        data=found,
        concepts=found.concepts,
        corpus=library.corpus(found.concepts),
        settings=method.settings(),
        hidden_size=32,
        seed=42,
        normalise=kind,
    )
    together = method.train(lesson)
    alone = learnt(library.corpus(found.concepts[2:]), found, name, 2, normalise=kind)
    assert together.tensors.keys() == alone.tensors.keys()
    for key, values in alone.tensors.items():
        torch.testing.assert_close(together.tensors[key][2:], values, atol=1e-4, rtol=1e-4)


def test_diffmean_writes_the_papers_direction(library: Library, found: ConceptData) -> None:
    corpus = library.corpus(found.concepts[:1])
    plain = learnt(corpus, found, "diffmean", 0).tensors["weight"]
    written = learnt(corpus, found, "diffmean", 0, normalise=STANDARDISE).tensors["weight"]
    torch.testing.assert_close(torch.nn.functional.normalize(written), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sign", ["auroc", "means"])
def test_the_sign_is_chosen_in_the_scaled_states(
    library: Library, found: ConceptData, sign: str
) -> None:
    kind = find("pca")
    corpus = library.corpus(found.concepts)
    for normalise in (UNIT, STANDARDISE):
        made = kind.train(
            Lesson(
                data=found,
                concepts=found.concepts,
                corpus=corpus,
                settings=kind.settings(sign=sign),
                hidden_size=32,
                seed=42,
                normalise=normalise,
            )
        )
        read = Directions.of(made.tensors, LINEAR)
        if sign == "auroc":
            assert not detects_reversed(corpus, read).any()
            continue
        for at in range(len(found.concepts)):
            positive, negative = (
                torch.cat([read.scores(corpus.states(p))[:, at] for p in own[at]])
                for own in (corpus.positive, corpus.negative)
            )
            assert positive.mean() >= negative.mean()


def test_lengths_of_states_are_told(library: Library, found: ConceptData) -> None:
    corpus = library.corpus(found.concepts[:1])
    lengths = corpus.tokens([*corpus.positive[0], *corpus.negative[0]]).norm(dim=1)
    told = learnt(corpus, found, "diffmean", 0).each
    assert told["norm_median"] == [pytest.approx(float(lengths.median()))]
    assert told["norm_largest"] == [pytest.approx(float(lengths.max()))]


def test_which_methods_can() -> None:
    assert tuple(name for name in NAMES if find(name).normalises) == ABLE
