"""What a distillation starts from and reports to: adapters as teachers, trackers that are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import accelerate.tracking
import pytest
import torch
from harness_taid.network.students import load_student
from harness_taid.training import capture, cast, distill
from harness_taid.training.options import CaptureOptions
from harness_taid.training.tracking import TRACKERS, begin_tracking
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from harness.errors import ArtefactError, HarnessError
from taid import tiny

pytestmark = pytest.mark.long


@pytest.fixture
def base(tmp_path, models, data):
    return tiny.options(tmp_path, models, data, steps=2)


@pytest.fixture(scope="module")
def adapter(models, tmp_path_factory):
    """Folders of an adapter of the tiny teacher, and of the two as one model."""
    folder = tmp_path_factory.mktemp("adapted")
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(models[0])
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder / "adapter")
    whole = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(models[0]), folder / "adapter"
    ).merge_and_unload()
    whole.save_pretrained(folder / "whole")
    tiny.tokenizer().save_pretrained(folder / "whole")
    return str(folder / "adapter"), str(folder / "whole")


def test_an_adapter_teaches_with_its_base(base, models, adapter, tmp_path):
    """The curve is that of the merged model, and another than the base's."""
    curves = []
    for name, teacher in (("a", adapter[0]), ("b", adapter[1]), ("c", models[0])):
        made = distill.distill(replace(base, teacher=teacher, out=tmp_path / name))
        curves.append([line["loss"] for line in tiny.lines(made.folder) if "loss" in line])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)
    assert curves[0] != pytest.approx(curves[2], rel=1e-3)
    recipe = json.loads((tmp_path / "a" / "distillation.json").read_text())["recipe"]
    assert len(recipe["teacher_sha256"]) == 64
    options = CaptureOptions(
        out=tmp_path / "kept", teacher=adapter[0], data=base.data, top_k=2, device="cpu"
    )
    assert capture.capture(options).manifest["recipe"]["teacher_sha256"] == recipe["teacher_sha256"]


def test_an_adapter_is_no_student(base, models, adapter):
    with pytest.raises(HarnessError, match=rf"is an adapter of {models[0]}, no whole model; merge"):
        distill.distill(replace(base, student=adapter[0]))


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_loaded(
    base, monkeypatch, name
):
    monkeypatch.setattr(cast, "open_causal", lambda *a, **k: pytest.fail("teacher loaded"))
    monkeypatch.setattr("harness_taid.training.tracking._installed", lambda distribution: False)
    (base.out.parent / name).mkdir(exist_ok=True)  # a folder of that name is no package
    monkeypatch.syspath_prepend(base.out.parent)
    with pytest.raises(HarnessError, match=rf"^--track {name}: .* is not installed; install it"):
        distill.distill(replace(base, track=(name,)))


def test_the_trackers_are_accelerates():
    assert set(TRACKERS) == set(accelerate.tracking.LOGGER_TYPE_TO_CLASS)


@pytest.mark.filterwarnings("ignore:`log_with=")
def test_a_tracker_that_does_not_begin_is_one_line(base, monkeypatch):
    """Trackers that write to a folder get one beside the result."""
    monkeypatch.setattr("harness_taid.training.tracking._installed", lambda distribution: True)
    with pytest.raises(HarnessError, match="--track wandb: accelerate does not find it"):
        distill.distill(replace(base, track=("wandb",)))
    there = [accelerate.utils.LoggerType.TENSORBOARD]
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", there)
    with pytest.raises(HarnessError, match="--track tensorboard cannot begin: No module named"):
        distill.distill(replace(base, track=("tensorboard",)))
    assert not base.out.exists()


def test_all_trackers_or_none():
    class Accelerator:
        log_with = ("wandb",)

    with pytest.raises(HarnessError, match="--track trackio: accelerate does not find it"):
        begin_tracking(("wandb", "trackio"), Accelerator(), {})


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"vocab_size": 10**9}, "vocab_size 1000000000, and its tokenizer has 2048 tokens"),
        ({"intermediate_size": 10**12}, "intermediate_size 1000000000000"),
        ({"num_attention_heads": 1, "num_key_value_heads": 4}, "num_key_value_heads 4"),
    ],
)
def test_a_configuration_of_gigabytes_gives_no_form(models, sizes, words):
    """Random weights take their sizes from a configuration that may be a stranger's."""
    config = AutoConfig.from_pretrained(models[0])
    for name, size in sizes.items():
        setattr(config, name, size)
    with pytest.raises(ArtefactError, match=words):
        load_student(
            "scratch:1x32", revision="main", seed=0, lora=None, like=(config, tiny.tokenizer())
        )


def test_a_models_own_code_is_not_run(base, models, tmp_path):
    folder = Path(tiny.llama(tmp_path / "odd", seed=2))
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "odd"}
    config["auto_map"] = {"AutoConfig": "odd.Config", "AutoModelForCausalLM": "odd.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for changed in ({"student": str(folder)}, {"teacher": str(folder)}):
        with pytest.raises(HarnessError, match="cannot load the checkpoint") as caught:
            distill.distill(replace(base, **changed))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_student_of_the_teachers_blocks_is_distilled_and_told(base, tmp_path, monkeypatch):
    """One choice of blocks has one name; a stopped run goes on; transformers opens the result."""
    options = replace(base, student="layers:1", steps=4, save_every=2)
    whole = distill.distill(replace(options, out=tmp_path / "whole"))
    taken, after = [], distill.Loop._after

    def stop_once(loop, step, line):
        after(loop, step, line)
        taken.append(step)
        if taken == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(distill.Loop, "_after", stop_once)
    with pytest.raises(KeyboardInterrupt):
        distill.distill(options)
    made = distill.distill(replace(options, student="layers:1-1"))
    assert taken == [1, 2, 3, 4]
    assert tiny.lines(whole.folder) == tiny.lines(made.folder)
    model = AutoModelForCausalLM.from_pretrained(made.folder)
    assert model.config.num_hidden_layers == 1
    assert made.manifest["recipe"]["student"] == "layers:1"
    assert made.manifest["student"] == {"name": "layers:1", "parameters": model.num_parameters()}
    assert distill.distill(options).present


def test_a_captured_teacher_gives_its_blocks_too(base, models, data, tmp_path):
    kept = CaptureOptions(
        out=tmp_path / "kept", teacher=models[0], data=data, top_k=0, device="cpu"
    )
    capture.capture(kept)
    options = replace(base, student="layers:0")
    live = distill.distill(replace(options, out=tmp_path / "live"))
    cold = distill.distill(replace(options, out=tmp_path / "cold", teacher_logits=kept.out))
    curves = [
        [line["loss"] for line in tiny.lines(made.folder) if "loss" in line]
        for made in (live, cold)
    ]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_blocks_of_no_teacher_or_of_another_than_captured_are_refused(
    base, models, data, tmp_path, monkeypatch
):
    with pytest.raises(HarnessError, match=r"layers:0 is made of a teacher: give --teacher$"):
        distill.distill(replace(base, student="layers:0", teacher=None, objective="sft"))
    kept = CaptureOptions(out=tmp_path / "kept", teacher=models[0], data=data, device="cpu")
    capture.capture(kept)
    with pytest.raises(HarnessError, match="give --teacher beside --teacher-logits"):
        distill.distill(replace(base, student="layers:0", teacher=None, teacher_logits=kept.out))
    with pytest.raises(HarnessError, match=f"kept was captured from {models[0]}, not from"):
        distill.distill(replace(base, teacher=models[1], teacher_logits=kept.out))
    monkeypatch.setattr(cast, "open_causal", lambda *a, **k: pytest.fail("teacher loaded"))
    with pytest.raises(HarnessError, match="block 2 does not exist: the teacher has 0 … 1"):
        distill.distill(replace(base, student="layers:0,2"))
