"""Dictionaries whose methods learnt from states on one scale."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness_axbench.activations.loading import load_reader
from harness_axbench.data.concepts import load
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary.directions import Directions
from harness_axbench.models.detection import concept_scores
from harness_axbench.options import run_options
from harness_axbench.steering.plan import make_plan
from safetensors.torch import load_file, save_file

from harness.artefacts.checksums import digest
from harness.errors import ArtefactError, HarnessError

METHODS = ("diffmean", "probe", "ssv", "random")


@pytest.fixture(scope="module", params=["unit", "standardise"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(
    kind: str, tmp_path_factory: pytest.TempPathFactory, make_dictionary: Callable[..., Path]
) -> Path:
    return make_dictionary(tmp_path_factory.mktemp("made") / kind, methods=METHODS, normalise=kind)


def test_the_dictionary_says_it_and_detection_reads_it(
    made: Path, kind: str, llama: str, data_folder: Path
) -> None:
    """Scores are those of the states on one scale, token by token, from the kept statistics."""
    found = dictionary.read(made)
    assert found.manifest["recipe"]["normalise"] == kind
    said = {method: found.facts(method).get("normalise") for method in METHODS}
    assert said == {"diffmean": kind, "probe": kind, "ssv": None, "random": None}
    data = load(run_options({"axbench_data": str(data_folder)}))
    reader = load_reader(
        llama, layer=1, batch_size=5, device="cpu", dtype="float32", revision="main"
    )
    docs = [row for row in data.evaluation if row["concept_id"] == 1]
    scores = concept_scores(make_plan(str(made), "probe", None, None), docs, lambda: reader)
    kept = found.tensors("probe")
    for batch in reader.stream(docs, "by hand"):
        for hidden, counted, text in zip(batch.hidden, batch.counted, batch.texts, strict=True):
            states = hidden[counted]
            if kind == "unit":
                along = states @ kept["weight"][1]
                expected = (along / states.norm(dim=1) * kept["norm"][1]).max()
            else:
                scaled = (states - kept["mean"][1]) / kept["spread"][1]
                expected = (scaled @ (kept["weight"][1] / kept["spread"][1])).max()
            key = (docs[text]["input"], docs[text]["output"], 1)
            assert scores[key] == pytest.approx(float(expected), rel=1e-4, abs=1e-4)
    assert max(scores.values()) == pytest.approx(found.unit("probe", 1), rel=1e-4)


def test_shards_change_nothing(
    made: Path, kind: str, make_dictionary: Callable[..., Path], tmp_path: Path
) -> None:
    pieces = make_dictionary(tmp_path / "pieces", methods=METHODS, normalise=kind, shard_size=1)
    for method in METHODS:
        for name, own in dictionary.read(made).tensors(method).items():
            other = dictionary.read(pieces).tensors(method)[name]
            torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-3)


def test_an_equal_one_is_kept_and_another_refused(
    made: Path, kind: str, make_dictionary: Callable[..., Path]
) -> None:
    sha256 = dictionary.read(made).sha256
    make_dictionary(made, methods=METHODS, normalise=kind)
    assert dictionary.read(made).sha256 == sha256
    with pytest.raises(ArtefactError, match=r"another dictionary \(it differs in: --normalise\)"):
        make_dictionary(made, methods=METHODS)


def test_without_it_a_dictionary_is_as_it_was(steering: Path) -> None:
    found = dictionary.read(steering)
    assert "normalise" not in found.manifest["recipe"]
    assert "normalise" not in found.facts("diffmean")
    assert found.tensors("diffmean").keys() == {"weight"}


def test_interventions_that_are_not_defined(made: Path, kind: str) -> None:
    refused = {"unit": ("clamp", "min_clamp", "null_out"), "standardise": ("null_out",)}[kind]
    for intervention in refused:
        with pytest.raises(HarnessError, match=f"intervention={intervention}: probe reads normal"):
            make_plan(str(made), "probe", None, None, intervention=intervention)
        assert make_plan(str(made), "ssv", None, None, intervention=intervention).steers
    for intervention in {"add", "clamp", "min_clamp", "null_out"} - set(refused):
        assert make_plan(str(made), "probe", None, None, intervention=intervention).steers


def test_a_length_without_its_word_in_the_manifest(
    steering: Path, make_dictionary: Callable[..., Path], tmp_path: Path
) -> None:
    """A reader that overlooks the tensor would score other numbers, in silence."""
    folder = make_dictionary(tmp_path / "changed", methods=("diffmean",))
    file, manifest = folder / "diffmean.safetensors", folder / "dictionary.json"
    save_file(load_file(file) | {"norm": torch.ones(3)}, file)
    told = json.loads(manifest.read_text())
    told["methods"]["diffmean"]["sha256"] = digest(file)
    manifest.write_text(json.dumps(told))
    with pytest.raises(ArtefactError, match="diffmean: a tensor 'norm' goes with 'normalise'"):
        Directions.load(dictionary.read(folder), "diffmean")


def test_what_cannot_be_asked(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"--normalise .*: use one of none, unit, standardise"):
        make_dictionary(tmp_path / "a", normalise="length")
    with pytest.raises(
        HarnessError, match="--normalise unit is for diffmean, pca, lat, probe, which learn from"
    ):
        make_dictionary(tmp_path / "b", methods=("bow", "random"), normalise="unit")
    assert list(tmp_path.iterdir()) == []
