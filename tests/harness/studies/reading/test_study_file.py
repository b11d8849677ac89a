"""A study's file: what it says, and one line with its place for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_studies import STEERING, planned, written

from harness.studies.reading.settings import StudyError

SMALL = """\
study: small
runs:
  - {name: plain, model: dummy}
tasks: [llm_aggrefact]
"""


def test_a_study_is_read(tmp_path: Path) -> None:
    study = written(
        tmp_path, STEERING + "tradeoff: {gain: axbench_steer, retained: [llm_aggrefact]}"
    )
    assert study.name == "steering"
    assert [made.command for made in study.make] == [("axbench", "train")] * 2
    assert [run.name for run in study.runs] == ["plain", "steered"]
    assert [task.task for task in study.tasks] == ["axbench_steer", "llm_aggrefact"]
    assert study.defaults["metadata"] == {"data": "testbed"}
    assert (study.baseline, study.gain) == ("plain", "axbench_steer")
    assert study.retained == ["llm_aggrefact"]


def test_arguments_may_be_written_as_for_lm_eval(tmp_path: Path) -> None:
    study = written(
        tmp_path, SMALL.replace("dummy", "hf, model_args: 'pretrained=a/b,dtype=float32'")
    )
    assert study.runs[0].settings["model_args"] == {"pretrained": "a/b", "dtype": "float32"}


def test_where_everything_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.studies.reading.file import read_study

    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SMALL)
    assert read_study(Path("a.yaml")).out == tmp_path / "studies" / "small"
    Path("b.yaml").write_text(SMALL + "out: elsewhere\n")
    assert read_study(Path("b.yaml")).out == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (SMALL + "task: [x]\n", 5, "no key is called 'task'; did you mean tasks?"),
        (SMALL + "compare: {baselin: plain}\n", 5, "did you mean baseline?"),
        (SMALL + "compare: {baseline: plan}\n", 5, "did you mean plain?"),
        (SMALL + "tradeoff: {gain: llm_aggrefact}\n", 5, "'retained' is missing in tradeoff"),
        (SMALL + "tradeoff: {gain: x, retained: [llm_aggrefact]}\n", 5, "there are llm_aggrefact"),
        (SMALL + "defaults: {batch_sise: 8}\n", 5, "'batch_sise'; did you mean batch_size?"),
        (SMALL + "defaults:\n  limit: many\n", 6, "limit is many"),
        (SMALL + "defaults: {limit: -3}\n", 5, "limit is -3: give a number above 0"),
        (SMALL + "defaults:\n  apply_chat_template: 1\n", 6, "apply_chat_template is 1"),
        (SMALL + "defaults: {output_path: x}\n", 5, "each cell has a folder of its own"),
        (SMALL + "defaults: {log_samples: false}\n", 5, "samples are always saved"),
        (SMALL + "defaults: {gen_kwargs: {until: 2001-01-01}}\n", 5, "put a text in quotes"),
        (SMALL + "defaults: {gen_kwargs: {top_p: .nan}}\n", 5, "top_p is nan"),
        (SMALL + "defaults: {metadata: {1: x}}\nmake: {a: 3}\n", 6, "make.a: Input should be"),
        (SMALL + "make: {a: {layer: 3}}\n", 5, "give command: the words of a harness command"),
        (SMALL + "make: {a: {command: axbench train, out: x}}\n", 5, "a folder of its own"),
        (SMALL + "make: {a b: {command: axbench train}}\n", 5, "an artefact is called 'a b'"),
        ("study: x\nruns: []\ntasks: [a]\n", 2, "runs: List should have at least 1 item"),
        ("study: x\ntasks: [a]\n", 1, "'runs' is missing"),
        ("[1, 2]\n", 1, "no study"),
        ("", 1, "no study"),
        (SMALL.replace("plain", "a/b"), 3, "a run is called 'a/b'"),
        (SMALL.replace("name: plain, ", ""), 3, "give name: a name, such as plain"),
        (SMALL.replace("model: dummy", "model: dummy, tasks: [x]"), 3, "no task of the study"),
        (SMALL.replace("model: dummy", "model: dummy, tasks: x"), 3, "a list of names"),
        (SMALL.replace("[llm", "[{limit: 3}, llm"), 4, "give task: lm-eval's name"),
        (SMALL.replace("[llm", "[7, llm"), 4, "a task is a name, or {task: NAME, limit: 100}"),
        (SMALL.replace("[llm", "[llm_aggrefact, llm"), 4, "'llm_aggrefact' is there before"),
        (SMALL.replace("task", "  - {name: plain, model: hf}\ntask"), 4, "'plain' is there before"),
        (SMALL + "study: y\n", 5, "'study' is there before"),
        (SMALL + "make: &a {}\ndefaults: *a\n", 6, "an alias; write out what it stands for"),
        (SMALL + "make: [\n", 6, "no YAML that is read here"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(StudyError) as told:
        planned(tmp_path, text)
    assert str(told.value).startswith(f"{tmp_path / 'study.yaml'}:{line}: ")
    assert said in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "secret",
    [
        "metadata: {judge: {model: a, model_args: {api_key: abc}}}",
        "metadata: {judge: {model_args: {base_url: 'https://me:abcdef@host/v1'}}}",
        "model_args: {header: {Authorization: 'Bearer abcdefghijk'}}",
        "model_args: {model: sk-abcdefghijklmnopqrstuv}",
        "hf_hub_log_args: {token: 12345}",
    ],
)
def test_secrets_belong_in_the_environment(tmp_path: Path, secret: str) -> None:
    with pytest.raises(StudyError, match=r"study.yaml:6: .* environment variable") as told:
        written(tmp_path, f"{SMALL}defaults:\n  {secret}\n")
    assert "abc" not in str(told.value) and "12345" not in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("{vectors}", "{vector}", 13, "no artefact is called 'vector'; did you mean vectors?"),
        ("{vectors}", "{plain/axbench}", 13, "did you mean axbench_steer?"),
        ("{vectors}", "{plane/axbench_steer}", 13, "did you mean plain?"),
        ("layer: 1", "layer: '{unused}'", 8, "a circle: unused needs unused"),
        ("layer: 1", "layer: '{steered/axbench_steer}'", 8, "name the one"),
        ("layer: 1", "layers: 1", 8, "has no option --layers; did you mean layer?"),
        ("train, model: \"testbed:student", "trian, model: \"x", 8, "did you mean train?"),
        ("axbench train, model: \"testbed:student", "score, model: \"x", 8, "no option --model"),
        ("axbench train, model: \"testbed:student\", layer: 1", "plugins", 8, "it has no --out"),
        ("model: hf,", "model: h,", 10, "did you mean hf?"),
        ("model: hf,", "model: hf-steered+specultive,", 10, "did you mean speculative?"),
        ('hf, model_args: {pretrained: "testbed:teacher', 'hf, model_args: {pretrained: "./none',
         10, "there is no ./none"),
        ("model: hf, ", "", 10, "run 'plain' has no model"),
        ("[axbench_steer, ", "[axbench_stear, ", 14, "did you mean axbench_steer?"),
        ("[axbench_steer, ", "[axbench_steer, none.yaml, ", 14, "there is no file none.yaml"),
        ("method: [diffmean, random]", "method: []", 13, "method is an empty list"),
        ("method: [diffmean, random]", "method: [a/b, b]", 13, "two values of method"),
        ("baseline: plain", "baseline: steered", 15, "one of steered-diffmean, steered-random"),
        ("[axbench_steer,", "[{task: axbench_steer, model_args: {a: [1]}},", 14, "no variants"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_plan(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    text = STEERING.replace(old, new)
    assert text != STEERING
    with pytest.raises(StudyError) as told:
        planned(tmp_path, text)
    assert str(told.value).startswith(f"{tmp_path / 'study.yaml'}:{line}: ")
    assert said in str(told.value) and "\n" not in str(told.value)


def test_a_circle_through_cells_is_told(tmp_path: Path) -> None:
    text = STEERING.replace(
        "model: hf,", "model: hf, metadata: {axbench_baseline: '{steered-random/axbench_steer}'},"
    ).replace("model: hf-steered", "model: hf-steered\n    metadata: {x: '{plain/axbench_steer}'}")
    with pytest.raises(StudyError, match=r":1[03]: a circle: ") as told:
        planned(tmp_path, text)
    for name in ("plain/axbench_steer", "steered-random/axbench_steer"):
        assert name in str(told.value)


def test_a_name_that_two_runs_would_have(tmp_path: Path) -> None:
    text = STEERING.replace("name: plain", "name: steered-random")
    with pytest.raises(StudyError, match="is a variant of 'steered-random' already"):
        planned(tmp_path, text.replace("baseline: plain", "baseline: steered-random"))
