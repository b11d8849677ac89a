from __future__ import annotations

import json
import math
from collections import defaultdict

import pytest
from harness_specdecode.data import prompts as data
from harness_specdecode.decoding.rounds import Answer, Request
from harness_specdecode.measuring import spec_bench
from harness_specdecode.measuring.comparing import Decoding, Run
from harness_specdecode.metrics import speed
from harness_specdecode.metrics.speed import by_group, item
from harness_specdecode.requests import CHAT
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from harness import compose
from harness.errors import DataError, HarnessError
from harness.host.task_files import task_folder
from harness.testbed import model_path

pytestmark = pytest.mark.long

SpeculativeHF = compose("hf-speculative")

GREEDY = {"until": [], "max_gen_toks": 10, "do_sample": False}


@pytest.fixture(scope="module")
def model():
    return SpeculativeHF(
        "testbed:teacher",
        drafter="testbed:student",
        gamma=3,
        adaptive=False,
        device="cpu",
        batch_size=2,
    )


def evaluate(model, limit=6, **options):
    manager = TaskManager(
        include_path=str(task_folder("specdecode")),
        include_defaults=False,
        metadata={"data": "testbed"},
    )
    return simple_evaluate(
        model=model, tasks=["spec_bench"], task_manager=manager, limit=limit, bootstrap_iters=100,
        **{"gen_kwargs": "max_gen_toks=10", "apply_chat_template": True} | options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(model):
    return evaluate(model)


def ask(*turns, group="qa", chat=None, ctx=None, **options):
    doc = {data.TURNS: list(turns), data.GROUP: group, CHAT: chat}
    arguments = (turns[0] if ctx is None else ctx, GREEDY | options)
    return Instance("generate_until", doc, arguments, 0, ("spec_bench", 0, 1))


def generate(model, asked):
    return model.generate_until(asked, disable_tqdm=True)


# Metrics


def turn(own, plain, identical=True):
    names = ("tokens", "seconds", "target_calls", "accepted", "proposed")
    return {
        "answer": "",
        "identical": identical,
        "speculative": dict(zip(names, own, strict=False)),
        "plain": dict(zip(names, plain, strict=False)),
    }


def trace(*turns, batch="0"):
    return {"batch": batch, "turns": list(turns)}


def test_figures_by_hand():
    one = item(trace(turn((30, 0.75, 10, 20, 40), (40, 5.0)), turn((10, 0.25, 6, 4, 8), (0, 0.0))))
    two = item(trace(turn((20, 3.0, 4, 16, 16), (20, 3.0), identical=False), batch="1"))
    assert one["speculative"]["tokens"] == 40
    both = [one, two]
    assert speed.tokens_per_second(both) == 15
    assert speed.tokens_per_second_plain(both) == 7.5
    assert speed.speedup(both) == 2
    assert speed.mean_accepted_tokens(both) == 3
    assert speed.acceptance_rate(both) == 40 / 64
    assert speed.identical_outputs(both) == pytest.approx(2 / 3)
    assert speed.speedup_ci95(both) is None, "two batches are too few"
    low, high = speed.speedup_ci95([*both, one | {"batch": "2"}])
    assert (low, high) == (1, 5)  # of either question alone: 40/1 against 40/5, 20/3 against 20/3


def test_questions_of_a_batch_are_resampled_together():
    fast, slow = turn((10, 1.0), (10, 4.0)), turn((10, 1.0), (10, 2.0))
    together = [item(trace(fast)), item(trace(slow))]
    apart = [item(trace(fast)), item(trace(slow, batch="1"))]
    assert speed.speedup(together) == speed.speedup(apart) == 3
    assert math.isnan(speed.speedup.stderr(together))
    third = item(trace(slow, batch="2"))
    assert speed.speedup_ci95([*together, third]) is None
    assert speed.speedup_ci95([*apart, third]) == [2.0, 4.0]


def test_groups_by_hand():
    rows = [
        item(trace(turn((10, 1.0, 5, 0, 0), (10, 4.0)))) | {"group": "qa"},
        item(trace(turn((30, 1.0, 6, 24, 30), (30, 2.0)), batch="1")) | {"group": "rag"},
    ]
    assert by_group(rows) == {
        "qa": {
            "questions": 1, "speedup": 4.0, "mean_accepted_tokens": 2.0, "acceptance_rate": None,
            "tokens_per_second": 10.0, "tokens_per_second_plain": 2.5, "identical_outputs": 1.0,
            "speedup_ci95": [None, None],
        },
        "rag": {
            "questions": 1, "speedup": 2.0, "mean_accepted_tokens": 5.0, "acceptance_rate": 0.8,
            "tokens_per_second": 30.0, "tokens_per_second_plain": 15.0, "identical_outputs": 1.0,
            "speedup_ci95": [None, None],
        },
    }  # fmt: skip
    assert speed.SpeedupOf("qa")(rows) == 4
    assert math.isnan(speed.SpeedupOf("qa").stderr(rows))
    assert math.isnan(speed.SpeedupOf("math")(rows))


def test_a_model_that_does_not_know_its_passes_has_a_speedup_all_the_same():
    known = [item(trace(turn((10, 1.0), (10, 4.0))))]
    assert speed.speedup(known) == 4
    assert math.isnan(speed.mean_accepted_tokens(known))


def test_seconds_are_shared_out_by_passes():
    request = Request([1], 0, 9)
    answers = [
        Answer(request, [5, 6, 7, 8], accepted=3, proposed=3, target_calls=1),
        Answer(request, [5, 6, 7], accepted=0, proposed=9, target_calls=3),
    ]
    figures = spec_bench._figures(Run(Decoding(), answers, 8.0, 3, 9))
    assert [row["seconds"] for row in figures] == [2.0, 6.0]
    assert figures[0] == {
        "tokens": 4, "seconds": 2.0, "target_calls": 1, "accepted": 3, "proposed": 3,
    }  # fmt: skip


# Decoding


def test_the_table_is_made_of_the_samples(results):
    figures = results["results"]["spec_bench"]
    samples = results["samples"]["spec_bench"]
    found = defaultdict(float)
    for sample in samples:
        turns = sample["speedup"]["turns"]
        assert len(turns) == len(sample["doc"]["spec_bench_turns"])
        assert sample["resps"][0][0] == turns[-1]["answer"]
        for one in turns:
            assert one["identical"] is True
            assert 0 < one["speculative"]["tokens"] <= 10
            for way in ("speculative", "plain"):
                for name, value in one[way].items():
                    found[way, name] += value
    assert found["plain", "target_calls"] == found["plain", "tokens"]
    rates = [found[w, "tokens"] / found[w, "seconds"] for w in ("speculative", "plain")]
    assert figures["speedup,none"] == pytest.approx(rates[0] / rates[1])
    assert figures["tokens_per_second,none"] == pytest.approx(rates[0])
    assert figures["tokens_per_second_plain,none"] == pytest.approx(rates[1])
    block = found["speculative", "tokens"] / found["speculative", "target_calls"]
    assert figures["mean_accepted_tokens,none"] == pytest.approx(block)
    assert block > 1.5
    rate = found["speculative", "accepted"] / found["speculative", "proposed"]
    assert figures["acceptance_rate,none"] == pytest.approx(rate)
    assert figures["identical_outputs,none"] == 1
    low, high = figures["speedup_ci95,none"]
    assert low <= figures["speedup,none"] <= high
    assert figures["speedup_stderr,none"] > 0
    table = results["configs"]["spec_bench"]["metadata"]["by_group"]
    assert [row["questions"] for row in table.values()] == [3, 3]
    for name, row in table.items():
        assert figures[f"speedup_of_{name},none"] == pytest.approx(row["speedup"], abs=1e-4)
    json.dumps(results["samples"], default=str)
    # what the run's totals count is the model's own way
    assert results["config"]["speculation"]["tokens"] == found["speculative", "tokens"]


def test_batches_hold_one_group(results):
    groups = defaultdict(list)
    for sample in results["samples"]["spec_bench"]:
        groups[sample["speedup"]["batch"]].append(sample["doc"]["group"])
    assert sorted(map(len, groups.values())) == [1, 1, 2, 2]
    assert all(len(set(names)) == 1 for names in groups.values())


def test_later_turns_hold_the_models_own_answers(model, monkeypatch):
    prompts = []
    request = model.request

    def noted(text, *rest):
        prompts.append(text)
        return request(text, *rest)

    monkeypatch.setattr(model, "request", noted)
    asked = [
        ask("A?", "B?", "C?", ctx="<first>", chat={"system": "Be kind."}),
        ask("D?", "E?"),
    ]
    answers = generate(model, asked)
    first, second = ([t["answer"] for t in a.trace["spec_bench"]["turns"]] for a in answers)
    assert prompts == [
        "<first>", "D?",
        model.apply_chat_template([
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "A?"},
            {"role": "assistant", "content": first[0]}, {"role": "user", "content": "B?"},
        ]),
        f"D?\n\n{second[0]}\n\nE?",
        model.apply_chat_template([
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "A?"},
            {"role": "assistant", "content": first[0]}, {"role": "user", "content": "B?"},
            {"role": "assistant", "content": first[1]}, {"role": "user", "content": "C?"},
        ]),
    ]  # fmt: skip
    assert [str(answer) for answer in answers] == [first[2], second[1]]


def test_the_system_instruction_stays(model, monkeypatch):
    talks = []
    hold = spec_bench._hold

    def noted(model, held, clock):
        talks.extend(talk.request.doc[CHAT] for talk in held)
        hold(model, held, clock)

    monkeypatch.setattr(spec_bench, "_hold", noted)
    evaluate(model, limit=1, system_instruction="Be kind.", gen_kwargs="max_gen_toks=2")
    evaluate(model, limit=1, apply_chat_template=False, gen_kwargs="max_gen_toks=2")
    assert talks == [{"system": "Be kind."}, None]


def test_answers_are_those_of_other_tasks(model):
    """With sampling: the same noise, whatever measures."""
    sampled = {"do_sample": True, "temperature": 0.9, "max_gen_toks": 12}
    texts = ("What is the theater like?", "Hi", "Give me some facts about the workshop.")
    plain = [
        Instance("generate_until", {}, (t, GREEDY | sampled), k, ("other", k, 1))
        for k, t in enumerate(texts)
    ]
    asked = [ask(text, **sampled) for text in texts]
    answers = generate(model, [*asked, *plain, asked[0]])
    assert answers[:3] == answers[3:6]
    assert answers[6] != answers[0]  # a repeat
    for answer in answers[:3]:
        assert answer.trace["spec_bench"]["turns"][0]["identical"]


def test_who_goes_first_alternates_and_the_machine_is_warmed_once(model, monkeypatch):
    ways = []
    decode = spec_bench.decode

    def noted(model, way, *rest, **options):
        ways.append((way.drafter, way.batch_size, options["warm_up"]))
        return decode(model, way, *rest, **options)

    monkeypatch.setattr(spec_bench, "decode", noted)
    generate(model, [ask("A?", "B?"), ask("C?", group="rag"), ask("D?")])
    own, plain = "testbed:student", "none"
    assert ways == [
        (own, 2, True), (plain, 2, True), (plain, 2, False), (own, 2, False),
        (own, 2, False), (plain, 2, False),
    ]  # fmt: skip


def test_an_answer_ends_where_the_context_does(model, caplog):
    long = ask("What is the theater like? " * 300, max_gen_toks=5000)
    short = ask("Hi", max_gen_toks=5000)
    long, short = model.prompted([long, short])
    limits = [spec_bench._request(model, spec_bench._Talk(each), 5000) for each in (long, short)]
    context = model.max_length
    assert [len(r.prompt) + r.limit for r in limits] == [context, context]
    assert limits[0].limit == context // 2
    assert "Left truncation applied" in caplog.text
    assert spec_bench._request(model, spec_bench._Talk(long), 7).limit == 7


# Refusals


def test_without_a_drafter_nothing_is_compared():
    with pytest.raises(HarnessError, match="spec_bench compares a drafter with plain decoding"):
        generate(SpeculativeHF("testbed:student", device="cpu"), [ask("A?")])


def test_a_stock_model_is_told_what_to_run():
    words = "spec_bench measures a drafter against plain .* --model hf-speculative --model_args"
    with pytest.raises(HarnessError, match=words):
        evaluate(HFLM(str(model_path("student")), device="cpu"), limit=1)


# Questions


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(number, category, *turns):
    return {"question_id": number, "category": category, "turns": list(turns)}


def test_groups_take_turns(tmp_path):
    rows = [
        row(1, "writing", "a", "b"), row(2, "math", "c", "d"), row(3, "coding", "e"),
        row(4, "rag", "f"), row(5, "rag", "g"),
    ]  # fmt: skip
    path = write(tmp_path / "question.jsonl", rows)
    found = data.spec_bench_questions(specbench_data=path)
    assert [(r["question_id"], r["group"]) for r in found.rows] == [
        (1, "multi_turn"), (3, "coding"), (4, "rag"), (2, "multi_turn"), (5, "rag"),
    ]  # fmt: skip
    assert found.rows[0] == {
        "question_id": 1, "category": "writing", "group": "multi_turn", "prompt": "a",
        "spec_bench_turns": ["a", "b"],
    }  # fmt: skip
    groups = [r["group"] for r in data.spec_bench_questions(data="testbed").rows]
    assert groups[:4] == ["testbed", "testbed_turns"] * 2
    assert len(groups) == 120


def test_bad_questions_are_refused(tmp_path):
    (tmp_path / "question.jsonl").write_text('{"question_id": 1, "category": "qa", "turns": ["a')
    with pytest.raises(DataError, match=r"question\.jsonl, line 1: not valid JSON"):
        data.spec_bench_questions(data=str(tmp_path))
    with pytest.raises(DataError, match="did you mean specbench_data"):
        data.spec_bench_questions(specbench_dta="x")
