from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboard_samples import OLDER, OLDEST, REPORT, document, save, task

from harness.errors import HarnessError
from harness.leaderboard import environment, read_results
from harness.reports.values import compact, parse_model_args

if TYPE_CHECKING:
    from pathlib import Path

    from harness.leaderboard import Row, Table


_KEYS = (
    "results",
    "config",
    "configs",
    "groups",
    "group_subtasks",
    "metadata",
    "t",
    "n-samples",
    "metric_list",
    "acc,none",
    "acc_ci95,none",
    "model_args",
    "limit",
)


def one(table: Table, task_name: str, metric: str) -> Row:
    (row,) = [r for r in table.rows if (r.task.task, r.metric) == (task_name, metric)]
    return row


def test_real_files_of_lm_eval(real_results: Path) -> None:
    table = read_results([real_results])
    assert len(table.runs) == 2
    full = [row for row in table.rows if not row.task.limited]
    assert [(r.task.task, r.metric, r.headline) for r in full] == [
        ("tiny_letters", "acc", False),
        ("tiny_letters", "acc_norm", True),
        ("tiny", "acc", True),
    ]
    letters, _, group = full
    assert (letters.n, letters.task.group, letters.task.data_source) == (10, False, "inline")
    assert (letters.task.split, letters.task.version, letters.task.n_shot) == ("test", "1.0", 0)
    assert (group.n, group.task.group, group.task.version) == (10, True, "2.0")
    assert (group.task.data_source, group.task.data_sha256) == ("inline", "ab" * 32)
    run = letters.run
    assert (run.model, run.model_type, run.limit) == ("dummy", "dummy", None)
    assert run.seeds == '{"fewshot":1234,"numpy":1234,"random":0,"torch":1234}'
    assert run.date.endswith("Z") and len(run.date) == len("2025-01-01T00:00:00Z")
    assert run.torch_version and run.hardware and run.transformers_version
    assert run.lm_eval_version.startswith("0.4.") and run.seconds
    assert letters.stderr is not None and letters.ci95_low is not None
    assert letters.ci95_low == pytest.approx(letters.value - 1.96 * letters.stderr)
    (limited,) = {row.run for row in table.rows if row.task.limited}
    assert limited.limit == 4


def test_the_format_of_0_4_3(tmp_path: Path) -> None:
    table = read_results([save(tmp_path, OLDER)])
    acc = one(table, "hellaswag", "acc")
    assert (acc.value, acc.stderr, acc.n, acc.headline) == (0.4, 0.005, 10042, True)
    assert (acc.ci95_low, acc.ci95_high) == (pytest.approx(0.3902), pytest.approx(0.4098))
    assert (acc.task.group, acc.task.data_source, acc.task.split) == (
        False,
        "hellaswag",
        "validation",
    )
    run = acc.run
    assert (run.model, run.revision, run.dtype) == (
        "EleutherAI/pythia-160m",
        "step100000",
        "bfloat16",
    )
    assert run.date == "2024-06-10T06:13:20Z"
    assert run.hardware == "2 × NVIDIA A100-SXM4-80GB" and run.torch_version == "2.3.1+cu121"
    perplexity = one(table, "wikitext", "word_perplexity")
    assert (perplexity.stderr, perplexity.ci95_low, perplexity.higher_is_better) == (
        None,
        None,
        False,
    )


def test_the_format_of_0_3(tmp_path: Path) -> None:
    row = one(read_results([save(tmp_path, OLDEST)]), "piqa", "acc")
    assert (row.value, row.stderr, row.filter, row.run.model) == (0.75, 0.01, "none", "gpt2-xl")
    assert row.task.limited and row.higher_is_better is None and row.run.date == ""


def test_what_our_wrappers_and_tasks_add(tmp_path: Path) -> None:
    metrics = {
        "fluency,none": 1.5,
        "overall,none": 0.7,
        "overall_stderr,none": 0.1,
        "overall_ci95,none": [0.55, 0.8],
        "overall_ci95_stderr,none": "N/A",
        "n_unscored,none": 3,
        "n_unscored_stderr,none": "N/A",
    }
    judge = {"model": "judge", "temperature": 0, "model_args": {"api_key": "sk-1", "base": "x"}}
    metadata = {"data_source": "testbed", "split": "eval", "headline": "overall", "judge": judge}
    content = document(
        {"steer": task(metrics, metadata=metadata)},
        model="hf-steered",
        model_dtype="torch.bfloat16",
        model_revision="main",
        model_sha="c0ffee",
        method="reft_r1",
        method_args={"layer": 20, "factor": 0.8},
        artefact_hash="beef",
        harness_version="0.1.0",
    )
    table = read_results([save(tmp_path, content)])
    assert [row.metric for row in table.rows] == ["fluency", "overall"]
    row = one(table, "steer", "overall")
    assert (row.ci95_low, row.ci95_high, row.n_unscored, row.headline) == (0.55, 0.8, 3, True)
    assert one(table, "steer", "fluency").n_unscored == 3
    run = row.run
    assert (run.method, run.method_args) == ("reft_r1", '{"factor":0.8,"layer":20}')
    assert (run.dtype, run.model_sha, run.artefact_hash) == ("bfloat16", "c0ffee", "beef")
    assert run.harness_version == "0.1.0"
    assert row.task.judge == '{"model":"judge","model_args":{"base":"x"},"temperature":0}'


def test_a_run_whose_metrics_are_all_undefined_is_a_run(tmp_path: Path) -> None:
    content = document({"steer": task({"overall,none": None, "overall_ci95,none": None})})
    (row,) = read_results([save(tmp_path, content)]).rows
    assert (row.metric, row.value, row.ci95_low) == ("overall", None, None)


def test_a_judge_that_a_task_asks_nothing_is_none_of_its(tmp_path: Path) -> None:
    metadata = {"judge": {"model": "judge"}}
    tasks = {
        "grammar": task({"acc,none": 0.9}, metadata=metadata, output_type="multiple_choice"),
        "steer": task(
            {"overall,none": 0.9, "n_unscored,none": 0},
            metadata=metadata,
            output_type="generate_until",
        ),
    }
    table = read_results([save(tmp_path, document(tasks))])
    assert one(table, "grammar", "acc").task.judge == ""
    assert one(table, "steer", "overall").task.judge == '{"model":"judge"}'


def test_a_text_in_the_place_of_a_value_is_none(tmp_path: Path) -> None:
    metrics = {"overall,none": "0.9", "fluency,none": 1.5}
    content = document({"steer": task(metrics, metadata={"headline": "overall"})})
    table = read_results([save(tmp_path, content)])
    row = one(table, "steer", "overall")
    assert row.value is None and row.headline and not one(table, "steer", "fluency").headline


def test_what_turns_a_line_round_is_escaped(tmp_path: Path) -> None:
    args = {"pretrained": "org/\u202eledom", "x": "\u202e"}
    (row,) = read_results(
        [save(tmp_path, document({"boolq\u2066": task({"acc,none": 1.0})}, model_args=args))]
    ).rows
    assert (row.task.task, row.run.model) == (r"boolq\u2066", r"org/\u202eledom")
    assert "\u202e" not in row.run.model_args


def test_a_task_that_a_method_did_not_touch_is_the_plain_models(tmp_path: Path) -> None:
    content = document(
        {"steer": task({"overall,none": 0.7}), "check": task({"f1,none": 0.6})},
        groups={
            "checks": ({"f1,none": 0.6}, ["check"]),
            "all": ({"x,none": 1}, ["steer", "check"]),
        },
        method="steered(diffmean) + speculative(none)",
        method_args={"steered.factor": 2},
        artefact_hash="beef",
        method_by_task={"check": ""},
    )
    table = read_results([save(tmp_path, content)])
    methods = {
        row.task.task: (row.run.method, row.run.method_args, row.run.artefact_hash)
        for row in table.rows
    }
    applied = ("steered(diffmean) + speculative(none)", '{"steered.factor":2}', "beef")
    plain = ("", "", "")
    assert methods == {"steer": applied, "check": plain, "checks": plain, "all": applied}


def test_a_subset_of_samples_is_limited_but_unscored_documents_are_not(tmp_path: Path) -> None:
    subset = document({"t": task({"acc,none": 1.0}, n=100, effective=5)})
    unscored = document({"t": task({"acc,none": 1.0, "n_unscored,none": 4}, n=100, effective=96)})
    assert read_results([save(tmp_path, subset, "a")]).rows[0].task.limited
    assert not read_results([save(tmp_path, unscored, "b")]).rows[0].task.limited


def test_a_group_without_metrics_has_no_row(tmp_path: Path) -> None:
    content = document({"t": task({"acc,none": 1.0})}, groups={"g": ({}, ["t"])})
    assert {row.task.task for row in read_results([save(tmp_path, content)]).rows} == {"t"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_a_number_is_a_row_without_a_value(tmp_path: Path, value: float) -> None:
    content = document({"t": task({"acc,none": value, "acc_stderr,none": 0.1})})
    (row,) = read_results([save(tmp_path, content)]).rows
    assert row.value is None and row.ci95_low is None


def test_broken_and_foreign_files_are_skipped_with_a_reason(tmp_path: Path) -> None:
    good = save(tmp_path, document({"t": task({"acc,none": 0.5})}), "good")
    text = good.read_text(encoding="utf-8")
    broken = {
        "truncated": text[: len(text) // 2].encode(),
        "empty": b"",
        "foreign": b'{"results": [1, 2]}',
        "array": b"[]",
        "binary": b"\xff\xfe\x00\x01\xd8",
        "deep": b"[" * 100_000,
        "nothing": b'{"results": {"t": {"alias": "t"}}}',
    }
    for name, content in broken.items():
        (tmp_path / f"results_{name}.json").write_bytes(content)
    reported: list[str] = []
    table = read_results([tmp_path], on_skip=lambda skipped: reported.append(skipped.path.name))
    assert len(table.rows) == 1
    assert {skipped.path.name for skipped in table.skipped} == set(reported)
    assert set(reported) == {f"results_{name}.json" for name in broken}
    reasons = {
        skipped.path.stem.removeprefix("results_"): skipped.reason for skipped in table.skipped
    }
    assert reasons["truncated"].startswith("truncated or not JSON")
    assert reasons["foreign"] == 'not an lm-eval results file: no "results" by task'
    assert reasons["nothing"] == "no metrics in it"
    assert all("\n" not in reason for reason in reasons.values())


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(_KEYS),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_object_breaks_the_parser(value: object) -> None:
    from harness.leaderboard.parsing import rows_of

    content = {"results": {"t": {"acc,none": 0.5}}, **(value if isinstance(value, dict) else {})}
    if isinstance(content["results"], dict):
        rows_of(content, run_id="x", file="results_x.json")


def test_a_file_counts_once_however_it_is_reached(tmp_path: Path) -> None:
    path = save(tmp_path / "a", document({"t": task({"acc,none": 0.5})}))
    (tmp_path / "b").mkdir()
    shutil.copy(path, tmp_path / "b" / "results_copy.json")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    table = read_results([path, tmp_path, path, tmp_path / "link"])
    assert len(table.rows) == 1
    assert table.duplicates == 4
    assert table.rows[0].run.file == path.as_posix()


def test_a_named_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = save(tmp_path, document({"t": task({"acc,none": 0.5})})).rename(tmp_path / "mine.json")
    assert len(read_results([path]).rows) == len(read_results([tmp_path]).rows) == 1
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(HarnessError, match=r"no results_\*.json found in .*--output_path"):
        read_results([tmp_path])


def test_what_a_file_holds_decides(tmp_path: Path) -> None:
    """lm-eval up to 0.4.2 wrote ``results.json``; ``--output_path a.json`` gives other names."""
    parts = {"boolq": {"alias": "boolq", "acc,none": 1.0, "acc_stderr,none": "N/A"}}
    old = {
        "results": {"mmlu": {"alias": "mmlu", "acc,none": 0.25}, **parts},
        "groups": {"mmlu": {"alias": "mmlu", "acc,none": 0.25}},
        "configs": {"boolq": {"task": "boolq", "group": ["glue"]}},
        "versions": {"boolq": 2.0, "mmlu": "N/A"},
        "config": {"model": "hf", "model_args": "pretrained=org/m,trust_remote_code=True"},
        "git_hash": None,
        "date": 1710000000.1,
    }
    for name in ("a/results.json", "b/mine_2024-01-02T03-04-05.678901.json", "c/mine.json"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(json.dumps(old | {"git_hash": name}), encoding="utf-8")
    other = {"results": {"t": {"acc": 1.0}}, "config": {}}
    for name in ("config.json", "a/tokenizer.json", "a/other.json"):
        (tmp_path / name).write_text(json.dumps(other), encoding="utf-8")
    table = read_results([tmp_path])
    assert (len(table.runs), table.skipped, table.others) == (3, (), 3)
    assert {row.run.model for row in table.rows} == {"org/m"}
    assert {(row.task.task, row.task.group, row.value) for row in table.rows} == {
        ("mmlu", True, 0.25),
        ("boolq", False, 1.0),
    }


def test_other_tools_results_are_named_and_not_taken(tmp_path: Path) -> None:
    lighteval = {
        "config_general": {"lighteval_sha": "?", "model_name": "org/m"},
        "results": {"leaderboard|arc|25": {"acc": 0.5, "acc_stderr": 0.1}, "all": {"acc": 0.5}},
        "versions": {},
    }
    save(tmp_path, lighteval, "2025-01-02T03-04-05.678901")
    save(tmp_path, {"results": {"t": {"acc": 0.5}}}, "nameless")
    save(tmp_path, document({"t": task({"acc,none": 0.5})}), "good")
    table = read_results([tmp_path])
    assert len(table.rows) == 1
    assert [skipped.reason for skipped in table.skipped] == [
        "results of lighteval, which are not read; give lm-eval's",
        'not an lm-eval results file: no model under "config"',
    ]


def test_what_is_no_regular_file_is_skipped(tmp_path: Path) -> None:
    save(tmp_path, document({"t": task({"acc,none": 0.5})}), "good")
    os.mkfifo(tmp_path / "results_pipe.json")
    (skipped,) = read_results([tmp_path]).skipped
    assert skipped.reason == "cannot be read: not a regular file"


def test_intervals_stay_in_the_range_and_do_not_collapse(tmp_path: Path) -> None:
    def interval(metrics: dict[str, Any], **metadata: Any) -> tuple[float | None, float | None]:
        save(tmp_path, document({"t": task(metrics, n=48, metadata=metadata)}))
        (row,) = read_results([tmp_path]).rows
        return row.ci95_low, row.ci95_high

    wilson = (pytest.approx(48 / (48 + 1.959964**2)), 1.0)
    assert interval({"acc,none": 1.0, "acc_stderr,none": 0.0}) == wilson
    assert interval({"loss,none": 1.0, "loss_stderr,none": 0.0}) == (None, None)
    assert interval({"x,none": 1.0, "x_stderr,none": 0.1, "x_ci95,none": [1.0, 1.0]}) == (None,) * 2
    assert interval({"x,none": 1.0, "x_stderr,none": 0.1, "x_ci95,none": None}) == (None, None)
    low, high = interval({"acc,none": 0.98, "acc_stderr,none": 0.02})
    assert (low, high) == (pytest.approx(0.98 - 1.96 * 0.02), 1.0)
    assert interval({"x,none": 1.9, "x_stderr,none": 0.1}, ranges={"x": [0, 2]})[1] == 2.0
    assert interval({"x,none": 0.1, "x_stderr,none": 0.1}, ranges={"x": [0.0, None]}) == (
        0.0,
        pytest.approx(0.296),
    )
    assert interval({"x,none": 0.1, "x_stderr,none": 0.1})[0] == pytest.approx(-0.096)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="nowhere: no such file or folder"):
        read_results([tmp_path / "nowhere"])


def test_the_date_falls_back_to_the_file_name(tmp_path: Path) -> None:
    content = document({"t": task({"acc,none": 0.5})})
    del content["date"]
    path = save(tmp_path, content, "2025-03-04T05-06-07.891011")
    assert read_results([path]).runs[0].date == "2025-03-04T05:06:07Z"


def test_names_of_models(tmp_path: Path) -> None:
    def name(**config: object) -> str:
        content = document({"t": task({"acc,none": 0.5})}, **config)
        content["model_name"] = "random"
        return read_results([save(tmp_path, content)]).runs[0].model

    assert name(model_args="pretrained=a/b,peft=c/d") == "c/d"
    assert name(model_args={"model": "served"}) == "served"
    assert name(model="dummy", model_args={}) == "dummy"
    assert name(model="dummy", model_args=None) == "dummy"


@given(st.text(alphabet="ab=,1.-+'\" TrueNonefals²e", max_size=30))
def test_model_args_are_read_by_lm_evals_rules(text: str) -> None:
    from lm_eval.utils import simple_parse_args_string

    assert json.dumps(parse_model_args(text)) == json.dumps(simple_parse_args_string(text))


def test_environment_reports() -> None:
    assert environment.hardware(REPORT) == "AMD EPYC (2 CPUs)"
    assert environment.torch_version(REPORT) == "2.13.0+cpu"
    mixed = "GPU models and configuration: \nGPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA L4\n"
    assert environment.hardware(mixed) == "NVIDIA H200, NVIDIA L4"
    single = "GPU models and configuration: GPU 0: NVIDIA H200\nNvidia driver version: 1\n"
    assert environment.hardware(single) == "NVIDIA H200"
    assert environment.hardware("N/A (torch not installed)") == ""


def test_secrets_are_left_out_everywhere() -> None:
    hidden = ["api_key", "token", "OPENAI_API_KEY", "hub_token", "x-api-key", "headers", "apikey"]
    settings = {**dict.fromkeys(hidden, "1"), "max_tokens": 4, "eos_token": "</s>"}
    assert compact({"a": [settings]}) == '{"a":[{"eos_token":"</s>","max_tokens":4}]}'
    assert compact({"url": "https://me:pw@host:8/v1?key=1"}) == '{"url":"https://host:8/v1"}'
    assert compact({"url": "http://[broken"}) == '{"url":"(not an address)"}'
