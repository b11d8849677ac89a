"""The papers' repositories under their names, in their layouts and columns, made from the testbed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hub.server import Hub

from harness.testbed import model_path
from harness.testbed.english import corpus
from harness.testbed.english.answers import prompts

ACCEPTED, REFUSED = "hf_acceptedByTheAuthors1", "hf_notAcceptedByAnybody2"
"""Tokens of an account that may read what is gated, and of one that may not."""

AGGREFACT = "lytang/LLM-AggreFact"
CONCEPT10, CONCEPT500 = "pyvene/axbench-concept10", "pyvene/axbench-concept500"
ALPACA_EVAL = "tatsu-lab/alpaca_eval"
ULTRACHAT = "HuggingFaceH4/ultrachat_200k"
MUSIQUE = "dgslibisey/MuSiQue"
D2C = "lytang/C2D-and-D2C-MiniCheck"
CHECKER = "yaxili96/FactCG-DeBERTa-v3-Large"
TEACHER, STUDENT, ADAPTER = "testbed/teacher", "testbed/student", "testbed/student-lora"
DICTIONARY = "pyvene/gemma-reft-r1-2b-it-res"
SUITE, SUITE_ROWS = "testbed/suite", "testbed/suite-rows"
SPEC_BENCH = "question.jsonl"

Row = Mapping[str, Any]


def parquet(rows: Iterable[Row]) -> bytes:
    """A table as parquet."""
    import pyarrow as pa
    import pyarrow.parquet

    held = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), held)
    return held.getvalue()


def lines(rows: Iterable[Row]) -> bytes:
    """A table as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def card(**splits: str) -> bytes:
    """A data set's card, which names each split's files."""
    named = "".join(f"  - split: {name}\n    path: {path}\n" for name, path in splits.items())
    head = f"configs:\n- config_name: default\n  data_files:\n{named}" if splits else ""
    return f"---\nlicense: mit\n{head}---\n# A data set\n".encode()


def split_files(**splits: Iterable[Row]) -> dict[str, bytes]:
    """A data set as ``push_to_hub`` lays it out."""
    files = {f"data/{name}-00000-of-00001.parquet": parquet(rows) for name, rows in splits.items()}
    return files | {"README.md": card(**{name: f"data/{name}-*" for name in splits})}


def files_of(folder: Path) -> dict[str, bytes]:
    """A folder's files by their paths."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def concepts(*numbers: int) -> dict[str, bytes]:
    """AxBench's two tables, of some concepts of the testbed."""
    kept = (*numbers, -1)
    return {
        f"{part}/data.parquet": parquet(row for row in rows if row["concept_id"] in kept)
        for part, rows in (("train", corpus.concept_train()), ("test", corpus.concept_eval()))
    }


def exchanges(start: int, count: int) -> list[Row]:
    """Rows of UltraChat: a prompt, its id, and messages."""
    texts = corpus.language_model_texts(6 * (start + count), 7)
    own = [(asked, said) for kind, asked, said in texts if kind == "instruct"]
    return [
        {
            "prompt": asked,
            "prompt_id": f"{number:064x}",
            "messages": [
                {"content": asked, "role": "user"},
                {"content": said, "role": "assistant"},
            ],
        }
        for number, (asked, said) in enumerate(own[start : start + count], start)
    ]


def spec_bench() -> list[Row]:
    """Rows of Spec-Bench's file."""
    asked = [row["instruction"] for row in corpus.instructions()]
    kinds = ("writing", "math", "translation", "summarization")
    return [
        {"question_id": 81 + n, "category": kinds[n % 4], "turns": asked[2 * n : 2 * n + 2]}
        for n in range(8)
    ]


def dictionary(
    width: int, concepts_named: Sequence[str], layers: Sequence[int]
) -> dict[str, bytes]:
    """Vectors as the AxBench project publishes them, a folder a layer."""
    import torch

    files: dict[str, bytes] = {"README.md": b"# Vectors\n"}
    for layer in layers:
        torch.manual_seed(layer)
        weight = torch.nn.functional.normalize(torch.randn(len(concepts_named), width), dim=-1)
        for name, tensor in (("weight", weight), ("bias", torch.zeros(len(concepts_named)))):
            held = io.BytesIO()
            torch.save(tensor, held)
            files[f"l{layer}/{name}.pt"] = held.getvalue()
        named = [
            {"concept_id": n, "concept": text, "ref": "", "concept_genres_map": {text: ["text"]}}
            for n, text in enumerate(concepts_named)
        ]
        files[f"l{layer}/metadata.jsonl"] = lines(named)
        acts = {str(n): 10.0 + n for n in range(len(concepts_named))}
        files[f"l{layer}/acts.json"] = json.dumps({"max_act": acts}).encode()
    return files


def sharded(name: str, folder: Path) -> dict[str, bytes]:
    """A model of the testbed in shards, as large models are published."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = str(model_path(name))
    model = AutoModelForCausalLM.from_pretrained(place, dtype="auto")
    model.save_pretrained(folder, max_shard_size="1MB")
    AutoTokenizer.from_pretrained(place).save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").is_file()
    return files_of(folder)


def adapter(base: str, folder: Path) -> dict[str, bytes]:
    """An adapter of the testbed's student that changes its answers, and names its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(str(model_path("student")))
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder)
    saved = folder / "adapter_config.json"
    named = json.loads(saved.read_text()) | {"base_model_name_or_path": base}
    saved.write_text(json.dumps(named))
    return files_of(folder)


def fill_data(hub: Hub) -> None:
    """Put the papers' data sets onto a hub."""
    both = {split: corpus.claims(split) for split in ("dev", "test")}
    wice = {split: [r for r in rows if r["dataset"] == "Wice"] for split, rows in both.items()}
    hub.add("datasets", AGGREFACT, split_files(**wice), readers=frozenset({ACCEPTED}))
    tables = {f"2b/l10/{path}": held for path, held in concepts(0, 5).items()}
    others = {f"2b/l20/{path}": held for path, held in concepts(1).items()}
    hub.add("datasets", CONCEPT10, {"README.md": card(), **tables, **others})
    many = {f"9b/l31/{path}": held for path, held in concepts(*range(16)).items()}
    hub.add("datasets", CONCEPT500, {"README.md": card(), **many})
    told = [{**row, "output": "", "generator": "text_davinci_003"} for row in corpus.instructions()]
    hub.add(
        "datasets",
        ALPACA_EVAL,
        {"README.md": card(), "alpaca_eval.json": json.dumps(told).encode()},
    )
    chats = {"train_sft": exchanges(0, 24), "test_sft": exchanges(24, 8)}
    hub.add("datasets", ULTRACHAT, split_files(**chats, train_gen=chats["test_sft"]))
    _fill_factcg(hub)
    _fill_instructions(hub)
    hub.elsewhere[SPEC_BENCH] = lines(spec_bench())


def _fill_factcg(hub: Hub) -> None:
    from harness.testbed.english import chains
    from harness.testbed.english.questions import questions

    asked = [
        row | {"id": f"3hop1__{number}", "answerable": True}
        for number, row in enumerate(questions(12, 5))
    ]
    parts = {"train": asked, "dev": asked[:2]}
    hub.add(
        "datasets",
        MUSIQUE,
        {f"musique_ans_v1.0_{part}.jsonl": lines(rows) for part, rows in parts.items()},
    )
    texts = list(chains.documents(12, 5))
    rows = [{"doc": text, "claim": "It is so.", "label": 1} for text in texts]
    hub.add("datasets", D2C, split_files(c2d=rows[:2], d2c=rows))


def _fill_instructions(hub: Hub) -> None:
    asked = {
        genre: [ask for ask, _ in prompts(genre, "train")] for genre in ("text", "code", "math")
    }
    dolly = [
        {"instruction": a, "context": "", "response": "", "category": ""} for a in asked["text"]
    ]
    hub.add(
        "datasets",
        "databricks/databricks-dolly-15k",
        {"README.md": card(), "databricks-dolly-15k.jsonl": lines(dolly)},
    )
    code = [{"instruction": a, "input": "", "output": "", "prompt": a} for a in asked["code"]]
    hub.add("datasets", "iamtarun/python_code_instructions_18k_alpaca", split_files(train=code))
    maths = parquet({"question": a, "answer": ""} for a in asked["math"])
    about = (
        b"---\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n"
        b"    path: main/train-*\n- config_name: socratic\n  data_files:\n  - split: train\n"
        b"    path: socratic/train-*\n---\n"
    )
    files = {f"{name}/train-00000-of-00001.parquet": maths for name in ("main", "socratic")}
    hub.add("datasets", "openai/gsm8k", {"README.md": about, **files})


def fill_suites(hub: Hub, folder: Path) -> None:
    """Put a suite onto a hub: as its folder was uploaded, and as a data set of its rows."""
    from harness_astral.generation.generate import generate
    from harness_astral.generation.options import Options

    from harness.asking.desk import writer_spec

    writer = writer_spec("testbed-writer")
    made = generate(
        Options(out=folder, generator=writer, seeds="testbed", strength="1", replicates=1)
    )
    hub.add("datasets", SUITE, files_of(folder))
    hub.add("datasets", SUITE_ROWS, split_files(test=[one.as_row() for one in made.inputs]))


def fill_models(hub: Hub, folder: Path) -> None:
    """Put models, an adapter and a dictionary onto a hub."""
    hub.add("models", TEACHER, sharded("teacher", folder / "teacher"))
    hub.add("models", STUDENT, files_of(model_path("student")))
    hub.add("models", CHECKER, files_of(model_path("checker")))
    hub.add("models", ADAPTER, adapter(STUDENT, folder / "adapter"))
    named = [str(row["concept"]) for row in corpus.concept_metadata()[:3]]
    width = json.loads((model_path("teacher") / "config.json").read_text())["hidden_size"]
    hub.add("models", DICTIONARY, dictionary(width, named, (1, 2)))
