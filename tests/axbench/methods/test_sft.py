"""SFT: against a plain loop; a file a concept; parameters that go in and come out bit for bit."""

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
from harness_axbench.methods.sft import Sft, SftSettings, WeightsEditor
from harness_axbench.options import run_options
from harness_axbench.steering.plan import make_plan
from harness_axbench.training import shards
from lm_eval.api.instance import Instance
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from axbench.loader import loader_orders
from harness import compose
from harness.errors import ArtefactError, HarnessError

SteeredHF = compose("hf-steered")

SETTINGS = SftSettings(batch_size=4, accumulate=2, epochs=2, lr=1e-3)
IDS = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 10, 11, 12]])


@pytest.fixture(scope="module")
def found(data_folder: Path) -> ConceptData:
    return load(run_options({"axbench_data": str(data_folder)}))


def fresh(llama: str, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(llama, dtype=dtype).eval()


def tuned(llama: str, found: ConceptData, model: Any, settings: SftSettings = SETTINGS) -> Any:
    library = Library(Reader(model, AutoTokenizer.from_pretrained(llama), layer=1), found)
    concepts = found.concepts[1:2]
    lesson = Lesson(
        data=found,
        concepts=concepts,
        corpus=library.corpus(concepts),
        settings=settings,
        hidden_size=32,
        seed=9,
    )
    return Sft.train(lesson).tensors


def test_training_is_a_plain_loop(llama: str, found: ConceptData) -> None:
    """Batches of 4, 2 a step, clipped, linear decay; the loss is transformers' own."""
    model = fresh(llama)
    before = {name: own.clone() for name, own in model.named_parameters()}
    stored = tuned(llama, found, model)
    assert all(torch.equal(own, before[name]) for name, own in model.named_parameters())
    plain = fresh(llama)
    reader = Reader(plain, AutoTokenizer.from_pretrained(llama), layer=1)
    rows = [reader.encode_exchange(row) for row in found.positives(found.concepts[1])]
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, 2 * 2)
    for order in loader_orders(len(rows), 2, 9):
        for chosen in (order[:8], order[8:]):
            batches = [chosen[k : k + 4] for k in range(0, len(chosen), 4)]
            for batch in batches:
                nats, count = 0, 0
                for ids, start in (rows[i] for i in batch):
                    labels = torch.tensor([[-100] * start + ids[start:]])
                    own = plain(input_ids=torch.tensor([ids]), labels=labels).loss
                    nats, count = nats + own * (len(ids) - start), count + len(ids) - start
                (nats / count / len(batches)).backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    for name, own in plain.named_parameters():
        got = stored.get(name, before[name])
        torch.testing.assert_close(
            got - before[name], (own - before[name]).detach(), atol=2e-5, rtol=1e-2
        )
    assert len(stored) > 20


def test_a_copy_in_fp32_is_trained(llama: str, found: ConceptData) -> None:
    """Ten small steps leave their mark on bf16 weights, which each step alone would not."""
    settings = SftSettings(batch_size=12, accumulate=1, epochs=10, lr=2e-4)
    model = fresh(llama, torch.bfloat16)
    stored = tuned(llama, found, model, settings)
    assert {own.dtype for own in stored.values()} == {torch.bfloat16}
    name = "model.layers.0.mlp.down_proj.weight"
    moved = (stored[name] != dict(model.named_parameters())[name]).float().mean()
    assert float(moved) > 0.2


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory, make_dictionary: Callable[..., Path]) -> Path:
    settings = {"sft": {"epochs": "4", "lr": "0.002", "concepts": "2"}}
    folder = tmp_path_factory.mktemp("sft") / "d"
    return make_dictionary(folder, methods=("sft", "diffmean"), settings=settings, shard_size=1)


def test_a_file_a_concept(sft: Path) -> None:
    made = dictionary.read(sft)
    assert sorted(path.name for path in (sft / "sft").iterdir()) == [
        "0.safetensors",
        "1.safetensors",
    ]
    assert list(made.facts("sft")["files"]) == ["0", "1"]
    assert made.facts("sft")["factors"] == []
    assert not list(sft.parent.glob(".d.parts-*"))
    one, other = (made.parameters("sft", concept) for concept in (0, 1))
    assert one.keys() == other.keys()
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])
    with pytest.raises(ArtefactError, match="sft was trained for the concepts 0, 1, not for 2"):
        made.parameters("sft", 2)
    with pytest.raises(ArtefactError, match="sft has a file a concept, and none for all"):
        made.tensors("sft")


def test_what_is_finished_is_not_trained_again(
    sft: Path,
    make_dictionary: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed after the first concept, a rerun trains the second alone and ends alike."""
    settings = {"sft": {"epochs": "4", "lr": "0.002", "concepts": "2"}}
    options = {"methods": ("sft", "diffmean"), "settings": settings}
    trained: list[int] = []
    stock = Sft.train.__func__

    def interrupted(cls: Any, lesson: Lesson) -> Any:
        trained.append(lesson.concepts[0].id)
        if trained == [0, 1]:
            raise KeyboardInterrupt
        return stock(cls, lesson)

    monkeypatch.setattr(Sft, "train", classmethod(interrupted))
    with pytest.raises(KeyboardInterrupt):
        make_dictionary(tmp_path / "d", **options)
    assert not (tmp_path / "d").exists()
    made = dictionary.read(make_dictionary(tmp_path / "d", **options))
    assert trained == [0, 1, 1]
    for concept in (0, 1):
        first = dictionary.read(sft).parameters("sft", concept)
        for name, own in made.parameters("sft", concept).items():
            torch.testing.assert_close(own, first[name], atol=1e-5, rtol=1e-4)
    assert make_dictionary(tmp_path / "d", **options) == tmp_path / "d"
    assert trained == [0, 1, 1]
    (tmp_path / "d" / "sft" / "1.safetensors").write_bytes(b"other")
    with pytest.raises(ArtefactError, match=r"1\.safetensors is damaged or was replaced"):
        make_dictionary(tmp_path / "d", **options)


def test_parameters_go_in_and_come_out(llama: str, sft: Path) -> None:
    model, plan = fresh(llama), make_plan(str(sft), "sft", None, None)
    editor = editor_for(model, plan)
    assert editor.uniform
    before = {name: own.clone() for name, own in model.named_parameters()}
    places = {name: own.data_ptr() for name, own in model.named_parameters()}
    with torch.no_grad():
        plain = model(IDS).logits
        for concept in (0, 1, 0):
            expected = fresh(llama)
            expected.load_state_dict(plan.found.parameters("sft", concept), strict=False)
            row = plan.steering(concept, None)
            with editor.under([row, row], None):
                torch.testing.assert_close(model(IDS).logits, expected(IDS).logits)
        with pytest.raises(RuntimeError, match="in between"), editor.under([row], None):
            raise RuntimeError("in between")
        with editor.under([None, None], None):
            assert torch.equal(model(IDS).logits, plain)
        assert torch.equal(model(IDS).logits, plain)
    assert {name: own.data_ptr() for name, own in model.named_parameters()} == places
    assert all(torch.equal(own, before[name]) for name, own in model.named_parameters())


def test_generation_goes_concept_by_concept(llama: str, sft: Path) -> None:
    kwargs = {"until": [], "max_gen_toks": 8, "do_sample": False}
    texts = ("the old", "a very small green house near")
    options = {"device": "cpu", "dtype": "float32", "batch_size": 4, "steering": str(sft)}
    lm = SteeredHF(llama, method="sft", **options)
    asked = [
        Instance("generate_until", {"concept_id": c}, (text, kwargs), 0, ("axbench_steer", 0, 1))
        for text in texts
        for c in (0, 1)
    ]
    answers = lm.generate_until(asked)
    for concept in (0, 1):
        own = fresh(llama)
        own.load_state_dict(lm.plan.found.parameters("sft", concept), strict=False)
        from lm_eval.models.huggingface import HFLM

        plain = HFLM(own, tokenizer=lm.tokenizer, batch_size=1, device="cpu")
        plain_asked = [
            Instance("generate_until", {}, (text, kwargs), 0, ("plain", 0, 1)) for text in texts
        ]
        assert plain.generate_until(plain_asked) == answers[concept::2]
    beyond = Instance(
        "generate_until", {"concept_id": 2}, ("a", kwargs), 0, ("axbench_steer", 0, 1)
    )
    with pytest.raises(ArtefactError, match=r"not for 2; train more of them with --set sft\.conc"):
        lm.generate_until([beyond])


def test_what_does_not_fit(llama: str, sft: Path) -> None:
    plan, model = make_plan(str(sft), "sft", None, None), fresh(llama)
    rows = [plan.steering(0, None), plan.steering(1, None)]
    editor = WeightsEditor(model, plan)
    with pytest.raises(HarnessError, match="sft steers all rows of a batch alike"):
        editor.under(rows, None)
    model.lm_head = torch.nn.Linear(32, 7, bias=False)
    with pytest.raises(ArtefactError, match=r"sft changes lm_head\.weight, which this model does"):
        WeightsEditor(model, plan).under(rows[:1], None)


def test_units_of_a_shard(found: ConceptData) -> None:
    assert Sft.covered(found.concepts, SftSettings(concepts=2)) == found.concepts[:2]
    assert shards.weights_of(Sft, found.concepts[1]) == "sft.1"
