"""Sampling by row, in transformers' distribution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessorList

from harness.models.draws import OwnDraws, own_draws

N = 20_000


def test_inversion_by_hand() -> None:
    draws = OwnDraws(LogitsProcessorList(), [3], 4, 1)
    draws._uniform = torch.tensor([[0.6], [0.2], [0.999], [0.0]], dtype=torch.float64)
    scores = torch.tensor([0.2, 0.5, 0.3]).log().expand(4, 3)
    drawn = draws(torch.zeros(4, 4, dtype=torch.long), scores)
    assert drawn.argmax(-1).tolist() == [1, 1, 2, 0]
    assert torch.isinf(drawn).sum(-1).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"temperature": 1.0, "top_k": 0},
        {"temperature": 1.7, "top_k": 0},
        {"temperature": 1.0},
        {"temperature": 1.0, "top_k": 5},
        {"temperature": 0.8, "top_k": 0, "top_p": 0.7},
        {"temperature": 1.0, "top_k": 0, "min_p": 0.2},
    ],
    ids=str,
)
def test_the_distribution_is_transformers_own(kwargs: dict[str, Any]) -> None:
    """χ² of 20,000 first tokens against the probabilities that transformers samples from."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.6,
    )
    model = LlamaForCausalLM(config).eval()
    ids = torch.tensor([[5, 6, 7]])
    shared = {"max_new_tokens": 1, "pad_token_id": 0, "eos_token_id": 63}
    out = model.generate(
        ids,
        **shared,
        do_sample=True,
        **kwargs,
        output_scores=True,
        return_dict_in_generate=True,
    )
    expected = out.scores[0][0].double().softmax(-1)
    drawn = own_draws(model.generation_config, {"do_sample": True, **kwargs}, list(range(N)), 3, 4)
    assert drawn is not None
    found = model.generate(ids.expand(N, -1), **shared, **drawn)[:, 3]
    counts = torch.bincount(found, minlength=64).double()
    assert counts[expected == 0].sum() == 0
    frequent = expected * N >= 5
    observed = torch.cat([counts[frequent], counts[~frequent].sum()[None]])
    wanted = torch.cat([expected[frequent], expected[~frequent].sum()[None]]) * N
    kept = wanted > 0
    assert chisquare(observed[kept].numpy(), wanted[kept].numpy()).pvalue > 1e-4


def test_what_is_left_to_transformers() -> None:
    plain = GenerationConfig()
    assert own_draws(plain, {"do_sample": False}, [1], 1, 2) is None
    assert own_draws(plain, {}, [1], 1, 2) is None
    for more in ({"num_beams": 2}, {"typical_p": 0.5}, {"num_return_sequences": 3}):
        assert own_draws(plain, {"do_sample": True, **more}, [1], 1, 2) is None
    assert own_draws(GenerationConfig(do_sample=True), {}, [1], 1, 2) is not None
