"""A tiny random model, a small concept data set, and a dictionary trained on both."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import harness._autoload  # noqa: F401 -- lm-eval must be imported after it

ROOT = Path(__file__).parents[2]
YAMLS = ROOT / "task_yamls" / "axbench"
SPECIAL = ("<pad>", "<s>", "</s>", "<user>", "<model>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<user>' if m['role'] == 'user' else '<model>' }}\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<model>\n{% endif %}"
)
WORDS = {
    0: ("ocean", "reef", "tide", "whale", "shore"),
    1: ("oven", "bread", "flour", "yeast", "crust"),
    2: ("loop", "array", "class", "string", "return"),
}
GENRES = {0: "text", 1: "text", 2: "code"}
TEXTS = {0: "the sea", 1: "baking bread", 2: "programming constructs"}
PLAIN = ("a", "the", "small", "house", "door", "we", "see", "green", "old", "very", "near", "and")


def _row(rng: random.Random, concept: int | None, category: str, genre: str, number: int) -> Any:
    words = [rng.choice(PLAIN) for _ in range(rng.randint(4, 14))]
    if concept is not None:
        words[rng.randrange(len(words))] = rng.choice(WORDS[concept])
        words.insert(0, rng.choice(WORDS[concept]))
    asked = " ".join(rng.choice(PLAIN) for _ in range(rng.randint(2, 6)))
    return {
        "input": f"Tell me of {asked}.",
        "output": " ".join(words) + ".",
        "output_concept": TEXTS[concept] if concept is not None else "EEEEE",
        "concept_genre": genre,
        "category": category,
        "dataset_category": "instruction",
        "concept_id": number,
    }


def write_data(folder: Path, *, each: int = 12, instructions: int = 30) -> Path:
    """AxBench's files as JSON lines: three concepts in two genres."""
    rng = random.Random(5)
    folder.mkdir(parents=True, exist_ok=True)
    train_rows = [_row(rng, c, "positive", GENRES[c], c) for c in WORDS for _ in range(each)]
    for genre in ("text", "code"):
        train_rows += [_row(rng, None, "negative", genre, -1) for _ in range(each)]
    rows = []
    for c in WORDS:
        rows += [_row(rng, c, "positive", GENRES[c], c) for _ in range(6)]
        rows += [_row(rng, None, "negative", GENRES[c], c) for _ in range(6)]
        rows += [_row(rng, (c + 1) % 3, "hard negative", GENRES[c], c) for _ in range(2)]
    named = [{"concept_id": c, "concept": TEXTS[c]} for c in WORDS]
    pool = [{"instruction": f"Describe {rng.choice(PLAIN)} {k}."} for k in range(instructions)]
    tables = {"train_data": train_rows, "latent_eval_data": rows, "metadata": named}
    for stem, table in (tables | {"alpaca_eval": pool}).items():
        text = "".join(json.dumps(row) + "\n" for row in table)
        (folder / f"{stem}.jsonl").write_text(text)
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([" ".join(PLAIN + w) for w in WORDS.values()], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


def make_llama(folder: Path, tokenizer: Any, *, hidden: int = 32, seed: int = 3) -> str:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=hidden,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.4,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> str:
    """A base model: no chat template."""
    return make_llama(tmp_path_factory.mktemp("llama"), tokenizer)


@pytest.fixture(scope="session")
def chat_llama(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> str:
    """The same weights with a chat template."""
    folder = Path(make_llama(tmp_path_factory.mktemp("chat"), tokenizer))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"chat_template": TEMPLATE})
    )
    return str(folder)


@pytest.fixture(scope="session")
def make_dictionary(llama: str, data_folder: Path) -> Callable[..., Path]:
    """Train a dictionary; keyword arguments override the defaults below."""

    def make(out: Path, **changes: Any) -> Path:
        options = {
            "methods": ("diffmean", "random", "bow"),
            "model": llama,
            "layer": 1,
            "run": run_options({"axbench_data": str(data_folder)}),
            "batch_size": 5,
            "device": "cpu",
            "dtype": "float32",
        } | changes
        return train(Options(out=out, **options)).folder

    return make


@pytest.fixture(scope="session")
def steering(
    tmp_path_factory: pytest.TempPathFactory, make_dictionary: Callable[..., Path]
) -> Path:
    return make_dictionary(tmp_path_factory.mktemp("dictionaries") / "tiny")


@pytest.fixture
def manager() -> Callable[..., TaskManager]:
    """A task manager over this plugin's YAMLs alone, with a run's metadata."""

    def make(**metadata: Any) -> TaskManager:
        return TaskManager(include_path=str(YAMLS), include_defaults=False, metadata=metadata)

    return make
