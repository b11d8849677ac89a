"""The sampler inside vLLM's workers, and what is refused before there are any; no engine starts."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.models.vllm_counts import DraftCounts, added, share
from harness_specdecode.models.vllm_runner import Seen
from harness_specdecode.models.vllm_sampler import KEY, NOTHING, Drawn, InvariantSampler
from harness_specdecode.models.vllm_worker import attach
from scipy.stats import chisquare

from harness.engine.worker import Worker
from harness.errors import HarnessError
from harness.testbed import model_path

V = 12
EPS = torch.finfo(torch.float32).eps
PLAIN = Sampling(temperature=1.0)
KINDS = (
    PLAIN,
    Sampling(temperature=0.7, top_k=4),
    Sampling(),
    Sampling(temperature=1.3, top_p=0.8, suppressed=(3,)),
    Sampling(temperature=1.0, repetition_penalty=1.7),
)


def fixed_logits(text):
    """What a model that looks at two tokens expects behind a text."""
    generator = torch.Generator().manual_seed(hash(tuple(text[-2:])) % 2**31)
    return 2 * torch.randn(V, generator=generator)


def by_hand(asked, prompt, length, seed=1):
    """One token after the other, by the definition."""
    text = list(prompt)
    for t in range(length):
        seen = torch.zeros(V, dtype=torch.bool)
        seen[text] = True
        scores = asked.sampling.scores(fixed_logits(text), seen)
        if not asked.sampling.greedy:
            scores = scores + Noise(seed).gumbel([asked.key], t, V)[0]
        text.append(int(scores.argmax()))
    return text[len(prompt) :]


class Batch:
    """Requests in an engine's steps: drafts of any length, some steps without, rows that move."""

    def __init__(self, seed, drafting):
        self.rng, self.drafting = random.Random(seed), drafting
        self.sampler = InvariantSampler(Noise(1), EPS)
        self.rows = []

    def enter(self, asked, prompt):
        self.rows.append(SimpleNamespace(asked=asked, prompt=prompt, text=list(prompt), draft=[]))

    def step(self):
        rows = self.rows
        logits = [
            fixed_logits(row.text + row.draft[:j])
            for row in rows
            for j in range(len(row.draft) + 1)
        ]
        seen = torch.zeros(len(rows), V, dtype=torch.bool)
        for k, row in enumerate(rows):
            seen[k, row.text] = True
        writes = torch.tensor([self.rng.random() > 0.2 for _ in rows])
        written = self.sampler.verify(
            torch.stack(logits),
            [row.asked for row in rows],
            torch.tensor([len(row.text) - len(row.prompt) for row in rows]),
            [len(row.draft) + 1 for row in rows],
            torch.tensor([token for row in rows for token in row.draft]),
            writes=writes,
            seen=seen,
        )
        for row, tokens, kept in zip(rows, written.tolist(), writes.tolist(), strict=True):
            new = [token for token in tokens if token != NOTHING]
            assert tokens == new + [NOTHING] * (len(tokens) - len(new))
            assert new[:-1] == row.draft[: len(new) - 1]
            row.text += new if kept else []
        self.draft()

    def draft(self):
        """As the target itself, as a coupled model, at random, or not at all."""
        lengths = [self.rng.randrange(4) for _ in self.rows]
        for row in self.rows:
            row.draft = []
        for j in range(max(lengths)):
            logits = torch.stack([fixed_logits(row.text + row.draft) for row in self.rows])
            tokens = self.sampler.draw(logits + 0.3 * torch.sin(100 * logits)).tolist()
            for row, token, length in zip(self.rows, tokens, lengths, strict=True):
                if j < length:
                    worst = self.drafting == "random" or self.rng.random() < 0.1
                    row.draft.append(self.rng.randrange(V) if worst else token)


@pytest.mark.parametrize("drafting", ["coupled", "random"])
@pytest.mark.parametrize("kinds", [(PLAIN,), KINDS])
def test_random_steps_write_what_the_definition_says(drafting, kinds):
    """Requests of several kinds, entering, leaving and moving, with steps that are thrown away."""
    batch, rng = Batch(0, drafting), random.Random(3)
    length, checked = 14, 0
    for number in range(60):
        while len(batch.rows) < 4:
            prompt = [rng.randrange(V) for _ in range(rng.randint(1, 5))]
            batch.enter(
                Drawn(request_key(1, prompt, number), kinds[rng.randrange(len(kinds))]), prompt
            )
        batch.step()
        done = [row for row in batch.rows if len(row.text) - len(row.prompt) >= length]
        for row in done:
            assert row.text[len(row.prompt) :][:length] == by_hand(row.asked, row.prompt, length)
            batch.rows.remove(row)
            checked += 1
        if number % 7 == 0:
            rng.shuffle(batch.rows)
    assert checked > 8


def test_the_worked_example():
    sampler = InvariantSampler(Noise(0), EPS)
    logits = torch.full((4, V), -9.0)
    logits[range(4), [5, 9, 4, 1]] = 9.0
    greedy = [Drawn(0, Sampling())]
    written = sampler.verify(
        logits, greedy, torch.tensor([7]), [4], torch.tensor([5, 8, 2]), writes=torch.tensor([True])
    )
    assert written.tolist() == [[5, 9, NOTHING, NOTHING]]
    assert sampler._next.tolist() == [9]
    assert sampler.take_counts() == {"target_calls": 1, "near_ties": 0}
    assert not any(sampler.take_counts().values())


def test_near_ties_are_of_what_is_written():
    sampler = InvariantSampler(Noise(0), EPS)
    logits = torch.zeros(4, V)
    logits[0, 5] = logits[1, 7] = 1.0  # the first two picks are clear, the rest are ties
    asked = [Drawn(0, Sampling()), Drawn(1, Sampling())]
    written = sampler.verify(
        logits[[0, 1, 2, 3]],
        asked,
        torch.tensor([0, 0]),
        [3, 1],
        torch.tensor([5, 6]),
        writes=torch.tensor([True, False]),
    )
    assert written.tolist() == [[5, 7, NOTHING], [0, NOTHING, NOTHING]]
    assert sampler.take_counts() == {"target_calls": 1, "near_ties": 0}
    assert not any(sampler.take_counts().values())


@pytest.mark.parametrize("drafting", ["coupled", "random"])
def test_pairs_of_tokens_are_distributed_as_the_targets(drafting):
    """χ² over many keys, against the product of the probabilities."""
    sampling, draws = Sampling(temperature=1.0, top_k=4), 4000
    batch = Batch(5, drafting)
    batch.rng = SimpleNamespace(random=lambda: 0.5, randrange=random.Random(1).randrange)
    for number in range(draws):
        batch.enter(Drawn(request_key(1, [1, 2], number), sampling), [1, 2])
    while any(len(row.text) < 4 for row in batch.rows):
        batch.step()
    counts = Counter(tuple(row.text[2:4]) for row in batch.rows)
    expected = {}
    for first, p in enumerate(sampling.scores(fixed_logits([1, 2])).double().softmax(-1).tolist()):
        second = sampling.scores(fixed_logits([1, 2, first])).double().softmax(-1)
        expected |= {(first, v): p * q for v, q in enumerate(second.tolist()) if p * q > 0}
    assert set(counts) <= set(expected)
    assert len(expected) == 16
    wanted = np.array(list(expected.values())) * draws
    seen = np.array([counts[pair] for pair in expected])
    common = wanted >= 5
    seen, wanted = (np.append(x[common], x[~common].sum()) for x in (seen, wanted))
    good = wanted > 0
    assert chisquare(seen[good], wanted[good] / wanted.sum() * seen.sum()).pvalue > 1e-3


def test_a_request_keeps_its_key_and_sampling_on_the_way():
    """As vLLM sends it to an engine in another process."""
    asked = Drawn(2**64 - 1, Sampling(temperature=0.3, top_k=5, suppressed=(1, 2)))
    assert Drawn.of(json.loads(json.dumps(dict([asked.message()])))) == asked
    assert Drawn.of({KEY: {"place": 3}}) is None
    assert Drawn.of(None) is None


def test_vllms_counters_are_read_by_difference():
    def metrics(*numbers):
        names = ("drafts", "draft_tokens", "accepted_tokens")
        counters = [
            SimpleNamespace(name=f"vllm:spec_decode_num_{name}", value=value)
            for name, value in zip(names, numbers, strict=False)
        ]
        vector = SimpleNamespace(
            name="vllm:spec_decode_num_accepted_tokens_per_pos", values=list(numbers[3:5])
        )
        return [*counters, vector, SimpleNamespace(name="vllm:generation_tokens", value=numbers[5])]

    before = DraftCounts.of(metrics(10, 20, 8, 6, 2, 30))
    found = DraftCounts.of(metrics(14, 27, 13, 9, 4, 45)).since(before)
    assert found == DraftCounts(4, 7, 5, (3, 2), 15)
    assert found.since(DraftCounts()) == found
    totals = found.totals()
    assert share(totals, 0.5) == {
        "drafts": 2, "proposed": 3.5, "accepted": 2.5, "accepted_at": [1.5, 1],
    }  # fmt: skip
    assert added(added({}, totals), totals)["accepted_at"] == [6, 4]
    assert DraftCounts.of([]) == DraftCounts()


@pytest.mark.parametrize(
    ("moved", "missing"),
    [
        (("_sample",), r"no SimpleNamespace._sample, which paperharness needs: install one of the"),
        (("input_batch", "token_ids_cpu"), r"no SimpleNamespace.token_ids_cpu, which"),
        (("discard_request_mask", "gpu"), r"no SimpleNamespace.discard_request_mask.gpu, which"),
        (("positions",), r"no SimpleNamespace.positions, which"),
        (("drafter", "_sample_draft_tokens"), r"no SimpleNamespace._sample_draft_tokens, which"),
    ],
)
def test_a_vllm_in_which_something_has_moved_is_refused_with_its_name(moved, missing):
    pytest.importorskip("vllm")
    worker = Worker()
    worker.model_runner = runner = stand_in()
    make = "harness_specdecode.models.vllm_worker:make_invariant"
    assert worker.harness_call(make, 0) == (None, None)
    worker.model_runner = runner = stand_in()
    owner = runner
    for name in moved[:-1]:
        owner = getattr(owner, name)
    delattr(owner, moved[-1])
    problem, _ = worker.harness_call(make, 0)
    assert re.match(rf"this vLLM \(.*\) has {missing}", problem)


def test_and_one_whose_sampling_is_called_otherwise():
    pytest.importorskip("vllm")
    runner = stand_in()
    runner._sample = lambda logits, drafts: None
    with pytest.raises(
        HarnessError, match=r"has no spec_decode_metadata in .*<lambda>\(…\), which"
    ):
        attach(runner, 0)


def stand_in():
    """What is needed of a model runner V1."""
    buffer = SimpleNamespace(gpu=torch.zeros(4, dtype=torch.int64))
    names = ("num_prompt_tokens", "num_tokens_no_spec", "token_ids_cpu", "req_ids")
    return SimpleNamespace(
        model_config=SimpleNamespace(dtype=torch.float32),
        device="cpu",
        positions=torch.zeros(4, dtype=torch.int64),
        query_start_loc=buffer,
        discard_request_mask=SimpleNamespace(gpu=torch.zeros(4)),
        input_batch=SimpleNamespace(**dict.fromkeys(names)),
        execute_model=lambda scheduler_output: None,
        _prepare_inputs=lambda scheduler_output, counts: None,
        _sample=lambda logits, spec_decode_metadata: None,
        drafter=SimpleNamespace(
            model=SimpleNamespace(compute_logits=None),
            _sample_draft_tokens=lambda hidden_states, sampling_metadata: None,
        ),
    )


def test_which_ids_a_text_has_is_kept_from_step_to_step():
    """Texts are read where a request enters, and grow by what is written."""
    texts = {"a": [1, 2], "b": [3], "c": [4, 4]}
    read = []

    def of(*requests):
        def text(row):
            read.append(requests[row])
            return np.array(texts[requests[row]], dtype=np.int32)

        found = seen.of(requests, 8, text)
        return [row.nonzero().flatten().tolist() for row in found]

    seen = Seen(torch.device("cpu"))
    assert of("a", "b") == [[1, 2], [3]]
    seen.add(torch.tensor([[5, 6, NOTHING], [7, NOTHING, NOTHING]]), torch.tensor([True, False]))
    assert of("a", "b") == [[1, 2, 5, 6], [3]]
    assert of("c", "a") == [[4], [1, 2, 5, 6]]
    assert of("b") == [[3]]
    assert read == ["a", "b", "c", "b"]
    seen.forget()
    assert of("b") == [[3]]
    assert read[-1] == "b" and len(read) == 5


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")  # of vLLM's own imports
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0}, r"gamma=0: give at least 1, or drafter=none"),
        ({"seed": -1}, r"seed=-1 is out of range"),
        ({"drafter": "early:2"}, r"drafter=early:2: vLLM cannot leave a model early; give"),
        ({"drafter": "nowhere/nothing"}, r"drafter nowhere/nothing cannot be loaded"),
        ({"drafter": "testbed:student"}, r"drafter testbed:student: .* heads of 24 numbers, only"),
        ({"speculative_config": {"method": "ngram"}}, r"it is made of drafter= and gamma="),
        ({"data_parallel_size": 2}, r"data_parallel_size=2: drafts are counted in one engine"),
        ({"disable_log_stats": True}, r"disable_log_stats=True: drafts are counted by vLLM's"),
        ({"invariant": True, "enable_batch_sharded_sampling": True}, r"each rank would pick for"),
        ({"invariant": True, "pipeline_parallel_size": 2}, r"invariant=true .*pipeline_parallel"),
        ({"invariant": True, "worker_extension_cls": "x.Y"}, r"worker_extension_cls=x.Y: it is"),
        ({"invariant": True, "logits_processors": ["x"]}, r"logits_processors=\['x'\]: scores"),
        ({"invariant": True, "draft_sample_method": "probabilistic"}, r"drafts are coupled to"),
        ({"pretrained": "testbed:nobody"}, r"testbed: no model 'nobody'"),
        ({"quantization": "nonsense"}, r"vLLM cannot run testbed:teacher: .*quantization"),
    ],
)
def test_what_is_refused_before_an_engine_starts(arguments, message):
    from harness import compose

    SpeculativeVLLM = compose("vllm-speculative")

    with pytest.raises(HarnessError, match=message) as refused:
        SpeculativeVLLM(**{"pretrained": "testbed:teacher", "dtype": "float32"} | arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_other_engines_and_vocabularies_and_missing_parts(monkeypatch, tmp_path):
    from harness_specdecode.models import vllm_settings
    from transformers import AutoTokenizer

    from specdecode.wide_student import wide_student

    monkeypatch.setattr(vllm_settings, "find_spec", lambda name: None)
    with pytest.raises(
        HarnessError, match=r"drafter=suffix .* Arctic Inference, which is not inst"
    ):
        vllm_settings.speculative_config("suffix", 5)
    monkeypatch.setattr(vllm_settings, "find_spec", lambda name: name)
    made = vllm_settings.speculative_config("suffix", 4)
    assert made == {"method": "suffix", "num_speculative_tokens": 4}
    made = vllm_settings.speculative_config("a/b", 4, revision="x", sampling="greedy")
    assert made.pop("draft_sample_method") == "greedy"
    assert made == {
        "method": "draft_model", "model": "a/b", "num_speculative_tokens": 4, "revision": "x",
    }  # fmt: skip
    vllm_settings.check({"async_scheduling": True}, invariant=True)
    student = wide_student(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(student)
    tokenizer.add_tokens(["zyx"])
    tokenizer.save_pretrained(student)
    config = vllm_settings.speculative_config(str(student), 5)
    with pytest.raises(HarnessError, match=r"has another vocabulary .* 1 entries differ"):
        vllm_settings.drafter_size(str(student), config, str(model_path("teacher")), {})


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logprobs": 3}, r"logprobs in --gen_kwargs is not supported by vllm-speculative with"),
        ({"presence_penalty": 1.0}, r"presence_penalty in --gen_kwargs is not supported by"),
        ({"structured_outputs": {}}, r"structured_outputs in --gen_kwargs is not supported by"),
        ({"logit_bias": {3: 1.0}}, r"logit_bias in --gen_kwargs is not supported by"),
        ({"min_tokens": 3}, r"min_tokens in --gen_kwargs is not supported by"),
        ({"seed": 3}, r"seed in --gen_kwargs is not supported by"),
        ({"num_beams": 3}, r"num_beams=3 in --gen_kwargs .*, or use --model vllm"),
        ({"temperature": -1.0}, r"temperature=-1.0: give 0 or more"),
        ({"temperature": 1.0, "top_p": 2}, r"top_p=2: give 0 to 1"),
    ],
)
def test_options_whose_tokens_could_not_be_vouched_for_are_refused(options, message):
    from harness import compose

    SpeculativeVLLM = compose("vllm-speculative")

    lm = SpeculativeVLLM.__new__(SpeculativeVLLM)
    lm.invariant, lm._max_gen_toks = True, 17
    with pytest.raises(HarnessError, match=message):
        lm._read({"until": [], "do_sample": True} | options)


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_draws_from_drafts_are_refused_where_vllm_draws_them_wrongly(monkeypatch):
    """Its own way to spread temperatures is tried; one that works is taken."""
    from harness_specdecode.models.vllm_settings import _expands, check_draws
    from vllm.platforms import current_platform
    from vllm.utils import cpu_triton_utils

    def right(output, values, ends, replace_from, replace_to, most):
        output[:] = values

    drawn = {"do_sample": True, "temperature": 0.7}
    for name, fine in (("stock", not current_platform.is_cpu()), ("right", True)):
        if name == "right":
            monkeypatch.setattr(cpu_triton_utils, "_expand_kernel_impl", right)
        _expands.cache_clear()
        check_draws({"do_sample": False, "temperature": 0.7})
        check_draws({"temperature": 0})
        if fine:
            check_draws(drawn)
            continue
        with pytest.raises(
            HarnessError, match=r"draws wrongly from drafts .*: give invariant=true"
        ):
            check_draws(drawn)
    _expands.cache_clear()


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_metrics_of_another_engine_are_not_taken_for_ones_own():
    from harness import compose

    SpeculativeVLLM = compose("vllm-speculative")

    lm = SpeculativeVLLM.__new__(SpeculativeVLLM)
    lm.invariant = False
    assert lm._of_batch(DraftCounts(3, 6, 4, (3, 1), 9), 8)["accepted"] == 4
    with pytest.raises(HarnessError, match="one set of metrics a process, and an engine started"):
        lm._of_batch(DraftCounts(3, 6, 4, (3, 1), 7), 8)


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_vllm_knows_what_it_is_given():
    from dataclasses import fields

    from harness_specdecode.models.vllm_settings import speculative_config
    from vllm.config import SpeculativeConfig

    known = {field.name for field in fields(SpeculativeConfig)}
    for drafter in ("ngram", "testbed:student"):
        made = speculative_config(drafter, 3, revision="x", sampling="probabilistic")
        assert set(made) <= known


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_vllms_defaults_where_an_option_is_not_given():
    from harness import compose

    SpeculativeVLLM = compose("vllm-speculative")

    lm = SpeculativeVLLM.__new__(SpeculativeVLLM)
    lm._max_gen_toks = 17
    assert lm._read({"until": []})[1] == Sampling(temperature=1.0)
    assert lm._read({"until": [], "do_sample": False, "temperature": 0.5})[1] == Sampling()
    kept, sampling = lm._read({"until": ["x"], "temperature": 0.5, "ignore_eos": True})
    assert sampling == Sampling(temperature=0.5)
    assert kept == {
        "until": ["x"], "temperature": 0.5, "do_sample": True, "max_gen_toks": 17,
        "ignore_eos": True,
    }  # fmt: skip


def test_without_vllm_a_line_says_what_to_install():
    code = (
        "import sys; sys.modules['vllm'] = None\n"
        "from harness.errors import HarnessError\n"
        "from harness import compose\n"
        "try:\n    compose('vllm-speculative')\n"
        "except HarnessError as problem:\n    print(problem)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("vllm-speculative needs vLLM: pip install 'paperharness[vllm]'")
