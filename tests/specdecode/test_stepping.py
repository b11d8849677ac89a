from __future__ import annotations

import pytest
import torch
from harness_specdecode.stepping import Stepper
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM


def gpt2():
    """Absolute positions: padding must not shift them."""
    config = GPT2Config(vocab_size=40, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config)


def mistral():
    """A sliding window of four tokens."""
    config = MistralConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    return MistralForCausalLM(config)


@pytest.mark.parametrize("make", [gpt2, mistral])
def test_steps_of_padded_rows_are_full_passes_of_each_row(make):
    torch.manual_seed(0)
    model = make().double().eval()
    rows = [[3, 1, 4, 1, 5, 9, 2], [6, 5], [3, 5, 8, 9]]
    stepper = Stepper(model, rows)
    for new in ([7, 8, 9], [1, 2, 3], [4, 4, 4], [0, 1, 2]):
        found = stepper.logits()
        with torch.inference_mode():
            for k, row in enumerate(rows):
                expected = model(torch.tensor([row])).logits[0, -1]
                torch.testing.assert_close(found[k], expected, atol=1e-9, rtol=0)
        stepper.append(torch.tensor(new))
        rows = [[*row, token] for row, token in zip(rows, new, strict=True)]
