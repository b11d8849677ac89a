"""A network is given out again only if it is as it was loaded, and random numbers go on alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness.studies.executing.networks import Networks, marks

pytestmark = pytest.mark.long

CONFIG = LlamaConfig(
    vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, pad_token_id=2,
    num_attention_heads=1, num_key_value_heads=1, eos_token_id=1, bos_token_id=0,
)  # fmt: skip


def tiny() -> Any:
    with torch.random.fork_rng():  # as a loading, which draws nothing
        return LlamaForCausalLM(CONFIG).eval()


def tiny_with_draws() -> Any:
    torch.rand(3)
    return tiny()


@pytest.fixture
def networks() -> Networks:
    networks = Networks()
    networks.begin("a group")
    return networks


def used(model: Any) -> None:
    """What a cell does that changes nothing."""
    ids = torch.tensor([[3, 4, 5], [2, 3, 4]])
    handle = model.model.layers[0].register_forward_hook(lambda *_: None)
    with torch.no_grad():
        model(ids)
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=True)
    handle.remove()


def test_equal_arguments_get_one_network(networks):
    first = networks.load({"pretrained": "m", "dtype": torch.float32}, tiny)
    used(first)
    assert networks.load({"dtype": torch.float32, "pretrained": "m"}, tiny) is first
    other = networks.load({"pretrained": "m", "dtype": torch.bfloat16}, tiny)
    assert other is not first
    assert networks.load({"pretrained": "m", "dtype": torch.float32}, tiny) is not first


def test_only_the_group_at_work_has_a_network(networks):
    first = networks.load({"pretrained": "m"}, tiny)
    networks.begin("a group")
    assert networks.load({"pretrained": "m"}, tiny) is first
    networks.begin("another")
    assert networks.load({"pretrained": "m"}, tiny) is not first


def test_a_cell_of_no_group_shares_nothing(networks):
    networks.begin("")
    first = networks.load({"pretrained": "m"}, tiny)
    networks.begin("")
    assert networks.load({"pretrained": "m"}, tiny) is not first


def test_what_does_not_say_what_is_in_it_is_never_equal(networks):
    given = {"pretrained": "m", "quantization_config": object()}
    assert networks.load(given, tiny) is not networks.load(given, tiny)


def test_other_files_under_one_name_are_another_network(networks, tmp_path):
    first = networks.load({"pretrained": str(tmp_path)}, tiny)
    assert networks.load({"pretrained": str(tmp_path)}, tiny) is first
    (tmp_path / "model.safetensors").write_bytes(b"new")
    assert networks.load({"pretrained": str(tmp_path)}, tiny) is not first


def _hook(model: Any) -> None:
    model.model.layers[0].register_forward_hook(lambda *_: None)


def _weight(model: Any) -> None:
    model.lm_head.weight.data[3, 4] += 1


def _buffer(model: Any) -> None:
    model.model.rotary_emb.inv_freq.mul_(2)


def _training(model: Any) -> None:
    model.train()


def _gradients(model: Any) -> None:
    model.requires_grad_(False)


def _ends(model: Any) -> None:
    model.generation_config.eos_token_id = 5


def _cache(model: Any) -> None:
    model.config.use_cache = False


def _attention(model: Any) -> None:
    model.set_attn_implementation("eager")


def _embeddings(model: Any) -> None:
    model.resize_token_embeddings(32, mean_resizing=False)


def _forward(model: Any) -> None:
    model.forward = lambda *_, **__: None


def _adapter(model: Any) -> None:
    from peft import LoraConfig, get_peft_model

    get_peft_model(model, LoraConfig(r=1, target_modules=["q_proj"]))


CHANGES = (
    *(_hook, _weight, _buffer, _training, _gradients, _ends, _cache, _attention, _embeddings),
    *(_forward, _adapter),
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_is_loaded_anew_and_the_log_says_why(
    networks: Networks, change: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = networks.load({"pretrained": "m"}, tiny)
    change(first)
    assert networks.load({"pretrained": "m"}, tiny) is not first
    assert "the model is loaded anew: an earlier cell has changed " in caplog.text


def test_marks_of_an_unchanged_network_are_equal():
    model = tiny()
    before = marks(model)
    used(model)
    assert marks(model) == before


def test_random_numbers_go_on_as_after_a_loading(networks):
    drawn = []
    for _ in range(2):
        torch.manual_seed(7)
        network = networks.load({"pretrained": "m"}, tiny_with_draws)
        drawn.append((id(network), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_of_another_seed_a_loading_that_draws_is_done_anew(networks, caplog):
    torch.manual_seed(7)
    first = networks.load({"pretrained": "m"}, tiny_with_draws)
    torch.manual_seed(8)
    assert networks.load({"pretrained": "m"}, tiny_with_draws) is not first
    assert "draws random numbers, of another seed here" in caplog.text


def test_sharing_is_told(networks, caplog):
    caplog.set_level(logging.INFO)
    networks.load({"pretrained": "m"}, tiny)
    networks.load({"pretrained": "m"}, tiny)
    assert "the model is loaded already" in caplog.text
