"""Heads of transformers' models: their logits are the model's own; others are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness_taid.network.chunked import HiddenTeacher, chunked_loss, full_loss
from harness_taid.network.head import Head
from harness_taid.objectives import build
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MambaConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from harness.errors import HarnessError
from harness.testbed import resolve

V = 50
SMALL = {
    "vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0,
    "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
GROUPED = SMALL | {"num_key_value_heads": 1, "head_dim": 8}
GPT2 = {
    "vocab_size": V,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
CONFIGS = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "llama tied": lambda: LlamaConfig(**GROUPED, tie_word_embeddings=True),
    "qwen2": lambda: Qwen2Config(**SMALL | {"num_key_value_heads": 1}),
    "qwen3": lambda: Qwen3Config(**GROUPED),
    "gemma2": lambda: Gemma2Config(**GROUPED, final_logit_softcapping=0.5, query_pre_attn_scalar=8),
    "gemma2 uncapped": lambda: Gemma2Config(**GROUPED, final_logit_softcapping=None),
    "gemma3": lambda: Gemma3TextConfig(**GROUPED),
    "gpt2": lambda: GPT2Config(**GPT2),
    "neox": lambda: GPTNeoXConfig(**SMALL),
    "phi": lambda: PhiConfig(**SMALL),
    "cohere": lambda: CohereConfig(**SMALL | {"num_key_value_heads": 1}, logit_scale=0.25),
    "granite": lambda: GraniteConfig(**SMALL | {"num_key_value_heads": 1}, logits_scaling=4.0),
}


def small(name: str) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation="eager").eval()
    bias = model.get_output_embeddings().bias
    if bias is not None:
        torch.nn.init.normal_(bias)
    return model


def hidden_and_logits(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(24).reshape(2, 12)
    found = model.base_model(input_ids=ids).last_hidden_state
    return found.flatten(0, 1), model(input_ids=ids).logits.flatten(0, 1).float()


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_the_models_own(name: str) -> None:
    model = small(name)
    head = Head.of(model)
    hidden, expected = hidden_and_logits(model)
    torch.testing.assert_close(head.logits(hidden), expected, rtol=1e-5, atol=1e-6)
    assert head.weight is model.get_output_embeddings().weight
    assert (head.softcap is not None) == (name == "gemma2")
    cut = Head.of(model, vocabulary=V - 7)
    torch.testing.assert_close(cut.logits(hidden), expected[:, : V - 7], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["llama tied", "gemma2", "gpt2", "phi"])
def test_gradients_of_a_whole_model(name: str) -> None:
    student, teacher = small(name), small("llama")
    objective = build("taid", {}, total_steps=10)
    labels = torch.randint(V, (24,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states, logits = hidden_and_logits(teacher)
    found = []
    for way in ("full", "chunked"):
        student.zero_grad()
        hidden, own = hidden_and_logits(student)
        if way == "full":
            loss = full_loss(objective, own, logits, labels, normaliser=24)
        else:
            rows = HiddenTeacher(states, Head.of(teacher))
            loss = chunked_loss(
                objective, hidden, Head.of(student), rows, labels, normaliser=24, chunk=5
            )
        loss.value.backward()
        found.append({k: p.grad for k, p in student.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 5
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_the_testbeds_models(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(resolve(f"testbed:{name}"))
    hidden, expected = hidden_and_logits(model)
    torch.testing.assert_close(Head.of(model).logits(hidden), expected, rtol=1e-4, atol=1e-4)


def test_adapters_beside_the_head() -> None:
    model = get_peft_model(small("llama"), LoraConfig(target_modules=["q_proj"], r=2))
    assert Head.of(model).weight is model.get_base_model().lm_head.weight


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")  # of peft before 0.21
def test_an_adapter_on_the_head_is_refused() -> None:
    model = get_peft_model(small("llama"), LoraConfig(target_modules=["lm_head"], r=2))
    with pytest.raises(HarnessError, match="leave adapters and quantisation off the head"):
        Head.of(model)


class Wrapped(torch.nn.Linear):
    """A linear layer as sharding makes them: another class, the same computation."""


class Quantised(torch.nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).round()


def test_a_layer_that_computes_otherwise_is_refused() -> None:
    model = small("llama")
    model.lm_head.__class__ = Wrapped
    assert Head.of(model).weight is model.lm_head.weight
    model.lm_head.__class__ = Quantised
    with pytest.raises(HarnessError, match="its head is a Quantised, not a plain linear layer"):
        Head.of(model)


@pytest.mark.parametrize(
    "model",
    [
        lambda: BertForMaskedLM(BertConfig(**SMALL)),
        lambda: AutoModelForCausalLM.from_config(
            MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=1)
        ),
        lambda: GPT2ForSequenceClassification(GPT2Config(**GPT2, pad_token_id=0)),
    ],
    ids=["bert", "mamba", "classifier"],
)
def test_other_models_are_refused_in_a_line(model: Any) -> None:
    with pytest.raises(HarnessError, match="its head is not known; known are") as caught:
        Head.of(model())
    assert "\n" not in str(caught.value)
