from __future__ import annotations

import doctest
import math

import pytest
import torch
from harness_specdecode.decoding import sampling
from harness_specdecode.decoding.sampling import Sampling, along
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from harness.errors import HarnessError


def test_worked_example():
    done = doctest.testmod(sampling)
    assert (done.attempted, done.failed) == (1, 0)


@pytest.mark.parametrize("seed", range(5))
def test_as_transformers_processes(seed):
    torch.manual_seed(seed)
    logits = torch.randn(7, 50).mul(3).round(decimals=1)  # with ties
    ids = torch.randint(0, 50, (7, 12))
    steps = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.3),
            SuppressTokensLogitsProcessor([3, 17], device="cpu"),
            TemperatureLogitsWarper(0.7),
            TopKLogitsWarper(20),
            TopPLogitsWarper(0.9),
            MinPLogitsWarper(0.02),
        ]
    )
    ours = Sampling(
        temperature=0.7, top_k=20, top_p=0.9, min_p=0.02, repetition_penalty=1.3, suppressed=(3, 17)
    )
    seen = torch.zeros(7, 50, dtype=torch.bool).scatter_(1, ids, True)
    torch.testing.assert_close(ours.scores(logits, seen), steps(ids, logits), rtol=0, atol=0)


def test_by_hand():
    logits = torch.tensor([0.0, math.log(2), math.log(5), -1.0])
    scores = Sampling(temperature=1.0, top_p=0.85).scores(logits[:3])
    assert scores.isinf().tolist() == [True, False, False]  # 1/8 of the probability is removed
    assert not Sampling(temperature=1.0, top_p=0.9).scores(logits[:3]).isinf().any()
    seen = torch.tensor([False, True, False, True])
    penalised = Sampling(repetition_penalty=2.0).scores(logits, seen)
    torch.testing.assert_close(penalised, torch.tensor([0, math.log(2) / 2, math.log(5), -2.0]))
    assert Sampling(temperature=2.0).scores(logits.bfloat16()).dtype == torch.float32
    assert Sampling(suppressed=(2, 99)).scores(logits).argmax() == 1


def test_what_was_there_before_each_position():
    seen = torch.zeros(2, 6, dtype=torch.bool)
    seen[1, 0] = True
    found = along(seen, torch.tensor([[2, 3], [4, 4]]))
    assert found.int().tolist() == [
        [[0, 0, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]],
        [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0]],
    ]
    assert seen.sum() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -0.5}, "temperature=-0.5: give 0 or more; 0 is greedy"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 1.5}, "top_p=1.5: give 0 to 1"),
        ({"min_p": -1}, "min_p=-1"),
        ({"repetition_penalty": 0}, "repetition_penalty=0: give a number above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, words):
    with pytest.raises(HarnessError, match=words):
        Sampling(**options)
