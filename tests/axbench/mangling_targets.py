"""Files that AxBench reads, each valid, with what reads them; and ways of mangling a file.

``targets(folder)`` writes them. A mangled file has to be read, or refused by a ``HarnessError`` of
one line: nothing else may come out of ``Target.read``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from harness_axbench.data import concepts as data
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary import inspection, kinds
from harness_axbench.dictionary.directions import Directions
from harness_axbench.exchange import control_vector, published, steer_file
from harness_axbench.exchange.formats import Options
from harness_axbench.exchange.pt_files import load_pt
from harness_axbench.exchange.shell import Shell
from harness_axbench.generation import folder as generated
from harness_axbench.generation import seeds
from harness_axbench.methods import autoencoder
from harness_axbench.methods.base import Stored
from harness_axbench.methods.bow import BagOfWords
from harness_axbench.methods.heads import Heads
from harness_axbench.models.detection import text_method
from harness_axbench.options import run_options
from harness_axbench.report import read_runs
from harness_axbench.tasks import baseline
from harness_axbench.training.parts import Parts
from mangling import Target
from pyarrow import parquet
from safetensors.torch import save, save_file

from harness.artefacts.recipes import write_manifest

WIDTH, SAE = 4, 6
CONCEPTS = tuple(dictionary.Concept(n, f"words of {n}", "text", f"sae/{n}") for n in (0, 3))
COSTS = {"writer": {"step": {"questions": 1}}}


def targets(folder: Path) -> list[Target]:
    """Valid artefacts below a folder, each with its reader."""
    made = [
        _dictionary(folder / "dictionary"),
        _signed(folder / "signed"),
        _words(folder / "words"),
        _parts(folder / "parts"),
        _autoencoder(folder / "npz", "params.npz"),
        _autoencoder(folder / "safetensors", "sae_weights.safetensors"),
        _steer_file(folder / "steer"),
        _published(folder / "published"),
        _control_vector(folder / "gguf"),
        *_runs(folder / "runs"),
        _generated(folder / "generated"),
        *_seeds(folder / "seeds"),
    ]
    return made + [_concept_data(folder / ext, ext) for ext in ("jsonl", "json", "csv", "parquet")]


# What is made


def _entries() -> dict[str, dictionary.Entry]:
    n = len(CONCEPTS)
    units = {"max_act": [3.0, 1.5], "max_act_origin": ["eval", "missing"], "activation": "relu"}
    vectors = {"weight": torch.arange(n * WIDTH).reshape(n, WIDTH).float(), "bias": torch.ones(n)}
    words = BagOfWords._stored([{"sea": 0.5, "reef": 1.0}, {"sea": -0.5}], [0.1, 0.2])
    heads = {"inner": (2, WIDTH), "inner_bias": (2,), "outer": (2, 2), "outer_bias": (2,)}
    lora = {"a": torch.ones(n, 1, 2, WIDTH), "b": torch.ones(n, 1, WIDTH, 2)}
    facts = {"targets": ["layers.0.o_proj"], "scaling": 2.0}
    return {
        "ssv": dictionary.Entry(kinds.VECTORS, vectors, {}, units),
        "bow": dictionary.Entry(kinds.TEXTS, words.tensors, words.values, {}),
        "ixg": dictionary.Entry(
            kinds.HEADS, {name: torch.ones(n, *shape) for name, shape in heads.items()}, {}, {}
        ),
        "lora": dictionary.Entry(kinds.ADAPTERS, lora, {}, facts),
    }


def _dictionary(folder: Path) -> Target:
    folder.mkdir(parents=True)
    save_file({"weight": torch.ones(2, 2)}, folder / "3.safetensors")
    sft = dictionary.Entry(kinds.WEIGHTS, {}, {}, {}, {3: folder / "3.safetensors"})
    model = {"name": "tiny", "hidden_size": WIDTH, "dtype": "float32", "sha256": None}
    facts = {"layer": 1, "model": model, "prefix": 1, "chat": False, "data": {"source": "mine"}}
    made = dictionary.write(
        folder / "made",
        recipe={"seed": 1},
        facts=facts,
        concepts=CONCEPTS,
        methods=_entries() | {"sft": sft},
    )
    files = sorted(path for path in made.folder.rglob("*") if path.is_file())
    return Target("dictionary", files, lambda: _all_of(made.folder))


def _all_of(folder: Path) -> None:
    found = dictionary.read(folder)
    for line in inspection.summary(found, inspection.verified(found)):
        assert line.isprintable()
    inspection.tables(inspection.vectors(found))
    for method in found.methods:
        kind = found.facts(method)["kind"]
        if kind == kinds.VECTORS:
            Directions.load(found, method).scores(
                torch.ones(1, found.manifest["model"]["hidden_size"])
            )
            found.unit(method, 0)
        elif kind == kinds.TEXTS:
            text_method(found, method).scores(["the sea"])
        elif kind == kinds.WEIGHTS:
            found.parameters(method, found.concepts[-1].id)
        elif kind == kinds.HEADS:
            Heads.of(found.tensors(method), torch.device("cpu"), WIDTH)
        else:
            found.tensors(method)
    dictionary.kept(folder, found.manifest["recipe"])


def _signed(folder: Path) -> Target:
    """A dictionary whose checksums follow its files, whatever they are."""
    whole = _dictionary(folder)
    files = [file for file in whole.files if file.name != dictionary.MANIFEST]
    path = next(file for file in whole.files if file.name == dictionary.MANIFEST)
    manifest = json.loads(path.read_text())

    def read() -> None:
        for facts in manifest["methods"].values():
            for own in (facts, *facts.get("files", {}).values()):
                for name, checksum in (("file", "sha256"), ("values", "values_sha256")):
                    if name in own:
                        content = (path.parent / own[name]).read_bytes()
                        own[checksum] = hashlib.sha256(content).hexdigest()
        path.write_text(json.dumps(manifest))
        _all_of(path.parent)

    return Target("signed dictionary", files, read)


def _words(folder: Path) -> Target:
    folder.mkdir(parents=True)
    entry = _entries()["bow"]
    values, tensors = folder / "bow.json", folder / "bow.safetensors"
    values.write_text(json.dumps(entry.values))
    tensors.write_bytes(save(dict(entry.tensors)))

    def read() -> None:
        from harness_axbench.dictionary.tensor_files import loaded

        from harness.artefacts.reading import read_json

        BagOfWords.load(loaded(tensors), read_json(values)).scores(["the sea and a reef"])

    return Target("words", [values, tensors], read)


def _parts(folder: Path) -> Target:
    parts = Parts(folder)
    stored = Stored(tensors={"weight": torch.ones(2, 3)}, values={"a": [1]}, each={"f": [1, 2]})
    parts.put(0, "ssv", stored)
    return Target("parts", [parts.path(0, "ssv")], lambda: parts.get(0, "ssv"))


def _autoencoder(folder: Path, name: str) -> Target:
    folder.mkdir(parents=True)
    shapes = {"W_enc": (WIDTH, SAE), "W_dec": (SAE, WIDTH), "b_enc": (SAE,), "b_dec": (WIDTH,)}
    made = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
    if name.endswith(".npz"):
        np.savez_compressed(folder / name, **made)
    else:
        save_file({key: torch.from_numpy(own) for key, own in made.items()}, folder / name)
    config = {"architecture": "standard", "apply_b_dec_to_input": True, "d_in": WIDTH}
    (folder / "cfg.json").write_text(json.dumps(config))
    load = autoencoder.load.__wrapped__  # without its cache
    return Target(name, [folder / name, folder / "cfg.json"], lambda: load(str(folder), "", ""))


SHELL = Shell("tiny", None, None, WIDTH, "float32", ("layers.0", "layers.1"), 1, False)


def _steer_file(folder: Path) -> Target:
    folder.mkdir(parents=True)
    path = folder / "steer.pt"
    entry = {"steering_vector": torch.ones(WIDTH), "steering_coefficient": 3.0, "action": "clamp"}
    torch.save({"layers.1": entry | {"bias": torch.ones(WIDTH), "head_index": None}}, path)
    options = Options(source=str(path), out=folder / "out")
    return Target("steer file", [path], lambda: steer_file.read(path, options, SHELL))


def _published(folder: Path) -> Target:
    train, inference = folder / "train", folder / "inference"
    for place in (train, inference):
        place.mkdir(parents=True)
    (train / "config.json").write_text(json.dumps({"model_name": "tiny", "layer": 1}))
    torch.save(torch.ones(2, WIDTH), train / "DiffMean_weight.pt")
    torch.save(torch.ones(2), train / "DiffMean_bias.pt")
    rows = [
        {"concept_id": c, "concept": str(c), "ref": "r", "concept_genres_map": {str(c): ["text"]}}
        for c in range(2)
    ]
    (train / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (train / "acts.json").write_text(json.dumps({"max_act": {"0": 12.5, "1": -3.0}}))
    table = pa.table({"concept_id": [0, 1], "DiffMean_max_act": [3.0, 7.0]})
    parquet.write_table(table, inference / "latent_eval_data.parquet")
    options = Options(source=str(folder), out=folder / "out")

    def read() -> None:
        published.model_of(folder)
        published.read(folder, options)
        published._largest(inference / "latent_eval_data.parquet", "DiffMean_max_act")
        load_pt(train / "DiffMean_bias.pt")

    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return Target("published", files, read)


def _control_vector(folder: Path) -> Target:
    folder.mkdir(parents=True)
    path = folder / "calm.gguf"
    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_array("tags", ["a", "bc"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_tensor("direction.1", np.ones(WIDTH, np.float32))
    packed = gguf.quants.quantize(np.ones(32, np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("direction.2", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    options = Options(source=str(path), out=folder / "out", layer=2)
    return Target("control vector", [path], lambda: control_vector.read(path, options))


def _runs(folder: Path) -> list[Target]:
    folder.mkdir(parents=True)
    date = "2026-01-02T10-00-00.000000"
    ratings = {"concept": 1, "relatedness": 2, "fluency": 0}
    items: dict[str, list[Any]] = {
        "axbench_detect": [
            {"concept_id": 0, "category": kind, "score": score}
            for kind, score in (("positive", 2.0), ("negative", -1.0), ("hard negative", 0.5))
        ],
        "axbench_steer": [
            {"concept_id": 0, "factor": 0.4, "split": split} | ratings
            for split in ("select", "test")
        ],
    }
    counts = {task: {"original": len(own), "effective": len(own)} for task, own in items.items()}
    document = {
        "results": {
            "axbench_detect": {"auroc,none": 1},
            "axbench_steer": {"overall_score,none": 1},
        },
        "configs": {task: {"metadata": {"data_sha256": "ab", "judge": {}}} for task in items},
        "n-samples": counts,
        "config": {"model": "hf-steered", "model_args": {"pretrained": "tiny"}, "method": "pca"},
        "date": 1.0,
    }
    results = folder / f"results_{date}.json"
    results.write_text(json.dumps(document))
    samples = []
    for task, own in items.items():
        key = "auroc" if task == "axbench_detect" else "overall_score"
        common = {"resps": [["a"]], "filtered_resps": ["a"], "filter": "none", "metrics": [key]}
        rows = [{"doc": {"concept_id": 0, "concept": "the sea"}} | common | {key: i} for i in own]
        samples.append(folder / f"samples_{task}_{date}.jsonl")
        samples[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))

    def earlier() -> None:
        baseline.scores(str(samples[1]), {0: "the sea"}, suppressed=False)

    return [
        Target("samples", samples, lambda: read_runs([folder])),
        Target("baseline", [samples[1]], earlier),
    ]


def _generated(folder: Path) -> Target:
    folder.mkdir(parents=True)
    counts = dict.fromkeys(("train_positive", "eval_positive", "eval_negative"), 1)
    named = {"concept_id": 0, "concept": "sea", "genre": "text", "eval_hard_negative": 0} | counts
    facts = {"concepts": [named], "training_negatives": {"text": 1}, "costs": COSTS}
    facts |= {"dropped_concepts": [], "missing_rows": []}
    (folder / "rows.txt").write_text("a")
    write_manifest(folder, generated.FORMAT, {"seed": 1}, facts, ())

    def read() -> None:
        made = generated.kept(folder, {"seed": 1})
        assert made is not None
        generated.summary(made)
        generated.tables(made)

    return Target("generated data", [folder / "generation.json"], read)


def _seeds(folder: Path) -> list[Target]:
    folder.mkdir(parents=True)
    rows = [{"concept": "the sea", "concept_id": 3, "ref": "x/1", "genre": "text"}]
    asked = [{"instruction": f"Describe {k}.", "genre": "code"} for k in range(3)]
    found = []
    for name, read in (
        ("c", seeds.read_concepts),
        ("i", lambda p: seeds.read_instructions(str(p))),
    ):
        table = rows if name == "c" else asked
        plain = folder / f"{name}.jsonl"
        plain.write_text("".join(json.dumps(row) + "\n" for row in table))
        packed = folder / f"{name}.parquet"
        parquet.write_table(pa.Table.from_pylist(table), packed)
        found += [
            Target(f"seeds {path.name}", [path], lambda read=read, path=path: read(path))
            for path in (plain, packed)
        ]
    lines = folder / "c.txt"
    lines.write_text("the sea\nbaking bread\n")
    return [*found, Target("seeds c.txt", [lines], lambda: seeds.read_concepts(lines))]


def _concept_data(folder: Path, ext: str) -> Target:
    from axbench.conftest import write_data

    write_data(folder, each=2, instructions=11)
    files = []
    for stem in ("train_data", "latent_eval_data", "alpaca_eval"):
        lines = folder / f"{stem}.jsonl"
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        path = folder / f"{stem}.{ext}"
        if ext != "jsonl":
            lines.unlink()
        if ext == "json":
            path.write_text(json.dumps(rows))
        elif ext == "csv":
            pa.csv.write_csv(pa.Table.from_pylist(rows), path)
        elif ext == "parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        files.append(path)

    def read() -> None:
        found = data.load(run_options({"axbench_data": str(folder)}))
        pool = data.instructions("", found.source)
        data.drawn_instructions(pool, found.concepts[0])
        assert found.sha256

    return Target(f"concept data {ext}", [*files, folder / "metadata.jsonl"], read)
