from __future__ import annotations

import numpy as np
import pytest
import torch
from harness_taid.data.exchanges import Item
from harness_taid.training.options import SAMPLERS
from harness_taid.training.student_outputs import BUFFER, Sampler, Shared, Writer
from transformers import AutoModelForCausalLM

from taid import tiny


@pytest.fixture(scope="module")
def pair(models):
    return [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in models]


def item(first, prompt, response=1):
    return Item(np.arange(first, first + prompt + response, dtype=np.int32), prompt)


def writer(student, **options):
    values = {"vocabulary": 2048, "ends": {2}, "pad": 0, "response": 5, "total": 64}
    return Writer(student=student, **values | options)


def test_a_mixture_is_drawn_from_with_left_padding_and_a_cache(pair):
    """Step by step, log(α p + (1 − α) q) of each row equals that of the row read alone."""
    teacher, _ = pair
    prompts = [[5, 6, 7, 8], [9, 10]]
    ids = torch.tensor([prompts[0], [0, 0, *prompts[1]]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    shared = Shared(2000, mask, teacher, 0.2)
    written = [list(prompt) for prompt in prompts]
    for token in (11, 12, 13):
        with torch.inference_mode():
            alone = [[m(torch.tensor([row])).logits[0, -1] for m in pair] for row in written]
            found = shared(ids, torch.stack([q for _, q in alone]))
        for logits, row in zip(alone, found, strict=True):
            p, q = (side[:2000].softmax(-1) for side in logits)
            torch.testing.assert_close(row[:2000].exp(), 0.2 * p + 0.8 * q, atol=1e-5, rtol=1e-3)
            assert row[2000:].isneginf().all()
        ids = torch.cat([ids, torch.full((2, 1), token)], dim=1)
        written = [[*row, token] for row in written]


def test_answers_are_drawn_at_temperature_one(pair):
    """First tokens of many answers against the student's distribution, by chi-square."""
    _, student = pair
    one = item(5, 3)
    with torch.inference_mode():
        q = student(torch.tensor([[5, 6, 7]])).logits[0, -1, :64].double().softmax(-1)
    made = writer(student, vocabulary=64, response=1).answers([one] * 4000, seed=1)
    counts = np.bincount([int(answer.ids[3]) for answer in made], minlength=64)
    expected = 4000 * q.numpy()
    kept = expected >= 5
    observed = [*counts[kept], counts[~kept].sum()]
    wanted = [*expected[kept], max(expected[~kept].sum(), 1e-9)]
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, wanted, strict=True))
    freedom = len(wanted) - 1
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5


def test_answers_follow_the_seed_and_leave_the_model_as_it_was(pair):
    _, student = pair
    config = student.generation_config
    student.train()
    items = [item(5, 3), item(20, 6)]
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    found = [writer(student).answers(items, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    texts = [[one.ids.tolist() for one in made] for made in found]
    assert texts[0] == texts[1] != texts[2]
    assert student.training and student.generation_config is config
    for one, made in zip(items, found[0], strict=True):
        assert made.ids[: one.prompt].tolist() == one.ids[: one.prompt].tolist()
        assert 1 <= len(made.ids) - made.prompt <= 5
    student.eval()


def test_an_answer_stops_behind_its_first_end(pair):
    _, student = pair
    made = writer(student, ends=set(range(1024)), response=20).answers([item(5, 3)] * 50, seed=0)
    for one in made:
        ends = [n for n, token in enumerate(one.ids[3:]) if token < 1024]
        assert ends in ([], [len(one.ids) - 4])
    greedy = writer(student).answers([item(5, 3)] * 2, seed=0, greedy=True)
    assert greedy[0].ids.tolist() == greedy[1].ids.tolist()


def test_the_buffer_holds_the_latest_and_is_drawn_from():
    sampler = Sampler("mixed", 7)
    steps = [sampler.generates(step) for step in range(1, 401)]
    assert 160 < sum(steps) < 240
    for step in range(30):
        drawn = sampler.drawn(step, [item(40 * step, 2) for _ in range(40)])
        assert len(drawn) == 40
    assert len(sampler.buffer) == BUFFER
    assert min(one.ids[0] for one in sampler.buffer) == 40 * 5  # the first 200 are gone
    copy = Sampler("mixed", 7)
    copy.resume(sampler.state(), sampler.tensors())
    pairs = zip(sampler.drawn(9, [item(1, 1)]), copy.drawn(9, [item(1, 1)]), strict=True)
    assert all(one.key == other.key for one, other in pairs)
    assert [Sampler(kind, 0).share for kind in SAMPLERS] == [0.0, 0.5, 0.0, 1.0]


def test_the_adaptive_share_rises_when_validation_does_not_fall():
    sampler = Sampler("adaptive", 7)
    for loss, share in ((2.0, 0.0), (1.9, 0.0), (1.9, 0.1), (2.0, 0.2), (1.0, 0.2)):
        sampler.validated(loss)
        assert sampler.share == pytest.approx(share)
    for _ in range(20):
        sampler.validated(9.0)
    assert sampler.share == 1.0 and sampler.generates(3)
    assert Sampler("on_policy", 7).drawn(1, [item(1, 1)])[0].prompt == 1


def test_tiny_is_the_testbeds_vocabulary(models):
    assert len(tiny.tokenizer()) == tiny.VOCABULARY
