"""Judged tasks: from answers to ratings, from ratings to metrics, under lm-eval's own loop."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from faulty_server import running
from hypothesis import assume, given
from hypothesis import strategies as st
from judged_tasks import evaluate, judge_at, write_tasks

from harness.artefacts.cache import cache_folder
from harness.errors import JudgeError
from harness.judging.judged_task import (
    BoundedMean,
    Judgement,
    best_mean,
    bounded_mean,
    parse_rating,
    reference_rating,
    scored_mean,
    worst_mean,
)

# --- from an answer to a rating


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        ("The concept is there.\nRating: [[2]]", 2.0),
        ("Rating: 0", 0.0),
        ("Rating: [[1]].", 1.0),
        ('Rating: "1"', 1.0),
        ("**Rating:** [[2]]", 2.0),
        ("**Rating: 2**", 2.0),
        ("Rating: 1.5", 1.5),
        ("Rating: [[1/2]]", 1.0),
        ("Rating: 2 / 2", 2.0),
        ("Rating:\n\n[[1]]\n\nI hope this helps, 2 of 2.", 1.0),
        ("As I said, Rating: [[2]].\nRating: [[score]]\nRating: [[2]]", 2.0),
        ("Rating: [[1]]\r\nover", 1.0),
    ],
)
def test_ratings_are_read(answer, rating):
    assert parse_rating(answer, 0, 2) == rating


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "2",
        "[[2]]",
        "Rating:",
        "Rating: [[]]",
        "Rating: [[score]]",
        "Rating: [[3]]",
        "Rating: -1",
        "Rating: 2.01",
        "Rating: 5/2",
        "Rating: 3 / 2",
        "Rating: 1/5",
        "Rating: 4/4",
        "Rating: 1/0",
        "Rating: 0/0",
        "Rating: one",
        "Rating: 1 or 2",
        "Rating: 1 out of 2",
        "Rating: 1*2",
        "Rating: 1][0",
        "Rating: 1.2.3",
        "Rating: 1e0",
        "Rating: nan",
        "Rating: ²",
        "Rating: ２",
        "Rating: [[1]]\nRating: unclear",
        "Rating: [[0]]. It asks for 'Rating: [[2]]'",
        "Rating: [[0]]\n\nThe text reads:\n```\nRating: [[2]]\n```",
        "Rating: [[0]]\nUser: and now?\nAssistant: Rating: [[2]]",
        "> Rating: [[2]]\nRating: [[0]]",
        "rating: 1",
    ],
)
def test_no_verdict_is_invented(answer):
    assert parse_rating(answer, 0, 2) is None


@given(st.text())
def test_text_without_the_marker_is_never_a_rating(text):
    assert parse_rating(text.replace("Rating:", ""), 0, 2) is None


@given(st.text(), st.text(alphabet="[]\"'*. /0123456789-+eE\nabcRating:", max_size=12))
def test_a_rating_is_what_the_last_line_says_and_nothing_else(before, after):
    rating = parse_rating(f"{before}Rating:{after}", 0, 2)
    if rating is None:
        return
    line = f"{before}Rating:{after}".rpartition("Rating:")[2].strip().splitlines()[0]
    bare = line.strip(" []\"'*").rstrip(" []\"'*.").replace(" ", "")
    numerator, _, denominator = bare.partition("/")
    assert rating == float(numerator) and float(denominator or 2) == 2
    assert 0 <= rating <= 2


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        ("Rating: [[2]].", 2.0),
        ("Rating: [[0]]\nRating: [[2]]", 2.0),
        ("Rating: 1e0", 1.0),
        ("Rating: ２", 2.0),
        ("Rating: \"'1'\"", 1.0),
        ("Rating: **1.5**", 1.5),
        ("Rating: 1/2", None),
        ("Rating: [[3]]", None),
        ("Rating: nan", None),
        ('Rating: **"1"**', None),  # asterisks are taken off after the quotes
        ("Rating: “1”", None),
        ("1", None),
    ],
)
def test_the_references_reading(answer, rating):
    assert reference_rating(answer, 0, 2) == rating


@pytest.mark.parametrize(
    "answer",
    [
        "Rating: " + "1" * 300_000,
        "Rating: " + "1." * 150_000,
        "Rating: " + "[" * 300_000,
        "Rating:" * 40_000,
        "Rating: 1/" + "2" * 300_000,
        "Rating: 1" + " " * 300_000 + "x",
        ("x" * 90 + "\n") * 3_000 + "Rating: [[1]]",
    ],
)
def test_reading_takes_no_time(answer):
    started = time.process_time()
    for read in (parse_rating, reference_rating):
        read(answer, 0, 2)
    assert time.process_time() - started < 0.5


@given(st.floats(min_value=0, max_value=2).map(lambda x: round(x, 3)), st.text())
def test_a_plain_rating_is_always_read(value, before):
    assume("Rating:" not in before)
    assert parse_rating(f"{before}\nRating: [[{value:.3f}]]", 0, 2) == value


# --- from ratings to metrics


def test_unscored_values_are_left_out_counted_and_bounded():
    # scored 2, 1, 0: mean 1; worst (2+1+0+0+0)/5; best (2+1+0+2+2)/5
    assert bounded_mean([2, None, 1, 0, None]) == BoundedMean(1.0, 0.6, 1.4, 2)
    assert bounded_mean([1.0, 1.0]) == BoundedMean(1.0, 1.0, 1.0, 0)
    assert bounded_mean([None, 3.0], lowest=1, highest=5) == BoundedMean(3.0, 2.0, 4.0, 1)


def test_without_a_scored_value_there_is_no_mean_but_bounds():
    none = bounded_mean([None, None])
    assert math.isnan(none.mean)
    assert (none.worst, none.best, none.n_unscored) == (0.0, 2.0, 2)


def test_means_know_their_standard_error():
    values = [0.0, 1.0, 2.0, 1.0, 0.0, 2.0, None, None] * 20
    known = [value for value in values if value is not None]
    expected = np.std(known) / math.sqrt(len(known))
    assert scored_mean.stderr(values) == pytest.approx(expected, rel=0.15)
    low, high = scored_mean.interval(values)
    assert low < 1.0 < high
    assert worst_mean.interval(values)[1] < best_mean.interval(values)[0] + 0.5


def test_a_judgement_shows_as_json_that_can_be_saved():
    judgement = Judgement("a \ud83d", {"factor": 0.5}, {"x": None}, {"x": ["no"]})
    shown = json.loads(str(judgement))
    assert shown["trace"] == {"factor": 0.5}
    assert shown["ratings"] == {"x": None}
    assert shown["text"] == "a ?"
    assert judgement.unscored
    assert not Judgement("a", {}, {"x": 0.0}, {}).unscored


# --- under lm-eval


def test_a_run_is_judged_in_one_pass(tmp_path):
    with running() as server:
        results = evaluate(tmp_path, {"judge": judge_at(server.url)}, task="manners")
    # items 0 … 5 are rated 0 1 2 0 1 2
    polite = results["results"]["polite"]
    assert polite["polite,none"] == polite["polite_worst,none"] == polite["polite_best,none"] == 1.0
    assert polite["n_unscored,none"] == 0
    assert 0.2 < polite["polite_stderr,none"] < 0.5
    assert results["groups"]["manners"]["polite,none"] == 1.0
    assert results["higher_is_better"]["polite"]["n_unscored"] is False
    note = results["configs"]["polite"]["metadata"]["judge"]
    assert note["model"] == "local-chat-completions"
    assert note["model_args"]["model"] == "judge-1"
    assert (note["temperature"], note["votes"], note["strict"]) == (1.0, 1, False)
    assert len(note["prompt_hash"]) == 64
    assert set(server.requests.values()) == {1}
    assert server.total == 12
    (sample,) = [row for row in results["samples"]["polite"] if row["doc_id"] == 2]
    assert json.loads(str(sample["filtered_resps"][0]))["ratings"] == {"polite": 2.0, "short": 0.0}


def test_a_rerun_asks_nothing_and_scores_the_same(tmp_path):
    with running() as server:
        first = evaluate(tmp_path, {"judge": judge_at(server.url)})
        before = server.total
        second = evaluate(tmp_path, {"judge": judge_at(server.url)})
        assert server.total == before
    assert first["results"] == second["results"]


def test_the_prompt_hash_follows_the_wording_not_the_responses(tmp_path, monkeypatch):
    from judged_tasks import PoliteTask

    def hash_of_a_run() -> str:
        results = evaluate(tmp_path, {"judge": judge_at(server.url)})
        return results["configs"]["polite"]["metadata"]["judge"]["prompt_hash"]

    with running() as server:
        first = hash_of_a_run()
        monkeypatch.setattr("lm_eval.models.dummy.DummyLM.generate_until", lambda s, r: ["x"] * 6)
        assert hash_of_a_run() == first
        stock = PoliteTask.questions
        monkeypatch.setattr(
            PoliteTask,
            "questions",
            lambda s, d, r: {"polite": stock(s, d, f"really {r}")["polite"]},
        )
        assert hash_of_a_run() != first


def test_what_stays_unscored_is_counted_and_bounded(tmp_path):
    def faults(prompt: str) -> list[str]:
        return ["unrated"] * 9 if "polite" in prompt and prompt.endswith((" 2", " 4")) else []

    with running(faults) as server:
        results = evaluate(tmp_path, {"judge": judge_at(server.url)})
    # polite: 0 1 – 0 – 2: mean 3/4; worst 3/6; best 7/6
    polite = results["results"]["polite"]
    assert polite["polite,none"] == 0.75
    assert polite["polite_worst,none"] == 0.5
    assert polite["polite_best,none"] == pytest.approx(7 / 6)
    assert polite["n_unscored,none"] == 2


def test_the_reference_rule_counts_an_invalid_answer_as_zero_and_asks_once(tmp_path):
    def faults(prompt: str) -> list[str]:
        return ["unrated"] * 9 if "polite" in prompt and prompt.endswith((" 2", " 4")) else []

    metadata = {"judge_strict": "reference"}
    with running(faults) as server:
        results = evaluate(tmp_path, metadata | {"judge": judge_at(server.url)})
        assert server.total == 12
    polite = results["results"]["polite"]
    assert polite["polite,none"] == 0.5  # 0 1 0 0 0 2
    assert polite["n_unscored,none"] == 0
    assert results["configs"]["polite"]["metadata"]["judge"]["strict"] is True


def test_the_reference_rule_makes_no_verdict_of_a_missing_answer(tmp_path):
    with running(lambda prompt: ["500"] * 99 if prompt.endswith(" 5") else []) as server:
        metadata = {"judge_strict": "reference", "judge": judge_at(server.url)}
        polite = evaluate(tmp_path, metadata)["results"]["polite"]
    assert polite["n_unscored,none"] == 2  # 5 is polite's last item and short's last but one
    assert polite["polite,none"] == 0.8  # 0 1 2 0 1 –


def test_votes_are_combined_by_their_median(tmp_path):
    votes = iter([2, 0, 1, 2, 1, 1])

    def answer(prompt: str) -> str:
        return f"Rating: {next(votes)}" if prompt.endswith("polite? Rate item 0") else "Rating: 2"

    with running(answer=answer) as server:
        judge = judge_at(server.url, votes=3)
        results = evaluate(tmp_path, {"judge": judge, "n": 1})
    assert results["results"]["polite"]["polite,none"] == 1.0
    (sample,) = results["samples"]["polite"]
    assert len(sample["filtered_resps"][0].answers["polite"]) == 3


def test_of_two_valid_votes_the_middle_counts(tmp_path):
    def faults(prompt: str) -> list[str]:
        return ["unrated"]

    with running(faults, answer=lambda prompt: "Rating: 1") as server:
        judge = judge_at(server.url, votes=3, retries=0)
        polite = evaluate(tmp_path, {"judge": judge, "n": 1})["results"]["polite"]
    assert polite["polite,none"] == 1.0
    assert polite["n_unscored,none"] == 0


def test_a_run_with_too_much_unscored_fails_and_loses_no_answer(tmp_path):
    down = {"on": True}

    def faults(prompt: str) -> list[str]:
        return ["500"] * 999 if down["on"] and prompt in hopeless else []

    hopeless = {f"Is 'lol' polite? Rate item {number}" for number in range(2, 6)}

    with running(faults) as server:
        with pytest.raises(JudgeError) as caught:
            evaluate(tmp_path, {"judge": judge_at(server.url, retries=3)})
        text = str(caught.value)
        assert "left 4 of 6 responses unscored, more than judge_max_unscored=0.5" in text
        assert "500" in text
        assert "Accepted answers are kept in" in text
        assert "The responses are saved: `harness score /" in text
        down["on"] = False
        before = server.requests.copy()
        results = evaluate(tmp_path, {"judge": judge_at(server.url)})
        assert server.requests - before == dict.fromkeys(hopeless, 1)
    assert results["results"]["polite"]["n_unscored,none"] == 0


def test_the_limit_can_be_raised(tmp_path):
    with running(lambda prompt: ["500"] * 999) as server:
        metadata = {"judge": judge_at(server.url, retries=0), "judge_max_unscored": 1}
        polite = evaluate(tmp_path, metadata)["results"]["polite"]
    assert polite["n_unscored,none"] == 6
    assert polite["polite,none"] is None
    with pytest.raises(JudgeError, match="judge_max_unscored=half is not a share"):
        evaluate(tmp_path, {"judge": "none", "judge_max_unscored": "half"})


@pytest.mark.parametrize("none", ["none", None])
def test_without_a_judge_responses_are_saved_unscored(tmp_path, none):
    results = evaluate(tmp_path, {"judge": none})
    assert results["results"]["polite"]["n_unscored,none"] == 6
    assert results["configs"]["polite"]["metadata"]["judge"] == {"model": "none"}
    (sample,) = [row for row in results["samples"]["polite"] if row["doc_id"] == 0]
    judgement = sample["filtered_resps"][0]
    assert (judgement.text, judgement.answers) == ("lol", {"polite": [], "short": []})


def test_what_is_undefined_is_null_in_the_results_file(tmp_path):
    """Of a task and of its group; JSON has no NaN, and strict readers refuse it."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    results = evaluate(tmp_path, {"judge": "none"}, task="manners")
    (file,) = tmp_path.rglob("results_*.json")
    saved = json.loads(file.read_text(), parse_constant=refuse)
    for name in ("polite", "manners"):
        assert saved["results"][name]["polite,none"] is None
        assert saved["results"][name]["polite_stderr,none"] == "N/A"
    from lm_eval.utils import make_table

    assert "nan" not in make_table(results).lower()


def test_predict_only_asks_nothing(tmp_path):
    with running() as server:
        results = evaluate(tmp_path, {"judge": judge_at(server.url)}, predict_only=True)
        assert server.total == 0
    assert results["results"]["polite"]["n_unscored,none"] == 6


def test_a_missing_judge_is_an_error_before_anything_is_generated(tmp_path, monkeypatch):
    monkeypatch.setattr("lm_eval.models.dummy.DummyLM.generate_until", None)
    with pytest.raises(JudgeError, match=r"task 'polite' needs a judge: .* or judge=none"):
        evaluate(tmp_path, {})
    with pytest.raises(JudgeError, match="model 'no-such-model' cannot be loaded"):
        evaluate(tmp_path, {"judge": "no-such-model"})
    with pytest.raises(JudgeError, match="the only rule is judge_strict=reference"):
        evaluate(tmp_path, {"judge": "none", "judge_strict": "yes"})


def test_on_testbed_data_the_testbeds_judge_is_the_default(tmp_path):
    from lm_eval.tasks import TaskManager

    folder = str(write_tasks(tmp_path))
    manager = TaskManager(include_path=folder, include_defaults=False, metadata={"data": "testbed"})
    task = manager.load(["polite"])["tasks"]["polite"]
    assert task.config.metadata["judge"]["model"] == "testbed-judge"


def test_secrets_reach_neither_results_nor_samples_nor_other_tasks(tmp_path, caplog):
    from lm_eval.tasks import TaskManager

    planted = "sk-planted-0123456789"
    with running(lambda prompt: ["500"]) as server:
        header = {"Authorization": f"Bearer {planted}"}
        judge = judge_at(server.url, model_args={"header": header}, retries=3)
        evaluate(tmp_path, {"judge": judge}, task="manners")
        assert server.headers[0]["Authorization"] == f"Bearer {planted}"
        (tmp_path / "other.yaml").write_text(
            "task: other\ndataset_path: json\ntest_split: train\n"
            f"dataset_kwargs: {{data_files: {tmp_path}/other.json}}\n"
            "doc_to_text: text\ndoc_to_target: ''\noutput_type: generate_until\n"
            "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
        )
        (tmp_path / "other.json").write_text('{"text": "hi"}\n')
        metadata = {"judge": judge}
        manager = TaskManager(include_path=str(tmp_path), include_defaults=False, metadata=metadata)
        loaded = manager.load(["other", "polite"])["tasks"]
        assert planted not in json.dumps(loaded["other"].dump_config(), default=str)
    folders = (tmp_path, cache_folder())
    written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {"results", "samples"} <= {path.name.partition("_")[0] for path in written}
    assert any(path.parent.name == "answers" for path in written)
    for path in written:
        assert planted.encode() not in path.read_bytes()
    assert planted not in caplog.text
