"""LoRA: against peft and a plain loop; row by row; no trace left in the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.activations.corpus import Library
from harness_axbench.activations.reader import Reader
from harness_axbench.data.concepts import ConceptData, load
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.methods import editor_for
from harness_axbench.methods.base import Lesson
from harness_axbench.methods.lora import Lora, LoraSettings, targets
from harness_axbench.options import run_options
from harness_axbench.steering.plan import make_plan
from lm_eval.api.instance import Instance
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    get_linear_schedule_with_warmup,
)

from axbench.loader import loader_orders
from axbench.passes import steered_passes
from harness import Place, compose
from harness.errors import ArtefactError, HarnessError

SteeredHF = compose("hf-steered")

SETTINGS = LoraSettings(batch_size=4, epochs=2, dropout=0.0, layers="0,2", lr=0.01)
NAMES = [f"model.layers.{layer}.self_attn.o_proj" for layer in (0, 2)]
IDS = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 10, 11, 12], [1, 13, 14, 15, 16], [1, 17, 18, 19, 20]])


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    return load(run_options({"axbench_data": str(data_folder)}))


def fresh(llama: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()


@pytest.fixture
def library(llama: str, found: ConceptData) -> Library:
    return Library(Reader(fresh(llama), AutoTokenizer.from_pretrained(llama), layer=1), found)


def lesson(library: Library, concepts: Any, settings: Any = SETTINGS) -> Lesson:
    return Lesson(
        data=library.data,
        concepts=concepts,
        corpus=library.corpus(concepts),
        settings=settings,
        hidden_size=32,
        seed=9,
    )


def plain_peft(model: Any, a: Any = None, b: Any = None) -> Any:
    """peft's own adapters, with these weights of the layers."""
    config = LoraConfig(r=4, lora_alpha=32, use_rslora=True, lora_dropout=0.0, target_modules=NAMES)
    wrapped = get_peft_model(model, config).eval()
    for place, name in enumerate(NAMES if a is not None else ()):
        layer = wrapped.base_model.model.get_submodule(name)
        layer.lora_A["default"].weight.data.copy_(a[place])
        layer.lora_B["default"].weight.data.copy_(b[place])
    return wrapped


def test_training_is_a_plain_loop_with_peft(library: Library, llama: str, found: Any) -> None:
    """Batches of 4, 2 a step, linear decay, no clipping; the loss is transformers' own."""
    concept = found.concepts[1]
    stored = Lora.train(lesson(library, (concept,)))
    torch.manual_seed(9)
    wrapped = plain_peft(fresh(llama))
    parameters = [own for own in wrapped.parameters() if own.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, 2 * 2)
    rows = [library.reader.encode_exchange(row) for row in found.positives(concept)]
    for order in loader_orders(len(rows), 2, 9):
        for chosen in (order[:8], order[8:]):
            batches = [chosen[k : k + 4] for k in range(0, len(chosen), 4)]
            for batch in batches:
                nats, count = 0, 0
                for ids, before in (rows[i] for i in batch):
                    labels = torch.tensor([[-100] * before + ids[before:]])
                    own = wrapped(input_ids=torch.tensor([ids]), labels=labels).loss
                    nats, count = nats + own * (len(ids) - before), count + len(ids) - before
                (nats / count / len(batches)).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    for place, name in enumerate(NAMES):
        layer = wrapped.base_model.model.get_submodule(name)
        for key, own in (("a", layer.lora_A), ("b", layer.lora_B)):
            expected = own["default"].weight.detach()
            torch.testing.assert_close(
                stored.tensors[key][0, place], expected, atol=1e-5, rtol=1e-3
            )
    assert float(stored.tensors["b"].abs().max()) > 0.005
    assert stored.facts == {"targets": NAMES, "scaling": 16.0}


def test_no_trace_is_left(library: Library, found: ConceptData) -> None:
    model: Any = library.reader.model
    model.model.embed_tokens.weight.requires_grad_(False)
    before = {name: type(module) for name, module in model.named_modules()}
    needed = [own.requires_grad for own in model.parameters()]
    attributes, random = set(model.__dict__), torch.get_rng_state()
    with torch.no_grad():
        logits = model(IDS).logits
    Lora.train(lesson(library, found.concepts[:2], LoraSettings(epochs=1)))
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, logits)
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert [own.requires_grad for own in model.parameters()] == needed
    assert set(model.__dict__) == attributes
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training


def test_the_company_does_not_matter(library: Library, found: ConceptData) -> None:
    """With dropout, which draws from the seed too."""
    settings = LoraSettings(epochs=1, batch_size=5)
    together = Lora.train(lesson(library, found.concepts, settings))
    assert together.tensors["a"].shape == (3, 3, 4, 32)
    assert together.tensors["b"].shape == (3, 3, 32, 4)
    for place, concept in enumerate(found.concepts):
        alone = Lora.train(lesson(library, (concept,), settings))
        torch.testing.assert_close(together.tensors["b"][place], alone.tensors["b"][0])
    assert not torch.equal(together.tensors["b"][0], together.tensors["b"][1])


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory, make_dictionary: Callable[..., Path]) -> Path:
    settings = {"lora": {"epochs": "4", "lr": "0.02", "layers": "0,2"}}
    return make_dictionary(
        tmp_path_factory.mktemp("lora") / "d", methods=("lora",), settings=settings, shard_size=2
    )


def test_each_row_has_its_own_adapter(llama: str, lora: Path) -> None:
    """Against peft's forward pass with each concept's adapter, on one model after another."""
    plan, model = make_plan(str(lora), "lora", None, None), fresh(llama)
    tensors = plan.found.tensors("lora")
    rows = [plan.steering(2, None), None, plan.steering(0, None), plan.steering(1, None)]
    editor = editor_for(model, plan)
    with torch.no_grad():
        plain = model(IDS).logits
        places = [Place(0, IDS.shape[1])] * len(rows)
        with editor.under(rows, places):
            steered = model(IDS).logits
            with pytest.raises(HarnessError, match="lora was set up for 4 rows, the batch has 3"):
                model(IDS[:3])
        with steered_passes(model, editor, rows, [IDS.shape[1]] * len(rows)):
            twice = model(IDS.repeat_interleave(2, 0)).logits[::2]
        with editor.under([rows[0]], None):
            alike = model(IDS).logits
        assert torch.equal(model(IDS).logits, plain)
        for at, row in enumerate(rows):
            expected = plain
            if row is not None:
                own = tensors["a"][row.place], tensors["b"][row.place]
                expected = plain_peft(fresh(llama), *own)(IDS).logits
                assert float((expected - plain).abs().max()) > 0.01
            torch.testing.assert_close(steered[at], expected[at], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(twice, steered, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alike[0], steered[0], atol=1e-4, rtol=1e-4)


def test_generation_in_mixed_batches(llama: str, lora: Path) -> None:
    def answers(size: int) -> list[str]:
        options = {"device": "cpu", "dtype": "float32", "batch_size": size}
        lm = SteeredHF(llama, steering=str(lora), method="lora", **options)
        return lm.generate_until(asked)

    kwargs = {"until": [], "max_gen_toks": 8, "do_sample": False}
    asked = [
        Instance("generate_until", {"concept_id": c}, (text, kwargs), 0, ("axbench_steer", 0, 1))
        for c in range(3)
        for text in ("the old", "a very small green house near")
    ]
    assert answers(6) == answers(1)
    assert len(set(answers(6))) > 3


def test_it_learns_its_positives(library: Library, found: ConceptData, lora: Path) -> None:
    from harness_axbench.methods.fine_tuning import response_nats

    corpus = library.corpus(found.concepts)
    plan = make_plan(str(lora), "lora", None, None)
    model = library.reader.model
    editor = editor_for(model, plan)
    batch = corpus.batch(corpus.positive[1])
    with torch.no_grad():
        plain = response_nats(model, batch)
        with editor.under([plan.steering(1, None)], None):
            steered = response_nats(model, batch)
    assert float(steered.sum()) < 0.9 * float(plain.sum())


def test_what_cannot_be_done(llama: str, lora: Path, tmp_path: Path) -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50))
    with pytest.raises(HarnessError, match="block 1 of GPT2LMHeadModel has 0 linear layers 'o_pr"):
        targets(gpt2, [1], "o_proj")
    with pytest.raises(HarnessError, match=r"set lora\.target=NAME among: none, its projections"):
        targets(gpt2, [1], "c_proj")
    config = GPTNeoXConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=9)
    neox = GPTNeoXForCausalLM(config)
    with pytest.raises(HarnessError, match=r"among: attention\.query_key_value, attention\.dense"):
        targets(neox, [0], "o_proj")
    assert targets(neox, [0, 1], "dense") == [
        f"gpt_neox.layers.{layer}.attention.dense" for layer in (0, 1)
    ]
    with pytest.raises(HarnessError, match=r"setting dropout=1\.0 is not below 1"):
        LoraSettings(dropout=1.0)
    plan = make_plan(str(lora), "lora", None, None)
    with pytest.raises(ArtefactError, match="hidden size"):
        editor_for(neox, plan)
    narrow = fresh(llama)
    narrow.model.layers[2].self_attn.o_proj = torch.nn.Linear(32, 16)
    with pytest.raises(ArtefactError, match=r"lora adds a matrix \[32, 32\] for each of 3"):
        editor_for(narrow, plan)
    with pytest.raises(HarnessError, match="lora has no directions"):
        make_plan(str(lora), "lora", None, None, intervention="clamp")
    with pytest.raises(ArtefactError, match="has no vectors"):
        dictionary.read(lora).weight("lora")
