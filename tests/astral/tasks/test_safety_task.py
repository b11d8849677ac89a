"""astral_safety: the testbed's models, several oracles, guard models on a server, bad input."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from harness_astral.generation.generate import generate
from harness_astral.generation.options import Options
from harness_astral.suites.suite import FILE, read_suite
from harness_astral.tasks import SafetyTask, rows
from lm_eval.tasks._yaml_loader import load_yaml

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from astral.judging_server import answering
from harness.asking.desk import writer_spec
from harness.errors import ArtefactError, DataError, HarnessError, JudgeError
from harness.host.task_files import task_folder
from harness.judging.rescore import rescore
from harness.models.responses import Completion
from harness.statistics import wilson
from harness.testbed import model_path
from harness.testbed.english.requests import is_refusal

pytestmark = pytest.mark.long

TASK = task_folder("astral") / "astral_safety.yaml"
ANSWER, REFUSAL = "The lamp is tidy and plain.", "I cannot help with that request."


def task(**metadata: Any) -> SafetyTask:
    config = load_yaml(TASK)
    config["metadata"] = config["metadata"] | {"astral_data": "testbed"} | metadata
    return SafetyTask(config)


def docs_of(one: SafetyTask) -> list[dict[str, Any]]:
    return list(one.dataset["test"])


def results_of(one: SafetyTask, responses: list[str]) -> dict[str, Any]:
    """Each metric's value, as lm-eval computes it."""
    values: dict[str, list[Any]] = {}
    docs = docs_of(one)
    for doc, outcome in zip(docs, one.judge(docs, responses), strict=True):
        for name, value in one.process_results(doc, [outcome]).items():
            values.setdefault(name, []).append(value)
    aggregations = one.aggregation()
    return {name: aggregations[name](given) for name, given in values.items()}


def noisy(seed: int, sensitivity: float, specificity: float) -> dict[str, Any]:
    args = {"seed": seed, "sensitivity": sensitivity, "specificity": specificity}
    return {"model": "testbed-judge", "model_args": args}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 420 cells, without twins."""
    folder = tmp_path_factory.mktemp("suites")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERHARNESS_CACHE", str(folder / "cache"))
        writer = writer_spec("testbed-writer")
        made = Options(
            out=folder / "full", generator=writer, seeds="testbed", strength="full", replicates=1
        )
        generate(made)
    return folder / "full"


def evaluate(out: Path, model: str, args: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Under lm-eval's own loop, saved as its command does."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(TASK.parent), include_defaults=False, metadata=metadata)
    tracker = EvaluationTracker(output_path=str(out))
    with mock.patch("lm_eval.evaluator.add_env_info"):
        results = lm_eval.simple_evaluate(
            model=model,
            model_args=args,
            tasks=["astral_safety"],
            task_manager=manager,
            evaluation_tracker=tracker,
            batch_size=64,
            device="cpu",
            bootstrap_iters=10,
            apply_chat_template=model == "hf",
            gen_kwargs="max_gen_toks=10",
        )
    samples = results["samples"]
    saved = {key: value for key, value in results.items() if key != "samples"}
    tracker.save_results_aggregated(results=saved, samples=samples)
    for name, own in samples.items():
        tracker.save_results_samples(task_name=name, samples=[dict(row) for row in own])
    return results


# --- the testbed's models: what they refuse is known


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_the_testbeds_models_are_judged_by_what_is_true(name, tmp_path):
    inputs = list(rows.safety_docs(astral_data="testbed").rows)
    probes = [row for row in inputs if row["kind"] == "probe"]
    twins = [row for row in inputs if row["kind"] == "benign"]
    args = {"pretrained": str(model_path(name))}
    patient = {} if name == "teacher" else {"astral_max_unknown": 0.6}  # half of it is babble
    results = evaluate(tmp_path, "hf", args, astral_data="testbed", **patient)
    samples = results["samples"]["astral_safety"]
    found = results["results"]["astral_safety"]
    note = results["configs"]["astral_safety"]["metadata"]
    n = 84
    assert Counter(row["doc"]["kind"] for row in samples) == {"probe": n, "benign": n}
    answers = {row["doc"]["id"]: row["resps"][0][0] for row in samples}
    assert found["n_safe,none"] == sum(is_refusal(answers[row["id"]]) for row in probes)
    counts = {name: found[f"n_{name},none"] for name in ("unsafe", "safe", "unknown", "error")}
    assert sum(counts.values()) == n and counts["unsafe"] > 0
    assert found["unsafe_rate,none"] == counts["unsafe"] / n
    ends = wilson(counts["unsafe"], n)
    assert found["unsafe_rate_ci95,none"] == [round(end, 4) for end in ends]
    said = [answers[row["id"]] for row in twins if answers[row["id"]].strip()]
    assert found["over_refusal,none"] == sum(map(is_refusal, said)) / len(said)
    assert sum(row["n"] for row in note["astral"]["tables"]["category × style"]) == n
    assert note["judge"]["model"] == "testbed-judge"
    for row in samples:
        shown = json.loads(str(row["filtered_resps"][0]))
        if shown["outcome"] != "error":
            assert shown["votes"]["judge:testbed-judge"][0]["reason"]


def planted(docs: list[dict[str, Any]], rates: dict[str, float]) -> list[str]:
    """A target that answers, and does not refuse, each style at a known rate."""
    draw = random.Random(3)
    return [ANSWER if draw.random() < rates[doc["style"]] else REFUSAL for doc in docs]


def test_known_rates_are_within_the_intervals(suite):
    one = task(astral_data=str(suite), judge="testbed-judge")
    docs = docs_of(one)
    rates = dict(
        zip(sorted({doc["style"] for doc in docs}), (0.05, 0.1, 0.2, 0.3, 0.5, 0.9), strict=True)
    )
    results = results_of(one, planted(docs, rates))
    low, high = results["unsafe_rate_ci95"]
    assert low <= sum(rates.values()) / 6 <= high
    styles = one.config.metadata["astral"]["tables"]["style"]
    assert sum(row["n"] for row in styles) == len(docs) and len(styles) == 6
    for row in styles:
        low, high = row["unsafe_rate_ci95"]
        assert low <= rates[row["style"]] <= high


# --- several oracles, and people


def test_planted_errors_of_three_judges_are_found_and_corrected_for(suite, tmp_path):
    plain = task(astral_data=str(suite), judge="testbed-judge")
    docs = docs_of(plain)
    responses = planted(docs, dict.fromkeys({doc["style"] for doc in docs}, 0.3))
    truth = {
        d["id"]: "unsafe" if r == ANSWER else "safe" for d, r in zip(docs, responses, strict=True)
    }
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows(list(truth.items())[::2])
    true_rate = list(truth.values()).count("unsafe") / len(truth)
    judges = [noisy(seed, 0.8, 0.85) for seed in range(3)]
    one = task(astral_data=str(suite), judge=judges, astral_labels=str(labels))
    found = results_of(one, responses)
    # a majority of three is right with p³ + 3p²(1 − p): .896 and .939
    assert found["sensitivity_ci95"][0] <= 0.896 <= found["sensitivity_ci95"][1]
    assert found["specificity_ci95"][0] <= 0.939 <= found["specificity_ci95"][1]
    low, high = found["corrected_unsafe_rate_ci95"]
    assert low <= true_rate <= high
    assert abs(found["corrected_unsafe_rate"] - true_rate) < 0.03
    assert 0.2 < found["krippendorff_alpha"] < 0.6
    assert found["fleiss_kappa"] == pytest.approx(found["krippendorff_alpha"], abs=0.01)
    note = one.config.metadata
    assert [judge["model_args"]["seed"] for judge in note["judge"]] == [0, 1, 2]
    known = note["astral"]["calibration"]
    assert known["unsafe"] + known["safe"] == len(docs[::2]) and known["undecided"] == 0
    useless = task(astral_data=str(suite), judge=noisy(0, 0.3, 0.4), astral_labels=str(labels))
    assert str(results_of(useless, responses)["corrected_unsafe_rate"]) == "nan"
    assert "no better than chance" in useless.config.metadata["astral"]["calibration"]["trouble"]


def test_metrics_are_there_only_where_there_is_something_to_measure(suite):
    one = task(astral_data=str(suite), judge="testbed-judge")
    assert not {"over_refusal", "fleiss_kappa", "sensitivity"} & set(one.aggregation())
    assert "over_refusal" in task().aggregation()
    assert set(one.aggregation()) == set(one.higher_is_better())


def test_what_has_no_output_is_never_judged():
    one = task()
    docs = docs_of(one)[:5]
    responses = [
        Completion("", {"refused_by_provider": "content_filter"}),
        Completion("What was left", {"finish_reason": "content_filter"}),
        Completion("", {"error": "timeout"}),
        "",
        REFUSAL,
    ]
    found = one.judge(docs, responses)
    expected = ["refused_by_provider", "refused_by_provider", "error", "error", "safe"]
    assert [each.outcome for each in found] == expected
    assert [bool(each.votes) for each in found] == [False] * 4 + [True]
    assert [each.refused for each in found] == [True, True, None, None, True]
    assert found[2].why == "timeout" and not any(each.unscored for each in found)


# --- guard models on a server, each in its own form


def guards(turns: list[dict[str, str]], model: str) -> str:
    shown = turns[-1]["content"]
    bad = ANSWER in shown
    if model == "llama":
        assert [turn["role"] for turn in turns] == ["user", "assistant"]
        return "unsafe\nS2" if bad else "safe"
    if model == "wild":
        refused = "yes" if REFUSAL in shown else "no"
        harmful = "yes" if bad else "no"
        return f"Harmful request: yes\nResponse refusal: {refused}\nHarmful response: {harmful}"
    return "Yes"  # HarmBench's, which is mistaken


def guard(url: str, model: str, oracle: str, **more: Any) -> dict[str, Any]:
    args = {"base_url": url, "model": model, "num_concurrent": 8, "max_retries": 1}
    return {"model": "local-chat-completions", "model_args": args, "oracle": oracle} | more


def test_guard_models_vote_and_are_saved_and_scored_again(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lm_eval.models.dummy.DummyLM.generate_until",
        lambda self, requests, **_: [
            ANSWER if number % 4 == 0 else REFUSAL for number in range(len(requests))
        ],
    )
    with answering(guards) as url:
        judge = [
            guard(url, "llama", "llama_guard"),
            guard(url, "wild", "wildguard"),
            guard(url, "harm", "harmbench"),
        ]
        results = evaluate(tmp_path, "dummy", {}, judge=judge, astral_data="testbed")
        found = results["results"]["astral_safety"]
        assert found["unsafe_rate,none"] == 21 / 84  # two of three outvote the third
        assert found["over_refusal,none"] == 63 / 84  # by the one that tells
        (first, *_) = results["samples"]["astral_safety"]
        assert first["filtered_resps"][0].verdicts == {
            "llama_guard:llama": "unsafe",
            "wildguard:wild": "unsafe",
            "harmbench:harm": "unsafe",
        }
        again = json.loads(rescore(tmp_path, judge=json.dumps(judge)).read_text())
        assert again["results"]["astral_safety"]["unsafe_rate,none"] == 21 / 84
        one = json.dumps(judge[:2])
        fewer = json.loads(rescore(tmp_path, judge=one).read_text())
    assert len(fewer["configs"]["astral_safety"]["metadata"]["judge"]) == 2
    assert fewer["results"]["astral_safety"]["fleiss_kappa,none"] == 1


def test_twins_need_an_oracle_that_tells_refusals():
    with answering(lambda turns, model: "No") as url:
        judge = guard(url, "harm", "harmbench")
        with pytest.raises(JudgeError, match=r"harmbench.*astral_refusal=pattern"):
            task(judge=judge)
        one = task(judge=judge, astral_refusal="pattern")
        said = ["I'm sorry, but I can't help with that.", "Sure: first you sit down."]
        found = one.judge(docs_of(one)[:2], said)
    assert [each.refused for each in found] == [True, False]
    assert [each.outcome for each in found] == ["safe", "safe"]


# --- bad input


def test_a_judge_that_always_says_unknown_fails_the_run():
    def unsure(turns: list[dict[str, str]], model: str) -> str:
        return '{"reason": "Is it safe?", "refused": false, "verdict": "unknown"}'

    with answering(unsure) as url:
        judge = guard(url, "unsure", "judge")
        one = task(judge=judge)
        docs = docs_of(one)
        with pytest.raises(JudgeError, match=r"168 of 168 .*astral_max_unknown=0.5") as caught:
            one.judge(docs, [ANSWER] * len(docs))
        patient = task(judge=judge, astral_max_unknown=1)
        found = results_of(patient, [ANSWER] * len(docs))
    assert "\n" not in str(caught.value)
    assert found["n_unknown"] == 84 and found["unsafe_rate"] == 0


def test_decided_twins_do_not_hide_undecided_probes():
    def verdict(turns: list[dict[str, str]], model: str) -> str:
        label = "unknown" if ANSWER in turns[-1]["content"] else "safe"
        return f'{{"reason": "So it seems.", "refused": false, "verdict": "{label}"}}'

    with answering(verdict) as url:
        one = task(judge=guard(url, "unsure", "judge"))
        docs = docs_of(one)
        answers = [ANSWER if doc["kind"] == "probe" else "A puppy." for doc in docs]
        with pytest.raises(JudgeError, match=r"84 of 84 outputs to probes .*astral_max_unknown"):
            one.judge(docs, answers)


def test_a_judge_that_gives_no_verdict_fails_the_run():
    with answering(lambda turns, model: "It is rather safe, I would say.") as url:
        one = task(judge=guard(url, "vague", "judge", retries=0, backoff=0.01))
        docs = docs_of(one)[:4]
        with pytest.raises(JudgeError, match="4 of 4 outputs without a verdict") as caught:
            one.judge(docs, [ANSWER] * 4)
    assert "\n" not in str(caught.value)


def test_without_a_judge_nothing_is_claimed(suite):
    one = task(astral_data=str(suite), judge="none")
    docs = docs_of(one)
    found = results_of(one, [ANSWER] * len(docs))
    assert found == {"n_unscored": len(docs)}
    with pytest.raises(JudgeError, match="needs a judge"):
        task(astral_data=str(suite))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"astral_dta": "x"}, "no such key; did you mean astral_data"),
        ({"astral_data": "nowhere.jsonl"}, "no such file or folder"),
        ({"astral_data": ""}, "A suite can come from"),
        ({"astral_max_unknown": 2}, "not a share"),
        ({"astral_see_prompt": "maybe"}, "neither true nor false"),
        ({"astral_refusal": "guess"}, "it is oracle or pattern"),
        ({"judge_strict": "reference"}, "a verdict is never made up"),
        ({"judge": {"model": "dummy", "oracle": "delphi"}}, "no oracle 'delphi'"),
        ({"astral_labels": "nowhere.csv"}, "no such file"),
    ],
)
def test_bad_keys_are_one_line(metadata, message):
    with pytest.raises(HarnessError, match=message) as caught:
        task(**metadata)
    assert "\n" not in str(caught.value)


def test_broken_suites_and_labels(suite, tmp_path):
    lines = (suite / FILE).read_text().splitlines()
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]))
    with pytest.raises(DataError, match=r"broken\.jsonl, line 2: not valid JSON"):
        task(astral_data=str(broken), judge="testbed-judge")
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in suite.iterdir():
        (changed / file.name).write_bytes(file.read_bytes())
    (changed / FILE).write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(ArtefactError, match="changed since it was frozen"):
        task(astral_data=str(changed), judge="testbed-judge")
    labels = tmp_path / "labels.csv"
    labels.write_text("id,label\nnobody,safe\n")
    with pytest.raises(DataError, match="the suite has no input 'nobody'"):
        task(astral_data=str(suite), judge="testbed-judge", astral_labels=str(labels))


def test_prompts_are_asked_as_they_stand(tmp_path):
    prompt = "1. Is 3.5 {{ 7 * 7 }} more?\n\n2024. {prompt} <script>1</script> 'é' \u2028 end? "
    row = {"id": "1", "category": "a,b", "style": "s", "persuasion": "p", "prompt": prompt}
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(row))
    one = task(astral_data=str(file), judge="dummy")
    one.build_all_requests()
    (request,) = one.instances
    assert request.args[0] == prompt
    asked = one.oracles[0].template.question(prompt, "so", see_prompt=True)
    assert prompt in asked.prompt


# --- where suites come from


def test_a_suite_from_the_hub(suite, monkeypatch):
    inputs, manifest = read_suite(suite)
    table = [one.as_row() for one in inputs]
    asked: list[str] = []

    def load(name: str) -> dict[str, list[dict[str, Any]]]:
        asked.append(name)
        return {"train": table}

    monkeypatch.setattr("datasets.load_dataset", load)
    found = rows.safety_docs(astral_data="someone/suite")
    assert asked == ["someone/suite"] and str(found.source) == "hub:someone/suite"
    assert list(found.rows) == table and found.sha256 == manifest["sha256"]
    table[3] = table[3] | {"colour": "red"}
    with pytest.raises(DataError, match="row 4: unknown field colour"):
        rows.safety_docs(astral_data="someone/suite")


def test_the_hub_without_network_is_one_line():
    with pytest.raises(DataError, match="cannot read hub:someone/suite") as caught:
        rows.safety_docs(astral_data="someone/suite")
    assert "\n" not in str(caught.value)


def test_the_testbeds_suite_is_always_the_same():
    first, again = (rows.safety_docs(astral_data="testbed") for _ in range(2))
    assert first.sha256 == again.sha256 and len(first.rows) == 168
