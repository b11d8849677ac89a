"""Per-token figures against independent float64 numpy, and what is read of a model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from harness_taid.metrics.fidelity import FIGURES, logits_behind, token_figures
from harness_taid.models.own_samples import OwnNoise, own_samples, seed_of
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig

SMALL = {
    "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "bos_token_id": 0,
    "max_position_embeddings": 64, "eos_token_id": None, "pad_token_id": 0,
}  # fmt: skip


def model(kind="llama", seed=0):
    torch.manual_seed(seed)
    config = {
        "llama": lambda: LlamaConfig(**SMALL),
        "gemma2": lambda: Gemma2Config(
            **SMALL, sliding_window=4, final_logit_softcapping=2.0, attn_implementation="eager"
        ),
        "gpt2": lambda: GPT2Config(
            vocab_size=23, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0,
            eos_token_id=None,
        ),
    }[kind]()  # fmt: skip
    made = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.5)
    return made.eval()


def by_hand(teacher, student, token):
    """The definitions, a token at a time, in numpy."""

    def softmax(row):
        shifted = np.exp(row - row.max())
        return shifted / shifted.sum()

    p, q = softmax(teacher), softmax(student)
    m = (p + q) / 2

    def kl(a, b):
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True) if x > 0)

    best_p, best_q = (np.argsort(-side, kind="stable") for side in (p, q))
    head = best_p[:10]
    return {
        "forward_kl": kl(p, q),
        "reverse_kl": kl(q, p),
        "jsd": kl(p, m) / 2 + kl(q, m) / 2,
        "tvd": 1 - np.minimum(p, q).sum(),
        "top1": float(best_p[0] == best_q[0]),
        "top5": len(set(best_p[:5]) & set(best_q[:5])) / 5,
        "teacher_entropy": -sum(x * math.log(x) for x in p if x > 0),
        "student_entropy": -sum(x * math.log(x) for x in q if x > 0),
        "teacher_head": p[head].sum(),
        "student_head": q[head].sum(),
        "confidence": q.max(),
        "correct": float(best_q[0] == token),
        "passing": min(1.0, q[token] / p[token]),
        "teacher_nll": -math.log(p[token]),
        "student_nll": -math.log(q[token]),
    }


@pytest.mark.parametrize("cells", [1, 100, 1 << 20])
def test_figures_against_independent_formulas(cells):
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(scale=3, size=(2, 40, 37))
    student[::3] = teacher[::3] + 0.1 * student[::3]  # some agree
    tokens = rng.integers(0, 37, size=40)
    tokens[::4] = student[::4].argmax(-1)
    found = token_figures(*(torch.tensor(x) for x in (teacher, student, tokens)), cells=cells)
    assert tuple(found) == FIGURES
    expected = [by_hand(*row) for row in zip(teacher, student, tokens, strict=True)]
    for name in FIGURES:
        assert found[name] == pytest.approx([row[name] for row in expected], abs=1e-12), name
    assert 0 < sum(found["top1"]) < 40 and 0 < sum(found["correct"]) < 40


def test_the_worked_example():
    p, q = torch.tensor([[0.5, 0.5, 0.0]]).log(), torch.tensor([[0.25, 0.5, 0.25]]).log()
    found = {name: values[0] for name, values in token_figures(p, q, torch.tensor([0])).items()}
    assert found["forward_kl"] == pytest.approx(math.log(2) / 2)
    assert found["reverse_kl"] == math.inf
    jsd = (0.5 * math.log(4 / 3)) / 2 + (0.25 * math.log(2 / 3) + 0.25 * math.log(2)) / 2
    assert found["jsd"] == pytest.approx(jsd, abs=1e-7) == pytest.approx(0.108, abs=1e-3)
    assert found["tvd"] == pytest.approx(0.25)
    assert found["teacher_entropy"] == pytest.approx(math.log(2))
    assert found["passing"] == pytest.approx(0.5)
    assert found["top1"] == 0.0  # the teacher's tie goes to id 0


def test_small_differences_are_not_lost_to_rounding():
    p = torch.zeros(1, 1000)
    q = p.clone()
    q[0, 0] = 1e-4
    found = token_figures(p, q, torch.tensor([0]))
    assert found["forward_kl"][0] == pytest.approx(0.5 * 1e-8 * (1e-3 - 1e-6), rel=1e-3)
    same = token_figures(p, p, torch.tensor([0]))
    assert same["forward_kl"] == same["tvd"] == same["jsd"] == [0.0]
    assert same["passing"] == same["top5"] == [1.0]


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_logits_are_those_of_each_text_alone(kind):
    made = model(kind)
    texts, starts = [[1, 2, 3, 4, 5, 6], [7, 8], [9, 10, 11, 12]], [4, 1, 1]
    found = logits_behind(made, texts, starts, 20)
    for text, start, logits in zip(texts, starts, found, strict=True):
        with torch.inference_mode():
            whole = made(torch.tensor([text])).logits[0, start - 1 : -1, :20]
        assert logits.shape == (len(text) - start, 20)
        torch.testing.assert_close(logits, whole, atol=1e-5, rtol=1e-5)


def test_samples_belong_to_their_row_and_end():
    made = model()
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    options = {"length": 12, "ends": {3, 5}, "width": 20, "seed": 1}
    together = own_samples(made, prompts, **options)
    assert together == [own_samples(made, [prompt], **options)[0] for prompt in prompts]
    assert together != own_samples(made, prompts, **(options | {"seed": 2}))
    for answer in together:
        assert max(answer) < 20 and len(answer) <= 12
        assert not set(answer[:-1]) & {3, 5} and (len(answer) == 12 or answer[-1] in {3, 5})


def test_samples_follow_the_distribution():
    """One token from 4,000 seeds: χ² of 19 degrees of freedom, beyond 50 once in 10,000."""
    made = model()
    with torch.inference_mode():
        p = torch.softmax(made(torch.tensor([[1, 2, 3]])).logits[0, -1, :20].double(), -1)
    noise = OwnNoise([seed_of(seed, [1, 2, 3]) for seed in range(4000)], 20)
    scores = torch.full((4000, 23), 5.0).double()
    scores[:, :20] = p.log()
    counts = torch.bincount(noise(torch.zeros(0), scores).argmax(-1), minlength=23)
    assert counts[20:].sum() == 0
    expected = 4000 * p
    assert ((counts[:20] - expected) ** 2 / expected).sum() < 50
