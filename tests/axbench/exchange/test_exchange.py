"""Dictionaries from elsewhere and to elsewhere: as published, whole, and never as code."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from harness_axbench.commands import app
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import kinds
from harness_axbench.dictionary.directions import Directions
from harness_axbench.exchange.formats import Options
from harness_axbench.exchange.importing import bring_in
from harness_axbench.exchange.steer_file import write
from lm_eval.api.instance import Instance
from lm_eval.models.hf_steered import SteeredModel
from typer.testing import CliRunner

from harness.errors import ArtefactError, HarnessError, one_line

WIDTH, CONCEPTS = 32, 3
GREEDY = {"until": [], "max_gen_toks": 16, "do_sample": False}
PROMPTS = ("the old", "a very small green house near", "we see the door and", "whale")


def vectors(seed: int = 0, n: int = CONCEPTS, width: int = WIDTH) -> torch.Tensor:
    made = torch.randn(n, width, generator=torch.Generator().manual_seed(seed))
    return made / made.norm(dim=1, keepdim=True)


def metadata(folder: Path, ids: tuple[int, ...] = (0, 1, 2)) -> None:
    rows = [
        {
            "concept_id": c,
            "concept": f"words of {c}",
            "ref": f"https://www.neuronpedia.org/gemma-2-2b/20-gemmascope-res-16k/{c}",
            "concept_genres_map": {f"words of {c}": ["text" if c else "code"]},
        }
        for c in ids
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def published(root: Path, layer: int = 1, dtype: torch.dtype = torch.float32) -> Path:
    """A repository of the hub's layout: one folder a layer."""
    folder = root / f"l{layer}"
    folder.mkdir(parents=True)
    torch.save(vectors(layer).to(dtype), folder / "weight.pt")
    torch.save(torch.zeros(CONCEPTS), folder / "bias.pt")
    metadata(folder)
    (folder / "acts.json").write_text(json.dumps({"max_act": {"0": 12.5, "1": -3.0}}))
    return root


def imported(source: Path, out: Path, model: str | None, **changes: Any) -> dictionary.Dictionary:
    return bring_in(Options(source=str(source), out=out, model=model, **changes))


# AxBench's own files


def test_a_published_dictionary(llama: str, tmp_path: Path) -> None:
    source = published(tmp_path / "repository")
    found = imported(source, tmp_path / "out", llama, method="reft_r1")
    assert (found.layer, found.methods) == (1, ["reft_r1"])
    assert torch.equal(found.weight("reft_r1"), vectors(1))
    ref = "https://www.neuronpedia.org/gemma-2-2b/20-gemmascope-res-16k/0"
    assert found.concepts[0] == dictionary.Concept(0, "words of 0", "code", ref)
    facts = found.facts("reft_r1")
    assert facts["max_act"] == [12.5, 50.0, 1.0]
    assert facts["max_act_origin"] == ["acts.json", "not positive in acts.json", "missing"]
    assert facts["activation"] == "relu"
    model = found.manifest["model"]
    assert (model["name"], model["hidden_size"], len(model["sha256"])) == (llama, WIDTH, 64)
    assert (found.manifest["prefix"], found.manifest["chat"]) == (1, False)
    hidden = torch.randn(4, WIDTH)
    expected = (hidden @ vectors(1).T).clamp_min(0)
    assert torch.allclose(Directions.load(found, "reft_r1").scores(hidden), expected)


def test_a_method_brings_its_ways(llama: str, tmp_path: Path) -> None:
    """Scores and factors are those of the method so named."""
    from harness_axbench.methods import find

    source = published(tmp_path / "repository")
    found = imported(source, tmp_path / "reps", llama, method="reps")
    assert found.facts("reps")["activation"] == "relu"
    assert found.facts("reps")["factors"] == list(find("reps").factors or ())
    assert found.facts("reps")["max_act"] == [1.0] * 3
    other = imported(source, tmp_path / "other", llama, method="other")
    assert other.facts("other")["activation"] == "linear"
    assert "factors" not in other.facts("other")
    with pytest.raises(HarnessError, match="loreft leaves no vectors but adapters"):
        imported(source, tmp_path / "loreft", llama, method="loreft")


def test_the_layer_is_chosen_and_checked(llama: str, tmp_path: Path) -> None:
    source = published(published(tmp_path / "repository", 1), 2, torch.bfloat16)
    with pytest.raises(HarnessError, match="holds the layers 1, 2; choose one with --layer"):
        imported(source, tmp_path / "out", llama, method="reft_r1")
    found = imported(source, tmp_path / "out", llama, method="reft_r1", layer=2)
    assert found.weight("reft_r1").dtype == torch.float32
    assert torch.equal(found.weight("reft_r1"), vectors(2).bfloat16().float())
    with pytest.raises(HarnessError, match="is of layer 1, not of --layer 2"):
        imported(source / "l1", tmp_path / "other", llama, method="reft_r1", layer=2)
    with pytest.raises(HarnessError, match="has no layer 0; it holds 1, 2"):
        imported(source, tmp_path / "other", llama, method="reft_r1", layer=0)
    deep = published(tmp_path / "deep", 7)
    with pytest.raises(ArtefactError, match=r"layer 7; .* has the layers 0 … 2"):
        imported(deep, tmp_path / "other", llama, method="reft_r1")


def saved_by_the_reference(root: Path, model: str) -> Path:
    """What the reference's training and inference leave."""
    for name in ("train", "generate", "inference"):
        (root / name).mkdir(parents=True)
    config = {"model_name": model, "layer": 2, "component": "res"}
    (root / "train" / "config.json").write_text(json.dumps(config))
    for seed, name in enumerate(("DiffMean", "LsReFT", "LinearProbe", "Novelty")):
        torch.save(vectors(seed), root / "train" / f"{name}_weight.pt")
        bias = torch.zeros(CONCEPTS) if name != "LinearProbe" else torch.tensor([0.5, 0.0, -1.0])
        torch.save(bias, root / "train" / f"{name}_bias.pt")
    metadata(root / "generate", (1, 2, 0))
    table = {"concept_id": [0, 0, 1, 2], "DiffMean_max_act": [3.0, 7.0, 2.0, -1.0]}
    pyarrow.parquet.write_table(
        pyarrow.table(table), root / "inference" / "latent_eval_data.parquet"
    )
    return root


def test_what_the_reference_saves(
    llama: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = saved_by_the_reference(tmp_path / "run", llama)
    found = imported(source, tmp_path / "out", None)
    assert sorted(found.methods) == ["diffmean", "probe", "reft_r1"]
    assert "Novelty_weight.pt is left out" in caplog.text
    assert (found.layer, found.manifest["model"]["name"]) == (2, llama)
    assert [concept.id for concept in found.concepts] == [0, 1, 2]
    assert torch.equal(found.weight("reft_r1"), vectors(1))
    assert found.facts("diffmean")["max_act"] == [7.0, 2.0, 50.0]
    assert found.facts("probe")["max_act_origin"] == ["missing"] * 3
    assert sorted(found.tensors("diffmean")) == ["weight"]
    assert list(found.tensors("probe")) == ["weight"], "its bias is random and never read"
    assert "LinearProbe_bias.pt is left out" in caplog.text
    one = imported(source / "train" / "LsReFT_weight.pt", tmp_path / "one", None)
    assert one.methods == ["reft_r1"]
    named = imported(source, tmp_path / "named", None, method="diffmean")
    assert named.methods == ["diffmean"]


def test_an_equal_one_is_kept_and_another_refused(llama: str, tmp_path: Path) -> None:
    source = published(tmp_path / "repository")
    out = tmp_path / "out"
    imported(source, out, llama, method="reft_r1")
    before = (out / "dictionary.json").stat().st_mtime_ns
    imported(source, out, llama, method="reft_r1")
    assert (out / "dictionary.json").stat().st_mtime_ns == before
    with pytest.raises(ArtefactError, match="differs in: --methods"):
        imported(source, out, llama, method="other")


def harm(folder: Path, how: str) -> None:
    weight = folder / "weight.pt"
    if how == "nan":
        torch.save(vectors().index_fill(0, torch.tensor([1]), torch.nan), weight)
    elif how == "width":
        torch.save(vectors(width=16), weight)
    elif how == "count":
        metadata(folder, (0, 1))
    elif how == "twice":
        metadata(folder, (0, 1, 1))
    elif how == "shape":
        torch.save(vectors()[0], weight)
    elif how == "bias":
        torch.save(torch.zeros(2), folder / "bias.pt")
    elif how == "truncated":
        weight.write_bytes(weight.read_bytes()[:-200])
    elif how == "empty":
        weight.write_bytes(b"")
    elif how == "metadata":
        (folder / "metadata.jsonl").unlink()
    elif how == "lines":
        (folder / "metadata.jsonl").write_text('{"concept_id": 0, "conc')
    elif how == "acts":
        (folder / "acts.json").write_text('{"max_act": {"0": "much"}}')
    elif how == "infinite":
        (folder / "acts.json").write_text('{"max_act": {"0": Infinity}}')


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nan", r"reft_r1 for concept 1 \('words of 1'\) holds values that are not finite"),
        ("width", r"have 16 entries; the hidden size of .* is 32"),
        ("count", r"has 3 vectors, .*metadata.jsonl names 2 concepts"),
        ("twice", r"concept 1 is there more than once"),
        ("shape", r"one tensor \[concepts, hidden\] is needed"),
        ("bias", r"bias.pt: one tensor \[3\] is needed"),
        ("truncated", r"weight.pt is damaged, truncated"),
        ("empty", r"weight.pt is damaged, truncated"),
        ("metadata", r"no metadata.jsonl there; it names the concepts"),
        ("lines", r"metadata.jsonl is damaged"),
        ("acts", r"acts.json: max_act is damaged: 0: Input should be a valid number"),
        ("infinite", r"acts.json: max_act is damaged: 0: Input should be less than"),
    ],
)
def test_bad_files_are_one_line(llama: str, tmp_path: Path, how: str, says: str) -> None:
    source = published(tmp_path / "repository")
    harm(source / "l1", how)
    with pytest.raises(ArtefactError, match=says) as caught:
        imported(source, tmp_path / "out", llama, method="reft_r1")
    assert "\n" not in one_line(caught.value)
    assert not (tmp_path / "out").exists()


class Planted:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("name", ["weight.pt", "steer.pt"])
def test_code_in_a_file_does_not_run(llama: str, tmp_path: Path, name: str) -> None:
    folder = published(tmp_path / "repository") / "l1"
    content = {"layers.1": {"steering_vector": Planted(tmp_path / "planted"), "action": "add"}}
    torch.save(content if name == "steer.pt" else content["layers.1"], folder / name)
    with pytest.raises(ArtefactError, match="is refused: loading it would run code from the file"):
        imported(folder / name, tmp_path / "out", llama, method="m")
    assert not (tmp_path / "planted").exists()


def test_what_has_to_be_said(llama: str, tmp_path: Path) -> None:
    source = published(tmp_path / "repository")
    with pytest.raises(HarnessError, match="does not say which method"):
        imported(source, tmp_path / "out", llama)
    with pytest.raises(HarnessError, match="does not name its model; pass --model"):
        imported(source, tmp_path / "out", None, method="reft_r1")
    with pytest.raises(HarnessError, match="letters, digits"):
        imported(source, tmp_path / "out", llama, method="../up")
    with pytest.raises(HarnessError, match=r"--format .*: use one of"):
        imported(source, tmp_path / "out", llama, format="csv")
    with pytest.raises(HarnessError, match="no dictionary in it"):
        imported(tmp_path, tmp_path / "out", llama)
    with pytest.raises(ArtefactError, match="no such file or folder"):
        imported(tmp_path / "none", tmp_path / "out", llama)
    with pytest.raises(ArtefactError, match="the hub does not give it"):
        bring_in(Options(source="nobody/nothing", out=tmp_path / "out", model=llama))
    with pytest.raises(HarnessError, match="configuration and tokenizer"):
        imported(source, tmp_path / "out", str(tmp_path / "none"), method="reft_r1")


# lm-eval's steer files


@pytest.fixture
def made(llama: str, tmp_path: Path) -> dictionary.Dictionary:
    """A dictionary of unit vectors, and of vectors of other lengths with an encoder."""
    source = saved_by_the_reference(tmp_path / "run", llama)
    return imported(source, tmp_path / "made", None)


def by_lm_eval(llama: str, steer: Path, batch_size: int = 3) -> list[str]:
    lm = SteeredModel(llama, str(steer), device="cpu", dtype="float32", batch_size=batch_size)
    return answers(lm, {})


def answers(lm: Any, doc: dict[str, Any]) -> list[str]:
    requests = [
        Instance("generate_until", doc, (prompt, GREEDY), 0, ("t", 0, 1)) for prompt in PROMPTS
    ]
    return [str(answer) for answer in lm.generate_until(requests, disable_tqdm=True)]


@pytest.mark.parametrize(("concept", "factor"), [(0, 0.6), (1, 2.5), (1, -2.0)])
def test_lm_eval_steers_as_hf_steered_does(
    llama: str, tmp_path: Path, made: dictionary.Dictionary, concept: int, factor: float
) -> None:
    from harness import compose

    SteeredHF = compose("hf-steered")

    steer = write(
        made, method="diffmean", concept=concept, factor=factor, out=tmp_path / "steer.pt"
    )
    ours = SteeredHF(
        llama,
        steering=str(made.folder),
        method="diffmean",
        device="cpu",
        dtype="float32",
        batch_size=3,
    )
    expected = answers(ours, {"concept_id": concept, "factor": factor})
    assert by_lm_eval(llama, steer) == expected
    assert expected != answers(ours, {})


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_clamping_means_the_same_to_lm_eval(llama: str, tmp_path: Path, bias: float) -> None:
    """Its clamp against ours, on activations; there and back."""
    from harness_axbench.exchange.shell import Shell
    from harness_axbench.steering.interventions import RowEdits
    from harness_axbench.steering.steering import Steering

    shell = Shell.load(llama)
    entry = dictionary.Entry(
        kinds.VECTORS,
        {"weight": vectors(4), "bias": torch.full((3,), bias)},
        {},
        {"activation": "linear", "max_act": [4.0] * 3, "max_act_origin": ["eval"] * 3},
    )
    concepts = tuple(dictionary.Concept(c, str(c), "text") for c in range(3))
    found = dictionary.write(
        tmp_path / "unit",
        recipe={},
        facts=shell.facts(1),
        concepts=concepts,
        methods={"probe": entry},
    )
    steer = write(
        found, method=None, concept=2, factor=1.5, out=tmp_path / "steer.pt", action="clamp"
    )
    content = torch.load(steer, weights_only=True)["layers.1"]
    hidden = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    theirs = SteeredModel.clamp(
        hidden,
        direction=content["steering_vector"] / content["steering_vector"].norm(),
        value=content["steering_coefficient"],
        head_index=None,
        bias=content["bias"],
    )
    row = Steering("probe", 2, 1.5, 4.0, 1, 2, intervention="clamp")
    ours = RowEdits.of(Directions.load(found, "probe"), [row, row]).apply(hidden)
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert not torch.allclose(ours, hidden, atol=0.1)
    back = imported(steer, tmp_path / "back", llama)
    assert back.facts("steer_file")["intervention"] == "clamp"
    row = Steering("steer_file", 0, 1.0, 6.0, 1, 0, intervention="clamp")
    again = RowEdits.of(Directions.load(back, "steer_file"), [row, row]).apply(hidden)
    assert torch.allclose(theirs, again, atol=1e-5)


def test_there_and_back(llama: str, tmp_path: Path, made: dictionary.Dictionary) -> None:
    folder = tmp_path / "steer"
    for concept in (0, 1, 2):
        out = folder / f"{concept}.pt"
        write(made, method="diffmean", concept=concept, factor=2.0, out=out)
    content = torch.load(folder / "1.pt", weights_only=True)
    assert list(content) == ["layers.2"]
    assert content["layers.2"]["steering_coefficient"] == 4.0
    back = imported(folder, tmp_path / "back", llama, method="diffmean")
    assert (back.layer, [concept.text for concept in back.concepts]) == (2, ["0", "1", "2"])
    assert torch.equal(back.weight("diffmean"), made.weight("diffmean"))
    assert back.facts("diffmean")["max_act"] == [14.0, 4.0, 100.0]
    one = imported(folder / "1.pt", tmp_path / "one", llama, text="baking")
    assert [concept.text for concept in one.concepts] == ["baking"]
    with pytest.raises(HarnessError, match="--text names one concept"):
        imported(folder, tmp_path / "two", llama, text="baking")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"action": "swap"}, "action 'swap'; lm-eval knows add and clamp"),
        ({"head_index": 3}, "one attention head"),
        ({"steering_vector": None}, "one vector is needed, not NoneType"),
        ({"steering_vector": torch.ones(2, 3)}, r"one vector is needed, not \[2, 3\]"),
        ({"steering_vector": torch.ones(9)}, "have 9 entries; the hidden size"),
        ({"steering_coefficient": float("nan")}, "steering_coefficient is not finite"),
        ({"bias": torch.ones(WIDTH)}, "a bias goes with clamp"),
        ({"action": "clamp", "steering_vector": torch.zeros(WIDTH)}, "has the length 0"),
        ({"action": "clamp", "bias": torch.ones(3)}, "no finite vector as long"),
    ],
)
def test_steer_files_that_cannot_be(
    llama: str, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    entry = {"steering_vector": vectors()[0], "steering_coefficient": 2.0, "action": "add"}
    torch.save({"layers.1": entry | change}, tmp_path / "steer.pt")
    with pytest.raises(ArtefactError, match=says):
        imported(tmp_path / "steer.pt", tmp_path / "out", llama)


def test_hooks_are_blocks(llama: str, tmp_path: Path) -> None:
    entry = {"steering_vector": vectors()[0], "steering_coefficient": 2.0, "action": "add"}
    path = tmp_path / "steer.pt"
    torch.save(OrderedDict({"layers.1.mlp": entry}), path)
    with pytest.raises(ArtefactError, match=r"hooks 'layers.1.mlp', which is no decoder block"):
        imported(path, tmp_path / "out", llama)
    torch.save([1, 2], path)
    with pytest.raises(ArtefactError, match="no entries by hook point"):
        imported(path, tmp_path / "out", llama)
    torch.save({"layers.0": entry, "layers.2": entry}, path)
    with pytest.raises(HarnessError, match="holds the layers 0, 2"):
        imported(path, tmp_path / "out", llama)
    assert imported(path, tmp_path / "out", llama, layer=2).layer == 2


def test_exports_that_lm_eval_could_not_do(
    llama: str, tmp_path: Path, made: dictionary.Dictionary
) -> None:
    out = tmp_path / "steer.pt"
    with pytest.raises(HarnessError, match="not min_clamp"):
        write(made, method="diffmean", concept=0, factor=1.0, out=out, action="min_clamp")
    with pytest.raises(HarnessError, match="reads by relu"):
        write(made, method="reft_r1", concept=0, factor=1.0, out=out, action="clamp")
    with pytest.raises(HarnessError, match="pass --method, one of"):
        write(made, method=None, concept=0, factor=1.0, out=out)
    with pytest.raises(ArtefactError, match="no concept 9 in it"):
        write(made, method="diffmean", concept=9, factor=1.0, out=out)
    with pytest.raises(HarnessError, match=r"end in \.pt"):
        write(made, method="diffmean", concept=0, factor=1.0, out=tmp_path / "steer.csv")
    with pytest.raises(HarnessError, match="not finite"):
        write(made, method="diffmean", concept=0, factor=float("inf"), out=out)
    assert not list(tmp_path.glob("*steer.pt*"))


# GGUF control vectors


def control_vector(
    path: Path, layers: dict[int, torch.Tensor], architecture: str = "controlvector"
) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(layers))
    for layer, direction in layers.items():
        writer.add_tensor(f"direction.{layer}", direction.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_control_vector(llama: str, tmp_path: Path) -> None:
    layers = {1: 3 * vectors(1)[0], 2: vectors(2)[0]}
    path = control_vector(tmp_path / "honest.gguf", layers)
    with pytest.raises(HarnessError, match="holds the layers 1, 2; choose one with --layer"):
        imported(path, tmp_path / "out", llama)
    found = imported(path, tmp_path / "out", llama, layer=1)
    assert torch.equal(found.weight("repeng"), layers[1].unsqueeze(0))
    facts = found.facts("repeng")
    assert (facts["max_act"], facts["max_act_origin"]) == ([1.0], ["missing"])
    assert [concept.text for concept in found.concepts] == ["honest"]


def test_a_folder_of_control_vectors(llama: str, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for seed, name in enumerate(("calm", "angry")):
        control_vector(tmp_path / "many" / f"{name}.gguf", {2: vectors(seed)[0]})
    found = imported(tmp_path / "many", tmp_path / "out", llama, method="mood")
    assert [concept.text for concept in found.concepts] == ["angry", "calm"]
    assert torch.equal(found.weight("mood"), torch.stack([vectors(1)[0], vectors(0)[0]]))


def test_bad_control_vectors(llama: str, tmp_path: Path) -> None:
    path = control_vector(tmp_path / "a.gguf", {1: vectors()[0]})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match="damaged, truncated, or no GGUF file"):
        imported(path, tmp_path / "out", llama)
    model = control_vector(tmp_path / "b.gguf", {1: vectors()[0]}, architecture="llama")
    with pytest.raises(ArtefactError, match="no control vector: its architecture is 'llama'"):
        imported(model, tmp_path / "out", llama)
    wide = control_vector(tmp_path / "c.gguf", {1: torch.ones(64)})
    with pytest.raises(ArtefactError, match="have 64 entries; the hidden size"):
        imported(wide, tmp_path / "out", llama)


def test_without_gguf_it_says_what_to_install(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(HarnessError, match=r"pip install 'paperharness\[gguf\]'"):
        imported(tmp_path / "a.gguf", tmp_path / "out", llama)


def test_two_formats_in_a_folder(llama: str, tmp_path: Path) -> None:
    source = published(tmp_path / "repository") / "l1"
    (source / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(HarnessError, match="files of axbench and repeng; pass --format"):
        imported(source, tmp_path / "out", llama, method="reft_r1")
    assert imported(source, tmp_path / "out", llama, method="reft_r1", format="axbench").layer == 1


# At the command line


def test_commands(llama: str, tmp_path: Path) -> None:
    source, out = published(tmp_path / "repository"), tmp_path / "out"
    arguments = ["import", "--from", str(source), "--model", llama, "--method", "reft_r1"]
    arguments += ["--out", str(out)]
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "(written): 3 concepts, reft_r1, layer 1" in first.output
    second = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "(already there)" in second.output
    steer = tmp_path / "steer.pt"
    arguments = ["export", str(out), "--concept", "0", "--factor", "2", "--out", str(steer)]
    exported = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "--model steered" in exported.output
    content = torch.load(steer, weights_only=True)["layers.1"]
    assert content["steering_coefficient"] == 25.0
    hooked = [*arguments, "--hook", "decoder.layers.1"]
    CliRunner().invoke(app, hooked, catch_exceptions=False)
    assert list(torch.load(steer, weights_only=True)) == ["decoder.layers.1"]
