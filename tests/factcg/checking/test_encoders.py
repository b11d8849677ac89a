"""Encoders that compute only what a classifier reads give transformers' own logits."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from harness_factcg.checking.disentangled import fused
from harness_factcg.checking.encoders import quick
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
    "pad_token_id": 0,
}
OTHERS = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "electra": (ElectraConfig, ElectraForSequenceClassification),
}


def deberta(**options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.script
        from transformers import DebertaV2Config, DebertaV2ForSequenceClassification
    torch.manual_seed(0)
    usual = {
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    }
    return DebertaV2ForSequenceClassification(DebertaV2Config(**SHAPE | usual | options)).eval()


def batch(lengths: list[int]) -> dict[str, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(1, 60, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


@torch.inference_mode()
def logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    found: Tensor = model(**inputs).logits
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"share_att_key": False},
        {"pos_att_type": ["c2p"]},
        {"pos_att_type": ["p2c"]},
        {"pos_att_type": []},
        {"position_buckets": -1, "max_relative_positions": 40},
        {"norm_rel_ebd": "none"},
        {"relative_attention": False, "position_biased_input": True, "pos_att_type": []},
        {"conv_kernel_size": 3},
    ],
    ids=lambda options: ", ".join(f"{k}={v}" for k, v in options.items()) or "v3",
)
@pytest.mark.parametrize(
    "lengths", [[1], [2, 2], [63, 1, 30], [64], [65, 64], [150, 149, 3]], ids=str
)
def test_deberta_gives_the_same_logits(options, lengths):
    model, inputs = deberta(**options), batch(lengths)
    plain = logits(model, inputs)
    with quick(model):
        torch.testing.assert_close(logits(model, inputs), plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(logits(model, inputs), plain)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("lengths", [[1], [64], [90, 89, 3]], ids=str)
def test_other_encoders_give_the_same_logits(name, lengths):
    torch.manual_seed(0)
    config, kind = OTHERS[name]
    model, inputs = kind(config(**SHAPE)).eval(), batch(lengths)
    plain = logits(model, inputs)
    with quick(model):
        torch.testing.assert_close(logits(model, inputs), plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(logits(model, inputs), plain)


def test_the_last_block_sees_one_position():
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SHAPE)).eval()
    seen: list[int] = []
    for block in model.bert.encoder.layer:
        block.intermediate.register_forward_hook(
            lambda _, given, __: seen.append(given[0].shape[1])
        )
    with quick(model):
        logits(model, batch([20, 20]))
    assert seen == [20, 20, 1]


def test_states_of_all_positions_that_are_no_padding_are_the_same():
    model, inputs = deberta(), batch([100, 70])
    with torch.inference_mode():
        plain = model.deberta(**inputs).last_hidden_state
        with fused(model):
            found = model.deberta(**inputs).last_hidden_state
    inside = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[inside], plain[inside], rtol=1e-4, atol=1e-5)


def test_who_asks_for_the_attention_gets_it():
    model, inputs = deberta(), batch([20])
    with fused(model), torch.inference_mode():
        asked = model.deberta(**inputs, output_attentions=True).attentions
    assert [one.shape for one in asked] == [(1, 2, 20, 20)] * 3


def test_new_weights_are_read_anew():
    """What is kept of the positions ends with the context."""
    model, inputs = deberta(), batch([30])
    with quick(model):
        before = logits(model, inputs)
    with torch.no_grad():
        model.deberta.encoder.rel_embeddings.weight.mul_(-2)
    plain = logits(model, inputs)
    with quick(model):
        torch.testing.assert_close(logits(model, inputs), plain, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, plain)


def test_a_model_in_training_is_left_alone():
    model = deberta().train()
    with quick(model):
        assert all("forward" not in vars(module) for module in model.modules())


def test_it_is_taken_off_after_an_error():
    model = deberta()
    with pytest.raises(IndexError), quick(model):
        logits(model, {"input_ids": torch.tensor([[99]]), "attention_mask": torch.ones(1, 1)})
    assert all("forward" not in vars(module) for module in model.modules())


def test_half_precision_errs_no_more_than_transformers():
    model, inputs = deberta(), batch(list(range(20, 100, 5)))
    exact = logits(model, inputs)
    model = model.to(torch.bfloat16)
    plain = (logits(model, inputs) - exact).abs().mean()
    with quick(model):
        assert (logits(model, inputs) - exact).abs().mean() < 1.2 * plain
