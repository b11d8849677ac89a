"""PCA and LAT against numpy's SVD and scikit-learn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from harness_axbench.activations.corpus import Corpus, Library
from harness_axbench.activations.layers import chosen_layers, default_layers
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import Concept, ConceptData, load
from harness_axbench.dictionary.directions import Directions
from harness_axbench.methods import find
from harness_axbench.methods.base import Lesson, Method
from harness_axbench.methods.lat import beginnings, normed_differences
from harness_axbench.methods.pca import detects_reversed, first_component
from harness_axbench.options import run_options
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.errors import DataError, HarnessError


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    return load(run_options({"axbench_data": str(data_folder)}))


@pytest.fixture(scope="module")
def library(llama: str, found: ConceptData) -> Library:
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    return Library(Reader(model, AutoTokenizer.from_pretrained(llama), layer=1), found)


def weights(library: Library, name: str, concepts: Any, seed: int = 42, **settings: Any) -> Any:
    kind: type[Method] = find(name)
    lesson = Lesson(
        data=library.data,
        concepts=concepts,
        corpus=library.corpus(concepts),
        settings=kind.settings(**settings),
        hidden_size=32,
        seed=seed,
    )
    return kind.train(lesson).tensors["weight"]


def tokens(corpus: Corpus, places: Any) -> np.ndarray:
    return np.concatenate([corpus.texts[p].hidden[1:].double().numpy() for p in places])


@pytest.mark.parametrize("shape", [(2, 6), (5, 300), (900, 40), (2500, 256)])
def test_the_component_is_that_of_an_svd(shape: tuple[int, int]) -> None:
    source = np.random.default_rng(shape[0])
    points = source.standard_normal(shape) * np.linspace(3, 1, shape[1]) + 50
    _, _, rows = np.linalg.svd(points - points.mean(0), full_matrices=False)
    component = first_component(torch.tensor(points, dtype=torch.float32)).numpy()
    assert component @ component == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(component * np.sign(component @ rows[0]), rows[0], atol=2e-5)


def test_points_that_do_not_vary_have_no_component() -> None:
    assert first_component(torch.full((7, 5), 0.1)) is None
    assert first_component(torch.ones(1, 5)) is None


def test_pca_is_scikit_learns(library: Library, found: ConceptData) -> None:
    corpus = library.corpus(found.concepts)
    by_scores = weights(library, "pca", found.concepts).numpy()
    by_entry = weights(library, "pca", found.concepts, sign="largest").numpy()
    by_means = weights(library, "pca", found.concepts, sign="means").numpy()
    for c in range(len(found.concepts)):
        positive = tokens(corpus, corpus.positive[c]).astype(np.float64)
        expected = PCA(n_components=1, svd_solver="full").fit(positive).components_[0]
        np.testing.assert_allclose(by_entry[c], expected, atol=1e-5)
        difference = positive.mean(0) - tokens(corpus, corpus.negative[c]).mean(0)
        np.testing.assert_allclose(
            by_means[c], expected * np.sign(expected @ difference), atol=1e-5
        )
        places = [*corpus.positive[c], *corpus.negative[c]]
        labels = [place in corpus.positive[c] for place in places]
        both = [
            roc_auc_score(labels, [round((tokens(corpus, [p]) @ w).max(), 3) for p in places])
            for w in (expected, -expected)
        ]
        chosen = expected if both[0] >= both[1] else -expected
        np.testing.assert_allclose(by_scores[c], chosen, atol=1e-5)
    assert by_scores.dtype == np.float32


def test_the_sign_is_the_one_that_detects() -> None:
    """Largest scores decide, not means: 3, −2, −2 (mean −⅓) is above 2, 2, −3 (mean ⅓)."""
    positive = torch.tensor([[3.0, 0.0], [-2.0, 0.0], [-2.0, 0.0]])
    negative = torch.tensor([[2.0, 0.0], [2.0, 0.0], [-3.0, 0.0]])
    texts: Any = [SimpleNamespace(hidden=positive), SimpleNamespace(hidden=negative)]
    reader: Any = SimpleNamespace(prefix=0)
    corpus = Corpus(reader, texts, [[0], [1]], [[1], [0]])
    read = Directions.of({"weight": torch.tensor([[1.0, 0.0], [1.0, 0.0]])}, "linear")
    found = detects_reversed(corpus, read)
    assert found.tolist() == [False, True]


def test_lat_pairs_the_halves_of_a_shuffle(library: Library, found: ConceptData) -> None:
    corpus = library.corpus(found.concepts)
    trained = weights(library, "lat", found.concepts, seed=42, sign="largest").numpy()
    equal = 0
    for c in range(len(found.concepts)):
        points = tokens(corpus, corpus.positive[c])
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(42)).numpy()
        pairs = len(points) // 2
        deltas = []
        for k in range(pairs):
            delta = points[order[k]] - points[order[pairs + k]]
            norm = np.linalg.norm(delta)  # rounding where two texts begin alike
            deltas.append(delta / norm if norm > 1e-3 else 0 * delta)
        equal += sum(not delta.any() for delta in deltas)
        expected = PCA(n_components=1, svd_solver="full").fit(np.array(deltas)).components_[0]
        np.testing.assert_allclose(trained[c], expected, atol=1e-4)
    assert equal > 0
    other = weights(library, "lat", found.concepts, seed=8, sign="largest").numpy()
    assert not np.allclose(trained, other, atol=1e-2)


def test_differences_by_hand() -> None:
    a = torch.tensor([[3.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    b = torch.tensor([[0.0, 1.0], [1.0, 4.0], [2.0, 2.0]])
    deltas = normed_differences(a, b, torch.tensor([False] * 3))
    assert deltas.tolist() == [[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]
    assert not normed_differences(a, b, torch.tensor([True] * 3)).any()
    component = first_component(deltas[:2])
    assert component.abs().tolist() == pytest.approx([0.5**0.5] * 2)
    assert component[0] * component[1] > 0


def test_where_texts_begin_alike() -> None:
    first, second, third = (own.tolist() for own in beginnings([[5, 6, 7], [5, 6, 8, 7], [6, 5]]))
    assert first[:2] == second[:2]
    assert len({*first, *second, *third}) == 7


@pytest.mark.parametrize("name", ["diffmean", "pca", "lat"])
def test_the_shard_does_not_matter(library: Library, found: ConceptData, name: str) -> None:
    together = weights(library, name, found.concepts)
    alone = [weights(library, name, (concept,)) for concept in found.concepts]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=1e-5)


def test_what_cannot_be_done(library: Library, found: ConceptData) -> None:
    with pytest.raises(HarnessError, match="setting sign=up is not one of auroc, means, largest"):
        weights(library, "lat", found.concepts, sign="up")
    flat = SimpleNamespace(hidden=torch.ones(6, 32), ids=torch.arange(6), response=2)
    corpus = Corpus(library.reader, [flat, flat], [[0]], [[1]])
    lesson = Lesson(
        data=found,
        concepts=(Concept(4, "nothing", "text"),),
        corpus=corpus,
        settings=find("pca").settings(),
        hidden_size=32,
        seed=0,
    )
    with pytest.raises(DataError, match=r"pca: the positives of concept 4 \('nothing'\) do not"):
        find("pca").train(lesson)


def test_blocks_by_default() -> None:
    assert default_layers(26) == (5, 10, 15, 20)
    assert default_layers(42) == (12, 20, 31, 39)
    assert default_layers(32) == (5, 10, 15, 20)
    assert default_layers(12) == (2, 4, 7, 9)
    assert default_layers(4) == (0, 1, 2, 3)
    assert default_layers(1) == (0,)
    assert all(max(default_layers(n)) < n for n in range(1, 60))


def test_blocks_by_choice() -> None:
    assert chosen_layers("auto", 4) == (0, 1, 2, 3)
    assert chosen_layers("3,1,1", 4) == chosen_layers("1+3", 4) == (1, 3)
    with pytest.raises(HarnessError, match=r"layers=4: the model has the blocks 0 … 3"):
        chosen_layers("4", 4)
    with pytest.raises(HarnessError, match="layers=few: write auto, or blocks such as 5,10,15"):
        chosen_layers("few", 4)
