"""A plan: variants and cells, what they need, their commands and configurations, their order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from written_studies import STEERING, planned

from harness.studies.planning.plan import by_hand
from harness.studies.reading.file import Made
from harness.studies.reading.settings import StudyError
from harness.studies.units import Cell


def cell(plan: object, name: str) -> Cell:
    return next(unit for unit in plan.cells if unit.name == name)  # type: ignore[attr-defined]


def test_a_list_among_the_arguments_makes_variants(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert list(plan.variants) == ["plain", "steered-diffmean", "steered-random"]
    assert [unit.name for unit in plan.units] == [
        "vectors",
        "unused",
        "plain/axbench_steer",
        "plain/llm_aggrefact",
        "steered-diffmean/axbench_steer",
        "steered-diffmean/llm_aggrefact",
        "steered-random/axbench_steer",
        "steered-random/llm_aggrefact",
    ]
    random = cell(plan, "steered-random/axbench_steer")
    assert random.run == "steered-random" and random.task == "axbench_steer"
    assert random.config["model_args"]["method"] == "random"
    assert random.needs == ("vectors",)


def test_two_lists_multiply_and_a_list_in_a_list_is_a_value(tmp_path: Path) -> None:
    text = STEERING.replace("random]}\ntasks", "random], factor: [0.5, 2], x: [[1, 2]]}\ntasks")
    plan = planned(tmp_path, text)
    assert list(plan.variants)[1:] == [
        *("steered-diffmean-0.5-1_2", "steered-diffmean-2-1_2"),
        *("steered-random-0.5-1_2", "steered-random-2-1_2"),
    ]
    assert cell(plan, "steered-random-2-1_2/axbench_steer").config["model_args"]["x"] == [1, 2]


def test_defaults_run_and_task_are_merged_in_this_order(tmp_path: Path) -> None:
    text = STEERING.replace(
        "model: hf,", "model: hf, limit: 5, metadata: {judge: {model: testbed-judge}},"
    ).replace("[axbench_steer,", "[{task: axbench_steer, limit: 7, metadata: {judge: {votes: 3}}},")
    config = cell(planned(tmp_path, text), "plain/axbench_steer").config
    assert config["limit"] == 7 and config["device"] == "cpu"
    assert config["metadata"] == {
        "data": "testbed",
        "judge": {"model": "testbed-judge", "votes": 3},
    }


def test_the_command_of_an_artefact(tmp_path: Path) -> None:
    vectors = planned(tmp_path).units[0]
    assert vectors.words == (
        *("harness", "axbench", "train", "--model", "testbed:teacher", "--layer", "2"),
        *("--methods", "diffmean,random", "--out", str(vectors.folder)),
    )
    assert by_hand(vectors).startswith("harness axbench train --model testbed:teacher --layer 2")


def test_options_become_words(tmp_path: Path) -> None:
    from harness.cli.app import build
    from harness.studies.planning.commands import words

    study = planned(tmp_path).study
    made = Made("a", ("axbench", "train"), {}, ("make", "vectors"))
    options = {"batch_size": 4, "set": ["a.b=1", "c.d=2"], "subset": None, "data": {"a": 1}}
    assert words(study, made, options, build())[3:] == (
        *("--batch-size", "4", "--set", "a.b=1", "--set", "c.d=2", "--data", '{"a": 1}'),
    )
    prompts = Made("a", ("any", "thing"), {}, ("make", "vectors"))
    assert words(study, prompts, {"some_flag": True, "other": False, "n": 0.5}, None) == (
        *("harness", "any", "thing", "--some-flag", "--n", "0.5"),
    )


def test_a_cells_configuration_runs_by_hand_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.jsonl").write_text("{}\n")
    plan = planned(
        tmp_path,
        STEERING.replace(
            "{data: testbed}",
            "{data: testbed, axbench_data: ./mine, judge: {model: testbed-judge, store: ./s/j}}",
        ),
    )
    plan.write_configs()
    one = cell(plan, "steered-diffmean/axbench_steer")
    assert by_hand(one) == (
        f"lm_eval run --config {tmp_path}/out/configs/steered-diffmean.axbench_steer-"
        f"{one.key[:8]}.yaml --output_path results"
    )
    assert yaml.safe_load(Path(one.words[3]).read_text()) == {
        "device": "cpu",
        "batch_size": 8,
        "metadata": {
            "data": "testbed",
            "axbench_data": str(tmp_path / "mine"),
            "judge": {"model": "testbed-judge", "store": str(tmp_path / "s" / "j")},
        },
        "model": "hf-steered",
        "model_args": {
            "pretrained": "testbed:teacher",
            "steering": str(plan.units[0].folder),
            "method": "diffmean",
        },
        "tasks": ["axbench_steer"],
        "log_samples": True,
    }


def test_a_reference_means_the_variant_with_the_same_values(tmp_path: Path) -> None:
    text = STEERING.replace(
        "tasks: [axbench",
        "  - name: again\n    model: hf-steered\n    tasks: [llm_aggrefact]\n"
        '    model_args: {pretrained: "testbed:teacher", method: [random, diffmean],\n'
        '      factors: "{steered/axbench_steer}", text: "{{vectors}}"}\ntasks: [axbench',
    )
    plan = planned(tmp_path, text)
    again = cell(plan, "again-random/llm_aggrefact")
    meant = cell(plan, "steered-random/axbench_steer")
    assert again.needs == (meant.name,)
    assert again.config["model_args"]["factors"] == str(meant.folder)
    assert again.config["model_args"]["text"] == "{vectors}"
    assert meant.needs == ("vectors",)


def test_only_what_is_named_and_what_it_needs(tmp_path: Path) -> None:
    plan = planned(tmp_path)

    def names(*only: str) -> list[str]:
        return [unit.name for unit in plan.to_do(only)]

    assert names("plain") == ["plain/axbench_steer", "plain/llm_aggrefact"]
    assert names("steered") == [
        "vectors",
        *("steered-diffmean/axbench_steer", "steered-diffmean/llm_aggrefact"),
        *("steered-random/axbench_steer", "steered-random/llm_aggrefact"),
    ]
    assert names("steered-random/llm_aggrefact") == ["vectors", "steered-random/llm_aggrefact"]
    assert names("vectors", "plain/llm_aggrefact") == ["vectors", "plain/llm_aggrefact"]
    assert len(names("axbench_steer")) == 4
    assert len(names()) == 8
    with pytest.raises(StudyError, match="did you mean steered"):
        names("steerd")


def test_what_a_unit_needs_of_a_machine(tmp_path: Path) -> None:
    assert {unit.resources.gpus for unit in planned(tmp_path).units} == {0.0}
    text = STEERING.replace("  device: cpu\n", "")
    assert {unit.resources.gpus for unit in planned(tmp_path, text).units} == {1.0}
    service = text.replace("model: hf,", "model: local-chat-completions,")
    assert cell(planned(tmp_path, service), "plain/axbench_steer").resources.gpus == 0.0


def test_cells_that_share_a_model_stand_together(tmp_path: Path) -> None:
    text = STEERING.replace(
        "  - name: steered",
        '  - {name: other, model: hf, model_args: {pretrained: "testbed:student"}}\n'
        "  - name: steered",
    )
    runs = [cell.run for cell in planned(tmp_path, text).cells]
    assert [run for run, after in zip(runs, [*runs[1:], ""], strict=True) if run != after] == [
        *("plain", "steered-diffmean", "steered-random", "other"),
    ]


def test_the_study_in_the_docs_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[4] / "docs" / "studies.md"
    if not page.is_file():
        pytest.skip("needs a checkout: the docs are not in the wheel")
    text = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    assert [unit.name for unit in planned(tmp_path, text).units] == [
        "vectors",
        *("plain/axbench_steer", "plain/llm_aggrefact"),
        *("steered-diffmean/axbench_steer", "steered-diffmean/llm_aggrefact"),
        *("steered-random/axbench_steer", "steered-random/llm_aggrefact"),
        "checker/llm_aggrefact",
    ]
    wrong = text.replace("batch_size", "batch_sise")
    with pytest.raises(StudyError) as told:
        planned(tmp_path, wrong)
    assert f"error: {str(told.value).removeprefix(f'{tmp_path}/')}\n" in page.read_text()
