"""Every reader of this plugin's files, with whole files to begin with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from harness_taid.data.exchanges import Encoder, Limits
from harness_taid.data.held_out import fidelity_rows
from harness_taid.data.sources import Source
from harness_taid.network.batching import Layout, collate
from harness_taid.network.network import Network
from harness_taid.network.offline_teacher import Capture
from harness_taid.network.students import open_tokenizer
from harness_taid.objectives import build
from harness_taid.report.page import render
from harness_taid.report.reading import read_students
from harness_taid.training import capture, distill
from harness_taid.training.checkpoints import Checkpoints
from harness_taid.training.options import CaptureOptions
from harness_taid.training.provenance import MANIFEST, METRICS, read_distillation
from mangling import Target
from transformers import AutoModelForCausalLM

from harness.artefacts import recipes
from harness.artefacts.checksums import digest
from harness.models.checkpoints import content_of
from taid import tiny


def targets(folder: Path) -> list[Target]:
    """Readers of a student, a capture, checkpoints, tables and an adapter that are made in it."""
    folder.mkdir(parents=True, exist_ok=True)
    teacher = tiny.llama(folder / "teacher", layers=1, hidden=16, seed=1)
    student = tiny.llama(folder / "start", seed=2)
    data = tiny.write_jsonl(folder / "rows.jsonl", tiny.exchanges(12))
    options = tiny.options(
        folder, (teacher, student), data, objective="taid", out=folder / "student", dev_rows=1
    )
    made = distill.distill(options, say=lambda _: None)
    kept = capture.capture(
        CaptureOptions(out=folder / "kept", teacher=teacher, data=data, top_k=3, device="cpu")
    )
    return [
        *_of_a_student(made.folder, made.manifest["recipe"]),
        *_of_a_capture(kept.folder, data),
        *_of_checkpoints(folder, student),
        *_of_tables(folder),
        _of_an_adapter(folder, teacher),
    ]


def _of_a_student(folder: Path, recipe: dict[str, object]) -> list[Target]:
    record, metrics = folder / MANIFEST, folder / METRICS

    def teacher() -> object:
        found = read_distillation(folder)
        return found and (found.teacher, found.arguments)

    return [
        Target("taid report", [record, metrics], lambda: read_students([folder])),
        Target("taid page", [record, metrics], lambda: render(read_students([folder]), [], "t")),
        Target("a record's teacher", [record], teacher),
        Target("a kept student", [record], lambda: recipes.kept(folder, recipe, name=MANIFEST)),
    ]


def _of_a_capture(folder: Path, data: str) -> list[Target]:
    words = tiny.tokenizer()
    items = Encoder(words, words.chat_template, Limits()).encode(Source.of(data).rows(), "r").items
    layout = Layout(device_batch=len(items))

    def read() -> object:
        kept = Capture(folder)
        kept.check(items, "the data")
        return kept.of(collate(items, layout, items[0], 0))

    def behind_digests() -> object:
        """As a stranger would have put them right."""
        files = {path.name: digest(path) for path in shards if path.is_file()}
        record = json.loads(whole) | {"files": files}
        place.write_text(json.dumps(record))
        try:
            return read()
        finally:
            place.write_text(whole)

    place, shards = folder / "capture.json", sorted(folder.glob("shard-*"))
    whole = place.read_text()
    names = ["tokenizer.json", "tokenizer_config.json", "config.json"]
    return [
        Target("a capture", [place, *shards], read),
        Target("shards behind their digests", shards, behind_digests),
        Target("its tokenizer", [folder / n for n in names], lambda: open_tokenizer(str(folder))),
    ]


def _of_checkpoints(folder: Path, student: str) -> list[Target]:
    objective = build("taid", {}, total_steps=4, steps_per_epoch=2)
    network = Network(AutoModelForCausalLM.from_pretrained(student), objective, tiny.VOCABULARY)
    optimiser = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    kept = Checkpoints(folder / "work" / "checkpoints")
    state = {
        "step": 1,
        "content": "c",
        "objective": objective.state_dict(),
        "sampler": {"share": 0.0, "last": None},
        "best": [1, 0.5],
        "lines": [{"step": 1, "loss": 2.0}],
    }
    kept.save(1, network, optimiser, {}, state, best=None)
    files = sorted(kept.place(1).iterdir())

    def checked() -> object:
        step = kept.newest(lambda _: None)
        return None if step is None else behind_digests()

    def behind_digests() -> object:
        return kept.state(1), kept.load(1, network, optimiser)

    return [
        Target("a checkpoint", files, checked),
        Target("a checkpoint behind its digests", files[2:], behind_digests),
    ]


def _of_tables(folder: Path) -> list[Target]:
    words = tiny.tokenizer()
    encoder = Encoder(words, words.chat_template, Limits())
    place = folder / "tables"
    place.mkdir()
    alpaca = {"instruction": "Say it again.", "input": "It is late.", "output": "It is late."}
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    turns = [{"role": "user", "content": "A."}, {"role": "assistant", "content": "B."}]
    rows = [*tiny.exchanges(3), alpaca, {"messages": [system, *turns]}]
    (place / "rows.json").write_text(json.dumps(rows))
    tiny.write_jsonl(place / "rows.jsonl", rows)
    (place / "rows.csv").write_text("prompt,response\nA.,B.\n")

    def reading(path: Path) -> Callable[[], object]:
        def read() -> object:
            found = encoder.encode(Source.of(str(path)).rows(), path.name)
            return found.told(path.name), fidelity_rows(taid_data=str(path))

        return read

    files = sorted(place.iterdir())
    return [Target(f"exchanges of {path.name}", [path], reading(path)) for path in files]


def _of_an_adapter(folder: Path, base: str) -> Target:
    place = folder / "adapter"
    place.mkdir()
    path = place / "adapter_config.json"
    path.write_text(json.dumps({"base_model_name_or_path": base, "peft_type": "LORA"}))
    return Target("an adapter", [path], lambda: content_of(str(place)))
