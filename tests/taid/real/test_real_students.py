"""SmolLM2 as a teacher: a student of half of its blocks learns, and is a checkpoint like any other.

Real weights, bfloat16; the texts are the testbed's.
"""

from __future__ import annotations

import json

import pytest
import torch
from harness_taid.network.pruning import pruned
from harness_taid.training import distill
from harness_taid.training.options import Options
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.testbed import resolve

pytestmark = pytest.mark.real
TEACHER = "testbed:smollm2"


def test_a_student_of_all_blocks_is_the_teacher():
    whole = AutoModelForCausalLM.from_pretrained(resolve(TEACHER)).eval()
    student, tokenizer = pruned("layers:0-29", TEACHER, "main")
    ids = tokenizer("The tide comes in twice a day.", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.equal(student.eval()(ids).logits, whole(ids).logits)


def test_a_student_of_half_of_the_blocks_learns(tmp_path):
    """The loss falls; the result opens in transformers and answers."""
    made = distill.distill(
        Options(
            out=tmp_path / "student",
            teacher=TEACHER,
            student="layers:0-28/2",
            data="testbed",
            rows=8,
            objective="fkl",
            steps=3,
            batch_size=8,
            device_batch_size=8,
            rate=3e-4,
            dev_rows=0,
            dtype="bfloat16",
            device="cpu",
        )
    )
    lines = (made.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert len(losses) == 3 and losses[2] < losses[0] - 1
    model, told = AutoModelForCausalLM.from_pretrained(made.folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert model.config.num_hidden_layers == 15 and model.num_parameters() == 81_413_568
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert made.manifest["teacher"]["parameters"] == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Tell me about the sea."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**asked, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] == asked["input_ids"].shape[1] + 4
