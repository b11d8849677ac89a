"""Students made of some of a teacher's blocks, for every kind of model that can be distilled."""

from __future__ import annotations

import pytest
import torch
from harness_taid.network.head import KINDS, Head
from harness_taid.network.pruning import check_blocks, layers_of, pruned, spelt
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from harness.errors import ArtefactError, HarnessError
from harness.models.blocks import cache_name, home_of_blocks
from taid import tiny

SIZES = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_hidden_layers": 6,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "sliding_window": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OTHER = {
    "gpt_neo": {"attention_types": [[["global", "local"], 3]], "window_size": 4},
    "gpt2": {"n_positions": 64},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gemma3_text": {"query_pre_attn_scalar": 8},
    "gemma2": {"query_pre_attn_scalar": 8},
    "mixtral": {"num_local_experts": 2},
    "granitemoe": {"num_local_experts": 2, "num_experts_per_tok": 1},
    "qwen2_moe": {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
    "qwen3_moe": {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 2},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 3},
    "smollm3": {"use_sliding_window": False},
}
IDS = torch.tensor([[1, *range(20, 40)]])


def config_of(kind, **changed):
    own = {**SIZES, **OTHER.get(kind, {}), **changed}
    if kind in ("gpt_neo", "stablelm"):
        own["num_key_value_heads"] = 4
    known = CONFIG_MAPPING[kind]()
    return type(known)(**{k: v for k, v in own.items() if hasattr(known, k)})


def saved(folder, config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def shortened(folder, kept):
    """The same by hand: a whole model whose list of blocks is cut, read without a cache."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    home, name = home_of_blocks(model)
    blocks = getattr(home, name)
    setattr(home, name, nn.ModuleList(blocks[n] for n in kept))
    types = getattr(model.config, "layer_types", None)
    if types:
        model.config.layer_types = [types[n] for n in kept]
    model.config.num_hidden_layers = len(kept)
    return model


def logits(model):
    with torch.no_grad():
        return model(IDS, use_cache=False).logits


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_some_blocks_computes_what_those_blocks_compute(tmp_path, kind):
    """Also after it was saved and opened by transformers, and where it writes with a cache."""
    name, kept = "layers:0,3,5", (0, 3, 5)
    teacher = saved(tmp_path / "teacher", config_of(kind))
    check_blocks(name, AutoConfig.from_pretrained(teacher))
    student, _ = pruned(name, teacher, "main")
    assert all(p.requires_grad and p.dtype == torch.float32 for p in student.parameters())
    expected = logits(shortened(teacher, kept))
    assert torch.allclose(logits(student.eval()), expected, atol=1e-5)
    student.save_pretrained(tmp_path / "student")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student").eval()
    assert again.config.num_hidden_layers == 3
    assert torch.allclose(logits(again), expected, atol=1e-5)
    with torch.no_grad():
        name = cache_name(again)
        cache = again(IDS[:, :15], use_cache=True)[name]
        rest = again(IDS[:, 15:], use_cache=True, **{name: cache}).logits
    assert torch.allclose(rest, expected[:, 15:], atol=1e-4)
    Head.of(again)


def test_a_student_of_all_blocks_is_the_teacher(tmp_path):
    teacher = saved(tmp_path / "teacher", config_of("gemma3_text"))
    whole = AutoModelForCausalLM.from_pretrained(teacher).eval()
    student, _ = pruned("layers:0-5", teacher, "main")
    assert torch.equal(logits(student.eval()), logits(whole))
    own, theirs = (model.config.to_dict() | {"dtype": None} for model in (student, whole))
    assert own == theirs


def test_what_is_said_block_by_block_is_cut_with_the_blocks(tmp_path):
    teacher = saved(tmp_path / "teacher", config_of("gemma3_text"))
    student, _ = pruned("layers:1,4,5", teacher, "main")
    assert student.config.layer_types == [
        "sliding_attention",
        "sliding_attention",
        "full_attention",
    ]
    rope = config_of("smollm3", no_rope_layers=[1, 0, 1, 1, 0, 1])
    student, _ = pruned("layers:0,1,4", saved(tmp_path / "other", rope), "main")
    assert student.config.no_rope_layers == [1, 0, 0]


def test_embeddings_stay_tied(tmp_path):
    for tied in (True, False):
        own = config_of("llama", tie_word_embeddings=tied)
        student, _ = pruned("layers:0,2", saved(tmp_path / str(tied), own), "main")
        same = student.lm_head.weight is student.model.embed_tokens.weight
        assert same is tied


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layers:", "numbers from 0"),
        ("layers:a", "numbers from 0"),
        ("layers:-1", "numbers from 0"),
        ("layers:0-4/0", "numbers from 0"),
        ("layers:0,,1", "numbers from 0"),
        ("layers:4-2", "4-2 runs backwards"),
        ("layers:0,2,2", "block 2 is named twice; name each once"),
        ("layers:0,3,1", "block 1 stands behind block 3; name each once"),
    ],
)
def test_what_names_no_blocks_is_refused(name, message):
    with pytest.raises(HarnessError, match=message):
        layers_of(name)


def test_stretches_and_lists_are_one_name():
    assert spelt(layers_of("layers:0-6/2, 7")) == "layers:0,2,4,6,7"
    assert layers_of("layers:0-2,9-10") == (0, 1, 2, 9, 10)


@pytest.mark.parametrize(
    ("kind", "changed", "name", "message"),
    [
        ("llama", {}, "layers:0,6", r"block 6 does not exist: the teacher has 0 … 5"),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            "layers:0,2",
            "type gpt2 cannot be cut .*by a block's place",
        ),
        ("mamba", {}, "layers:0,2", "its head is not known"),
        (
            "qwen3_moe",
            {"mlp_only_layers": [2]},
            "layers:0,2,3",
            "block 2 would be another in its place",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused_without_weights(kind, changed, name, message):
    with pytest.raises(HarnessError, match=message) as caught:
        check_blocks(name, config_of(kind, **changed))
    assert "\n" not in str(caught.value)


def test_weights_that_the_cut_configuration_has_no_place_for_are_refused(tmp_path):
    teacher = saved(tmp_path / "teacher", config_of("qwen3_moe", mlp_only_layers=[2]))
    with pytest.raises(ArtefactError, match=r"do not fit its configuration: model\.layers\.1\.mlp"):
        pruned("layers:0,2,3", teacher, "main")
