"""Sparse autoencoders: a small random one, and everything of it computed a second time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from harness_axbench.activations.reader import Reader
from harness_axbench.data import concepts as data
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary.directions import Directions
from harness_axbench.methods import listed, sae
from harness_axbench.methods.autoencoder import Autoencoder, load
from harness_axbench.methods.sae import aurocs, feature_of
from harness_axbench.options import run_options
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.errors import ArtefactError, DataError, HarnessError

WIDTH, FEATURES = 32, 50
REFS = ("https://www.neuronpedia.org/gemma-2-2b/20-gemmascope-res-16k/7", "12", "sae/49/")


def arrays(seed: int = 0, features: int = FEATURES) -> dict[str, np.ndarray]:
    source = np.random.default_rng(seed)
    shapes = {"W_enc": (WIDTH, features), "W_dec": (features, WIDTH), "b_enc": (features,)}
    made = {name: source.standard_normal(shape) for name, shape in shapes.items()}
    made["b_dec"] = source.standard_normal(WIDTH)
    made["threshold"] = source.uniform(0, 3, features)
    return {name: own.astype(np.float32) for name, own in made.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sae") / "params.npz"
    np.savez(path, **arrays())
    return path


@pytest.fixture(scope="module")
def referred(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """The small data set, with a feature for each concept."""
    folder = tmp_path_factory.mktemp("referred")
    for own in data_folder.iterdir():
        (folder / own.name).write_text(own.read_text())
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    named = [row | {"ref": ref} for row, ref in zip(rows, REFS, strict=True)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    return folder


def trained(make: Callable[..., Path], out: Path, folder: Path, path: Path, **more: Any) -> Any:
    settings = {name: {"path": str(path)} for name in ("sae", "sae_a")}
    options = {"methods": ("sae", "sae_a"), "settings": settings, "shard_size": 2} | more
    return dictionary.read(make(out, run=run_options({"axbench_data": str(folder)}), **options))


def states(llama: str) -> Callable[[Any], np.ndarray]:
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    reader = Reader(model, AutoTokenizer.from_pretrained(llama), layer=1)

    def of(row: Any) -> np.ndarray:
        with torch.no_grad():
            out = model(torch.tensor([reader.encode(row)]), output_hidden_states=True)
        return out.hidden_states[2][0, 1:].double().numpy()

    return of


def encoded(hidden: np.ndarray, own: dict[str, np.ndarray]) -> np.ndarray:
    x = hidden @ own["W_enc"].astype(np.float64) + own["b_enc"]
    return (x > own["threshold"]) * np.maximum(x, 0)


def test_what_is_stored_and_how_it_scores(
    make_dictionary: Callable[..., Path], tmp_path: Path, referred: Path, file: Path, llama: str
) -> None:
    found = trained(make_dictionary, tmp_path / "d", referred, file)
    own, of = arrays(), states(llama)
    assert found.facts("sae")["feature"] == [7, 12, 49]
    assert [concept.ref for concept in found.concepts] == list(REFS)
    for name in ("sae", "sae_a"):
        features = found.facts(name)["feature"]
        tensors = found.tensors(name)
        np.testing.assert_array_equal(tensors["weight"], own["W_dec"][features])
        np.testing.assert_array_equal(tensors["encoder"], own["W_enc"].T[features])
        np.testing.assert_array_equal(tensors["bias"], own["b_enc"][features])
        np.testing.assert_array_equal(tensors["threshold"], own["threshold"][features])
        directions = Directions.load(found, name)
        hidden = of({"input": "the old", "output": "reef near a green house and bread"})
        expected = encoded(hidden, own)[:, features]
        scores = directions.scores(torch.tensor(hidden, dtype=torch.float32)).numpy()
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        assert (expected == 0).any()
        assert (expected > 0).any()


def test_sae_a_takes_the_best_feature(
    make_dictionary: Callable[..., Path], tmp_path: Path, referred: Path, file: Path, llama: str
) -> None:
    found = trained(make_dictionary, tmp_path / "d", referred, file)
    concepts, own, of = (
        data.load(run_options({"axbench_data": str(referred)})),
        arrays(),
        states(llama),
    )
    for place, concept in enumerate(concepts.concepts):
        positive, negative = (
            np.stack([encoded(of(row), own).max(0) for row in rows])
            for rows in (concepts.positives(concept), concepts.negatives(concept.genre))
        )
        labels = [1] * len(positive) + [0] * len(negative)
        each = [roc_auc_score(labels, z) for z in np.concatenate([positive, negative]).T]
        assert found.facts("sae_a")["feature"][place] == int(np.argmax(each))
        assert found.facts("sae_a")["train_auroc"][place] == pytest.approx(max(each))


def test_slices_of_features_change_nothing(
    make_dictionary: Callable[..., Path],
    tmp_path: Path,
    referred: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = trained(
        make_dictionary,
        tmp_path / "a",
        referred,
        file,
        methods=("sae_a",),
        settings={"sae_a": {"path": str(file)}},
    )
    monkeypatch.setattr(sae, "_SLICE", 7)
    sliced = trained(
        make_dictionary,
        tmp_path / "b",
        referred,
        file,
        methods=("sae_a",),
        settings={"sae_a": {"path": str(file)}},
    )
    assert whole.facts("sae_a")["feature"] == sliced.facts("sae_a")["feature"]


def test_aurocs_are_scikit_learns() -> None:
    source = torch.Generator().manual_seed(1)
    positive = torch.randint(0, 5, (9, 40), generator=source).float()
    negative = torch.randint(0, 4, (13, 40), generator=source).float()
    labels = [1] * 9 + [0] * 13
    both = torch.cat([positive, negative]).T
    expected = [roc_auc_score(labels, scores) for scores in both]
    np.testing.assert_allclose(aurocs(positive, negative).numpy(), expected)
    by_hand = aurocs(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [1.0]]))
    assert by_hand.tolist() == [5 / 8]


def test_an_encoder_that_subtracts_the_decoders_bias(tmp_path: Path) -> None:
    own = {name: torch.from_numpy(array) for name, array in arrays(3).items()}
    save_file(own, tmp_path / "sae_weights.safetensors")
    plain = load(str(tmp_path / "sae_weights.safetensors"), "", "")
    config = {"architecture": "jumprelu", "apply_b_dec_to_input": True}
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    load.cache_clear()
    subtracting = load(str(tmp_path), "", "")
    hidden = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(subtracting.encode(hidden), plain.encode(hidden - own["b_dec"]))
    assert not torch.equal(subtracting.encode(hidden), plain.encode(hidden))


def test_a_relu_autoencoder_has_no_threshold() -> None:
    own = {name: torch.from_numpy(array) for name, array in arrays(4).items()}
    del own["threshold"]
    made = Autoencoder.of(own, {"architecture": "standard"}, "relu")
    hidden = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        made.encode(hidden), (hidden @ own["W_enc"] + own["b_enc"]).clamp_min(0)
    )


def test_through_sae_lens(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: torch.from_numpy(array) for name, array in arrays(5).items()}
    asked = []

    def from_pretrained(release: str, sae_id: str, device: str) -> Any:
        asked.append((release, sae_id, device))
        if sae_id == "none":
            raise ValueError("no such id")
        config = {"architecture": "jumprelu", "normalize_activations": "none"}
        return SimpleNamespace(state_dict=lambda: own, cfg=SimpleNamespace(to_dict=lambda: config))

    fake = SimpleNamespace(SAE=SimpleNamespace(from_pretrained=from_pretrained))
    monkeypatch.setitem(sys.modules, "sae_lens", fake)
    found = load("", "a-release", "an-id")
    assert asked == [("a-release", "an-id", "cpu")]
    torch.testing.assert_close(found.decoder, own["W_dec"])
    with pytest.raises(ArtefactError, match="SAELens: a-release, none cannot be loaded: no such"):
        load("", "a-release", "none")
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(HarnessError, match="needs SAELens: pip install sae-lens"):
        load("", "a-release", "other")


def test_what_cannot_be_used(
    make_dictionary: Callable[..., Path], tmp_path: Path, referred: Path, data_folder: Path
) -> None:
    with pytest.raises(HarnessError, match=r"autoencoder is needed: give one of: sae\.path=FILE"):
        trained(make_dictionary, tmp_path / "d", referred, Path(), methods=("sae",), settings={})
    with pytest.raises(HarnessError, match="autoencoder is needed"):
        load("", "only-a-release", "")
    with pytest.raises(ArtefactError, match="no sparse autoencoder there"):
        load(str(tmp_path / "params.npz"), "", "")
    (tmp_path / "params.npz").write_bytes(b"PK no archive")
    with pytest.raises(ArtefactError, match="cannot be read as npz"):
        load(str(tmp_path / "params.npz"), "", "")
    own = {name: torch.from_numpy(array) for name, array in arrays().items()}
    with pytest.raises(ArtefactError, match="x lacks W_enc; it has W_dec"):
        Autoencoder.of({k: v for k, v in own.items() if k != "W_enc"}, {}, "x")
    with pytest.raises(ArtefactError, match=r"x: W_dec has the shape \[32, 50\], not \[50, 32\]"):
        Autoencoder.of(own | {"W_dec": own["W_dec"].T}, {}, "x")
    with pytest.raises(ArtefactError, match="architecture 'topk' with"):
        Autoencoder.of(own, {"architecture": "topk"}, "x")
    narrow = {k: v[:, :8] if k == "W_dec" else v for k, v in arrays().items()}
    narrow |= {"W_enc": narrow["W_enc"][:8], "b_dec": narrow["b_dec"][:8]}
    np.savez(tmp_path / "narrow.npz", **narrow)
    with pytest.raises(ArtefactError, match="is for hidden size 8; this model's is 32"):
        trained(make_dictionary, tmp_path / "d", referred, tmp_path / "narrow.npz")


def test_concepts_without_a_feature() -> None:
    concept = Concept(3, "the sea", "text", REFS[0])
    assert feature_of(concept, 8) == 7
    assert feature_of(replace(concept, ref="0"), 1) == 0
    with pytest.raises(DataError, match="concept 3 is feature 7; this autoencoder has 7"):
        feature_of(concept, 7)
    for ref in ("", "testbed:3", "gemma-2-2b"):
        with pytest.raises(DataError, match=r"sae: concept 3 \('the sea'\) names no feature"):
            feature_of(replace(concept, ref=ref), 99)


def test_all_leaves_out_what_needs_a_file(caplog: pytest.LogCaptureFixture) -> None:
    assert not {"sae", "sae_a"} & set(listed("all"))
    assert "all leaves out sae, sae_a, which need --set sae.path=FILE" in caplog.text
    assert listed("sae,diffmean") == ["sae", "diffmean"]


def test_refs_of_a_data_set(referred: Path, data_folder: Path) -> None:
    without, with_refs = (
        data.load(run_options({"axbench_data": str(f)})) for f in (data_folder, referred)
    )
    assert [c.ref for c in without.concepts] == [""] * 3
    assert [c.ref for c in with_refs.concepts] == list(REFS)
    assert without.sha256 != with_refs.sha256
