"""Tests below import what they share, ``judged_tasks`` and ``faulty_server``, from this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.testbed import model_path


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the testbed's student that changes its logits."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(str(model_path("student")))
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(model, config).save_pretrained(folder)
    return folder
