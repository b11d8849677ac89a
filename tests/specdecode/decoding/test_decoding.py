from __future__ import annotations

import random
from functools import cache

import pytest
import torch
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding.decoder import best_length
from harness_specdecode.decoding.drafters import first_layers
from harness_specdecode.decoding.rounds import Request
from harness_specdecode.decoding.slots import SlotModel, supported
from transformers import AutoModelForCausalLM, MambaConfig

from harness.errors import HarnessError
from harness.testbed import resolve
from specdecode.tiny import CONFIGS, V, decoder, requests, student, tiny, written

pytestmark = pytest.mark.long

ASKED = requests()
KINDS = ["model", "ngram", "random", "adversarial", "early"]


@cache
def pair(name):
    model = tiny(name)
    return model, student(model)


def by_hand(model, request, temperature=1.0):
    """The definition: one token after the other, each from a full pass."""
    noise, text = Noise(3), list(request.prompt)
    for t in range(request.limit):
        with torch.inference_mode():
            logits = model(torch.tensor([text])).logits[0, -1]
        gumbel = noise.gumbel([request.key], t, V)[0] if temperature else 0
        text.append(int((logits / (temperature or 1) + gumbel).argmax()))
    return text[len(request.prompt) :]


@cache
def reference(name):
    model, _ = pair(name)
    return [by_hand(model, request) for request in ASKED]


def texts(name):
    return [
        list(request.prompt) + answer
        for request, answer in zip(ASKED, reference(name), strict=True)
    ]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_every_family_and_drafter_writes_the_definition(name, kind):
    model, other = pair(name)
    made = decoder(model, kind, other=other, answers=texts(name), rows=4)
    assert written(made, ASKED) == reference(name)


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen2"])
@pytest.mark.parametrize("gamma", range(1, 9))
def test_no_draft_length_batch_order_or_padding_changes_a_token(name, gamma):
    """γ 1…8 × drafters × batch 1, 8 × prompts of 1 to 19 tokens together × shuffled requests."""
    model, other = pair(name)
    shuffled = list(range(len(ASKED)))
    random.Random(gamma).shuffle(shuffled)
    expected = [reference(name)[k] for k in shuffled]
    for kind in KINDS[:4]:
        for rows in (1, 8):
            made = decoder(
                model, kind, other=other, answers=texts(name), rows=rows, gamma=gamma,
                adaptive=gamma % 2 == 0,
            )  # fmt: skip
            assert written(made, [ASKED[k] for k in shuffled]) == expected, (kind, rows)


def test_the_testbeds_pair_writes_the_same_with_any_drafter():
    teacher, near = (
        AutoModelForCausalLM.from_pretrained(resolve(f"testbed:{name}"), dtype=torch.float64).eval()
        for name in ("teacher", "student")
    )
    asked = requests(8, limit=16)
    plain = written(decoder(teacher, rows=1), asked)
    known = [[*request.prompt, *answer] for request, answer in zip(asked, plain, strict=True)]
    for gamma, rows in ((1, 8), (3, 1), (8, 8)):
        for kind in KINDS:
            made = decoder(teacher, kind, other=near, answers=known, rows=rows, gamma=gamma)
            assert written(made, asked[::-1]) == plain[::-1], (kind, gamma, rows)


def test_drafting_saves_passes_and_counts_are_right():
    model, other = pair("llama")
    plain = decoder(model, rows=1)
    answers = dict(plain.run(ASKED))
    total = sum(request.limit for request in ASKED)
    assert plain.target.calls == total == sum(a.target_calls for a in answers.values())
    assert all(a.proposed == a.accepted == a.drafter_calls == 0 for a in answers.values())

    twin = decoder(model, "model", other=model, rows=1, gamma=3)
    for place, answer in twin.run(ASKED):
        limit = ASKED[place].limit
        rounds, rest = divmod(limit - 1, 4)  # each writes 4; the last drafts one less than is left
        assert answer.target_calls == 1 + rounds + (rest > 0)
        assert answer.proposed == answer.accepted == 3 * rounds + max(0, rest - 1)
        assert answer.accepted_at == [rounds + (rest > j + 1) for j in range(3)]
        assert answer.seconds > 0
    assert twin.drafter._model.calls == sum(
        3 * ((r.limit - 1) // 4) + max(0, (r.limit - 1) % 4 - 1) for r in ASKED
    )

    near = decoder(model, "model", other=other, rows=1)
    done = dict(near.run(ASKED))
    for answer in done.values():
        assert len(answer.tokens) == answer.accepted + answer.target_calls
        assert sum(answer.accepted_at) == answer.accepted
    assert near.target.calls < total / 1.5


def test_processing_is_part_of_the_definition():
    """Each option by transformers' own sampling loop, fed with Gumbel noise as a processor."""
    model, other = pair("llama")

    class Shared:
        def __init__(self, request):
            self.request = request

        def __call__(self, ids, scores):
            t = ids.shape[1] - len(self.request.prompt)
            return scores + Noise(3).gumbel([self.request.key], t, V)

    for options in (
        {"temperature": 0.6, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 0.9, "repetition_penalty": 1.7, "top_k": 30, "min_p": 0.05},
        {"temperature": 1.0, "suppressed": (4, 5, 6)},
    ):
        expected = []
        for request in ASKED[:5]:
            named = {("suppress_tokens" if k == "suppressed" else k): v for k, v in options.items()}
            named["suppress_tokens"] = list(named.get("suppress_tokens", ())) or None
            expected.append(_with_noise(model, request, Shared(request), named))
        for kind in ("none", "model", "ngram"):
            made = decoder(model, kind, other=other, rows=3, **options)
            assert written(made, ASKED[:5]) == expected, (kind, options)


def _with_noise(model, request, shared, options):
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        SuppressTokensLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    made = {
        "repetition_penalty": RepetitionPenaltyLogitsProcessor,
        "suppress_tokens": lambda ids: SuppressTokensLogitsProcessor(ids, device="cpu"),
        "temperature": TemperatureLogitsWarper,
        "top_k": TopKLogitsWarper,
        "top_p": TopPLogitsWarper,
        "min_p": MinPLogitsWarper,
    }
    steps = LogitsProcessorList(
        [make(options[name]) for name, make in made.items() if options.get(name) is not None]
    )
    ids = torch.tensor([request.prompt])
    for _ in range(request.limit):
        with torch.inference_mode():
            scores = steps(ids, model(ids).logits[:, -1])
        ids = torch.cat([ids, shared(ids, scores).argmax(-1, keepdim=True)], dim=-1)
    return ids[0, len(request.prompt) :].tolist()


@pytest.mark.parametrize("kind", ["none", "model", "ngram", "early"])
def test_greedy_is_transformers_generate_plain_and_assisted(kind):
    model, other = pair("llama")
    assert model.generation_config.eos_token_id is None
    made = decoder(model, kind, other=other, rows=4, temperature=0.0)
    ours = written(made, ASKED)
    for request, tokens in zip(ASKED, ours, strict=True):
        ids = torch.tensor([request.prompt])
        options = {"max_new_tokens": request.limit, "do_sample": False, "pad_token_id": 0}
        mask = torch.ones_like(ids)
        plain = model.generate(ids, attention_mask=mask, **options)
        assert plain[0, ids.shape[1] :].tolist() == tokens
        if kind == "model":
            assisted = model.generate(ids, attention_mask=mask, assistant_model=other, **options)
            assert assisted[0, ids.shape[1] :].tolist() == tokens


def test_greedy_ties_go_to_the_lowest_id():
    model = tiny("llama")
    model.get_output_embeddings().weight[1::2] = model.get_output_embeddings().weight[::2]
    for tokens in written(decoder(model, "ngram", temperature=0.0), ASKED):
        assert all(token % 2 == 0 for token in tokens)
    answers = dict(decoder(model, temperature=0.0).run(ASKED)).values()
    assert all(answer.near_ties == len(answer.tokens) for answer in answers)
    assert all(a.near_ties == 0 for a in dict(decoder(tiny("llama")).run(ASKED)).values())


@pytest.mark.parametrize("kind", ["none", "model", "random"])
def test_fixed_width_is_the_same_text_in_fp32(kind):
    model, other = (m.float() for m in map(tiny, ["llama"] * 2))
    other = student(model)
    expected = written(decoder(model, fixed_width=9, rows=4), ASKED)
    for gamma in (2, 8):
        made = decoder(model, kind, other=other, fixed_width=9, rows=4, gamma=gamma)
        assert written(made, ASKED) == expected
        assert {layer.keys.dtype for layer in made.target._cache.layers} == {torch.float32}


def test_an_answer_ends_at_an_end_a_stop_or_its_length():
    model, other = pair("llama")
    full = reference("llama")
    end = full[0][4]
    cut = [row[: row.index(end) + 1] if end in row else row for row in full]
    assert sum(len(a) < len(b) for a, b in zip(cut, full, strict=True)) >= 1
    for kind in ("none", *KINDS):
        made = decoder(model, kind, other=other, answers=texts("llama"), ends={end})
        assert written(made, ASKED) == cut, kind
        made = decoder(
            model, kind, other=other, answers=texts("llama"), stopped=lambda row: sum(row) > 200
        )
        for tokens, whole in zip(written(made, ASKED), full, strict=True):
            assert tokens == whole[: len(tokens)]
            assert sum(tokens[:-1]) <= 200
            assert sum(tokens) > 200 or tokens == whole


def test_seed_repeat_and_prompt_make_the_noise():
    model, _ = pair("llama")
    prompt = ASKED[0].prompt
    asked = [Request(prompt, request_key(3, prompt, repeat), 10) for repeat in (0, 0, 1)]
    first, again, second = written(decoder(model), asked)
    assert first == again != second
    assert written(decoder(model, seed=4), asked)[0] != first


def test_best_length_by_hand():
    """α = ½, c = 0.1: 1.5/1.1 = 1.364, 1.75/1.2 = 1.458, 1.875/1.3 = 1.442."""
    assert best_length(0.5, 0.1, 8) == 2
    assert best_length(0.9, 0.0, 8) == 8
    assert best_length(0.01, 0.5, 8) == 1


def test_adaptive_drafts_less_where_little_is_right():
    model, _ = pair("llama")
    fixed = decoder(model, "model", other=tiny("llama", seed=9), rows=1, gamma=8)
    less = decoder(model, "model", other=tiny("llama", seed=9), rows=1, gamma=8, adaptive=True)
    assert written(fixed, ASKED) == written(less, ASKED) == reference("llama")
    assert less.drafter.calls < fixed.drafter.calls / 2


def test_first_layers_share_weights_and_leave_the_target_whole():
    model, _ = pair("gpt2")
    before = model(torch.tensor([[3, 4, 5]])).logits
    shallow = first_layers(model, 1)
    assert len(shallow.transformer.h) == 1
    assert len(model.transformer.h) == 3
    assert shallow.transformer.wte.weight is model.transformer.wte.weight
    torch.testing.assert_close(model(torch.tensor([[3, 4, 5]])).logits, before, rtol=0, atol=0)
    for layers in (0, 3):
        with pytest.raises(HarnessError, match=f"early:{layers}: give 1 to 2 layers of 3"):
            first_layers(model, layers)


def test_what_cannot_be_rolled_back_is_refused():
    mamba = AutoModelForCausalLM.from_config(
        MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, state_size=4)
    )
    with pytest.raises(HarnessError, match="model of type mamba cannot be decoded speculatively"):
        SlotModel(mamba, rows=1, capacity=10)
    for changes, words in (
        ({"_attn_implementation": "flash_attention_2"}, "give attn_implementation=sdpa or eager"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "depends on the longest row"),
        ({"use_bidirectional_attention": True}, "attends in both directions"),
    ):
        model = tiny("llama")
        for name, value in changes.items():
            model.config.__dict__[name] = value
            if name == "_attn_implementation":
                model.config._attn_implementation_internal = value
        with pytest.raises(HarnessError, match=words):
            supported(model)
