"""Tiny random models, and drafters that know nothing or the worst."""

from __future__ import annotations

import torch
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding.decoder import Decoder
from harness_specdecode.decoding.drafters import (
    Drafter,
    ModelDrafter,
    NGramDrafter,
    NoDrafter,
    certain,
    first_layers,
)
from harness_specdecode.decoding.rounds import Request
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.decoding.schemes import scheme_for
from harness_specdecode.decoding.slots import SlotModel
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

V = 60
SMALL = {
    "vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2, "max_position_embeddings": 128, "bos_token_id": 0,
    "eos_token_id": None, "pad_token_id": 0,
}  # fmt: skip
GROUPED = SMALL | {"num_key_value_heads": 1, "head_dim": 8}
CONFIGS = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "qwen2": lambda: Qwen2Config(
        **GROUPED, use_sliding_window=True, sliding_window=5, max_window_layers=1
    ),
    "qwen3": lambda: Qwen3Config(**GROUPED),
    "mistral": lambda: MistralConfig(**GROUPED, sliding_window=5),
    "gemma2": lambda: Gemma2Config(**GROUPED, sliding_window=5, attn_implementation="eager"),
    "gemma3": lambda: Gemma3TextConfig(**GROUPED, sliding_window=5, sliding_window_pattern=2),
    "gpt2": lambda: GPT2Config(
        vocab_size=V, n_positions=128, n_embd=16, n_layer=3, n_head=2, bos_token_id=0,
        eos_token_id=None,
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**SMALL),
}  # fmt: skip


def tiny(name="llama", seed=0, dtype=torch.float64, sharp=6.0):
    """A random model; its head is scaled so that it is neither certain nor indifferent."""
    torch.manual_seed(seed)
    config = CONFIGS[name]()
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager" if name == "gemma2" else "sdpa"
    )
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(sharp / 6)
    return model.to(dtype).eval().requires_grad_(False)


def student(model, seed=1, size=0.03):
    """A model near another."""
    import copy

    torch.manual_seed(seed)
    near = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in near.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return near


class RandomDrafter(Drafter):
    """Proposes anything, of any length."""

    def __init__(self):
        self._generator = torch.Generator().manual_seed(7)

    def propose(self, current):
        rows = []
        for count in current.counts:
            some = int(torch.randint(0, count + 1, (), generator=self._generator))
            rows.append(torch.randint(0, V, (some,), generator=self._generator).tolist())
        return certain(rows)


class AdversarialDrafter(Drafter):
    """Knows the answers: proposes them, but for one token a round, at a place that changes."""

    def __init__(self, answers):
        self._answers = answers  # text's prefix to what follows
        self._round = 0

    def propose(self, current):
        self._round += 1
        rows = []
        for text, count in zip(current.texts, current.counts, strict=True):
            truth = next(a for a in self._answers if a[: len(text)] == text)[len(text) :]
            row = truth[:count]
            if row:
                place = self._round % len(row)
                row[place] = (row[place] + 1) % V
            rows.append(row)
        return certain(rows)


def decoder(
    model, kind="none", *, other=None, rows=4, gamma=4, scheme="gumbel", seed=3, answers=None,
    fixed_width=0, capacity=100, adaptive=False, pace=None, ends=(),
    stopped=lambda tokens: False, **sampling,
):  # fmt: skip
    settings = Sampling(**({"temperature": 1.0} | sampling))
    options = {"rows": rows, "capacity": capacity}
    if kind == "early":
        other = first_layers(model, 1)
    drafter = {
        "none": NoDrafter,
        "ngram": NGramDrafter,
        "random": RandomDrafter,
        "adversarial": lambda: AdversarialDrafter(answers),
        "model": lambda: ModelDrafter(SlotModel(other, **options), 0.3),
        "early": lambda: ModelDrafter(SlotModel(other, **options), 0.3),
    }[kind]()
    return Decoder(
        SlotModel(model, fixed_width=fixed_width, **options), drafter,
        scheme_for(scheme, Noise(seed), greedy=settings.greedy), settings,
        gamma=gamma, adaptive=adaptive or pace is not None, pace=pace, ends=ends, stopped=stopped,
    )  # fmt: skip


def requests(n=10, limit=14, seed=0, longest=20):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for k in range(n):
        length = int(torch.randint(1, longest, (), generator=generator))
        prompt = torch.randint(1, V, (length,), generator=generator).tolist()
        found.append(Request(prompt, request_key(3, prompt), limit - k % 5))
    return found


def written(made, asked):
    """Tokens of each answer, in the order of the requests."""
    found = dict(made.run(asked))
    return [found[k].tokens for k in range(len(asked))]
