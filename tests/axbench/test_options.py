"""What a run says to the plugin: values as they come from the command line, misspelt keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness_axbench.options import HUB, SUBSET, RunOptions, run_options

from harness import DataError, HarnessError


def test_a_run_that_says_nothing() -> None:
    assert run_options({}) == RunOptions()
    assert (RunOptions().data.location, RunOptions().subset, RunOptions().concepts) == (
        HUB,
        SUBSET,
        None,
    )


def test_values_are_taken_as_they_come(tmp_path: Path) -> None:
    run = run_options(
        {
            "axbench_data": str(tmp_path),
            "axbench_hub": "me/mine",
            "axbench_subset": 20,
            "axbench_instructions": tmp_path / "file.csv",
            "axbench_concepts": [2, 0, 2],
            "axbench_factors": [0.4, 1, 0.4],
            "axbench_baseline": "",
            "axbench_writer": {"model": "hf"},
            "steering": tmp_path,
            "method": 1,
            "pretrained": "a-model",
            "temperature": 0,
        }
    )
    assert run.data.path == tmp_path
    assert (run.subset, run.instructions) == ("20", str(tmp_path / "file.csv"))
    assert (run.concepts, run.factors, run.baseline) == ((2, 0, 2), (0.4, 1.0), None)
    assert (run.steering, run.method, run.intervention) == (str(tmp_path), "1", None)
    assert run.prompt_writer() is not None
    assert run_options({"axbench_hub": "me/mine"}).data.location == "me/mine"
    assert run_options({"axbench_factors": None, "steering": ""}) == RunOptions()


@pytest.mark.parametrize(
    ("key", "meant"),
    [("axbench_factor", "axbench_factors"), ("axbenchdata", "axbench_data"), ("metod", "method")],
)
def test_a_misspelt_key_is_refused(key: str, meant: str) -> None:
    with pytest.raises(DataError, match=rf"{key}=…: .* did you mean {meant}\?"):
        run_options({key: "testbed"})


def test_a_flag_is_true_or_false() -> None:
    assert run_options({"axbench_f1_without_hard": True}).f1_without_hard
    with pytest.raises(DataError, match="axbench_f1_without_hard=2: write true or false"):
        run_options({"axbench_f1_without_hard": 2})


@pytest.mark.parametrize("value", [None, 3, {"model_args": {}}])
def test_a_writer_that_is_none(value: Any) -> None:
    with pytest.raises(HarnessError, match="axbench_writer"):
        run_options({"axbench_writer": value, "data": "testbed"})
