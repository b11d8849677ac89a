"""A decoder's last block at one position: the same answers, and nothing left on the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import transformers
from transformers import PretrainedConfig

from harness.models import last_block

SIZE = {
    "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "initializer_range": 0.4,
}  # fmt: skip
CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "Llama": lambda: transformers.LlamaConfig(**SIZE),
    "Qwen3": lambda: transformers.Qwen3Config(**SIZE, head_dim=8),
    "Mistral": lambda: transformers.MistralConfig(**SIZE, sliding_window=5),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["ForSequenceClassification", "ForCausalLM"])
@pytest.mark.parametrize("padded", [False, True])
def test_the_answer_is_the_same(name: str, kind: str, padded: bool) -> None:
    torch.manual_seed(1)
    model = getattr(transformers, name + kind)(CONFIGS[name]()).eval()
    ids = torch.randint(1, 60, (3, 12))
    mask = torch.ones_like(ids)
    places = torch.full((3,), 11)
    if padded and kind == "ForCausalLM":
        mask[1, :4] = 0
    elif padded:
        ids[1, 9:], mask[1, 9:] = 0, 0
        places[1] = 8

    def logits() -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return out[:, -1] if out.dim() == 3 else out

    expected = logits()
    assert last_block.prepare(model)
    torch.testing.assert_close(logits(), expected)
    seen: list[int] = []
    handle = model.base_model.layers[-1].mlp.down_proj.register_forward_hook(
        lambda _module, inputs, _output: seen.append(inputs[0].shape[:2].numel())
    )
    with last_block.read_at(model, torch.arange(12) == places[:, None]):
        found = logits()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(), expected)
    handle.remove()
    assert seen == [3, 3 * 12]  # positions, of three rows
    assert not any(part._forward_hooks for part in model.modules())


def test_models_of_another_make_are_left() -> None:
    size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 60}
    other = transformers.GPT2LMHeadModel(transformers.GPT2Config(**size))
    eager = transformers.LlamaForCausalLM(CONFIGS["Llama"]())
    eager.set_attn_implementation("eager")
    assert not last_block.prepare(other)
    assert not last_block.prepare(eager)
    assert (other.config._attn_implementation, eager.config._attn_implementation) == (
        "sdpa",
        "eager",
    )
