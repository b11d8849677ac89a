"""Grouped queries under a mask, and passes without a mask, against transformers' own attention."""

from __future__ import annotations

import pytest
import torch
from harness_specdecode.decoding.attention import groups, slot_attention
from harness_specdecode.decoding.slots import SlotModel
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM

from specdecode.tiny import CONFIGS, V, tiny


def grouped():
    """Three query heads a key head."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=V, hidden_size=24, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    model = LlamaForCausalLM(config).double().eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


TEXTS = [[3, 4, 5, 6, 7, 8, 9], [9, 1, 2], [5]]


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("fixed", [0, 6])
def test_rows_of_different_length_are_read_as_alone(width, fixed):
    """Slots at 6, 2 and 0 tokens, W more a row, against one full pass of each row's text."""
    model = grouped()
    slots = SlotModel(model, rows=3, capacity=20, fixed_width=fixed)
    slots.prefill(range(3), [text[:-1] for text in TEXTS])
    new = torch.randint(1, V, (3, width), generator=torch.Generator().manual_seed(1))
    new[:, 0] = torch.tensor([text[-1] for text in TEXTS])
    found = slots.step(new, [len(text) - 1 for text in TEXTS])
    for row, text in enumerate(TEXTS):
        whole = model(torch.tensor([text[:-1] + new[row].tolist()])).logits[0, -width:]
        torch.testing.assert_close(found[row], whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("width", [1, 3])
def test_rows_of_one_length_are_read_as_alone(width):
    """One token a row needs no mask there."""
    model = grouped()
    slots = SlotModel(model, rows=2, capacity=20)
    texts = [[1, 2, 3, 4], [8, 7, 6, 5]]
    slots.prefill(range(2), texts)
    new = torch.tensor([[9, 10, 11], [12, 13, 14]])[:, :width]
    whole = model(torch.cat([torch.tensor(texts), new], dim=1)).logits[:, -width:]
    torch.testing.assert_close(slots.step(new, [4, 4]), whole, rtol=1e-10, atol=1e-10)


def test_keys_are_not_copied(monkeypatch):
    """Under a mask, attention is given the cache's own two key heads, not six."""
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(query, key, value, **options):
        seen.append((query.shape, key.shape, key.untyped_storage().data_ptr()))
        return attend(query, key, value, **options)

    model = grouped()
    slots = SlotModel(model, rows=3, capacity=20)
    slots.prefill(range(3), [text[:-1] for text in TEXTS])
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    slots.step(torch.full((3, 4), 5), [6, 2, 0])
    held = [layer.keys.untyped_storage().data_ptr() for layer in slots._cache.layers]
    assert seen == [((3, 2, 12, 4), (3, 2, 10, 4), place) for place in held]


def test_a_models_attention_is_exchanged_for_a_pass_alone():
    for name, before in (("llama", "sdpa"), ("gemma2", "eager")):
        config = tiny(name).config
        with pytest.raises(RuntimeError, match="cut short"), slot_attention(config):
            assert config._attn_implementation == (
                "eager" if before == "eager" else "harness_slots"
            )
            raise RuntimeError("cut short")
        assert config._attn_implementation == before


def test_query_heads_a_key_head():
    assert groups(CONFIGS["llama"]()) == 2
    assert groups(GPT2Config(n_head=4)) == 1
