"""What a training reads of earlier ones, or of others' models: data, checked, and no code."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from harness_factcg.training import stages, train
from harness_factcg.training.options import Options
from harness_factcg.training.stages import Stage
from harness_factcg.training.starts import Start

from factcg.made_up import write_jsonl
from harness.errors import ArtefactError, HarnessError

from .test_training import options, pairs

pytestmark = pytest.mark.long

STATE = {"global_step": 4, "log_history": [{"step": 4, "eval_balanced_accuracy": 0.5}]}


def stage(folder: Path) -> Stage:
    work = Options(out=folder / "out", model="scratch:3x32")
    return Stage("stage2", [], [], folder, work)


def keep(folder: Path, step: object, **changed: Any) -> Path:
    place = folder / "stage2" / f"checkpoint-{step}"
    place.mkdir(parents=True)
    best = str(folder / "stage2" / "checkpoint-4")
    state = STATE | {"best_model_checkpoint": best} | changed
    (place / "trainer_state.json").write_text(json.dumps(state))
    return place


@pytest.mark.parametrize(
    "changed",
    [
        {"global_step": "four"},
        {"log_history": {}},
        {"log_history": [{"step": [4]}]},
        {"best_metric": "high"},
        {"best_model_checkpoint": "/somewhere/checkpoint-4"},
        {"best_model_checkpoint": 7},
        {"stateful_callbacks": []},
        {"unheard_of": 1},
    ],
)
def test_a_damaged_state_is_passed_over(tmp_path: Path, changed: dict[str, Any]) -> None:
    whole = keep(tmp_path, 4)
    keep(tmp_path, 8, **changed)
    keep(tmp_path, "last")
    assert stages._last_checkpoint(stage(tmp_path)) == str(whole)
    deep = keep(tmp_path, 12)
    (deep / "trainer_state.json").write_text("[" * 100_000)
    assert stages._last_checkpoint(stage(tmp_path)) == str(whole)


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.safetensors", b"\xff" * 64), ("optimizer.pt", b"PK"), ("rng_state.pth", b"x" * 99)],
)
def test_a_damaged_checkpoint_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes
) -> None:
    data = write_jsonl(tmp_path / "pairs.jsonl", pairs(20))
    chosen = options(tmp_path, data, evaluations=4)
    monkeypatch.setattr(stages, "_chosen", lambda state: 1 / 0)  # stopped at the end
    with pytest.raises(ZeroDivisionError):
        train.train(chosen)
    (work,) = tmp_path.glob(".out.training-*")
    for place in work.glob("stage2/checkpoint-*"):
        (place / file).write_bytes(content)
    with pytest.raises(ArtefactError, match=r"checkpoint-\d+ is damaged \(.*\): remove it") as told:
        train.train(chosen)
    assert "\n" not in str(told.value)


def test_a_record_of_another_shape_is_one_line(tmp_path: Path) -> None:
    made = train.Made(tmp_path, {"stages": [{"stage": 3}], "recipe": {"data": {}, "dev": []}}, True)
    for tell in (train.summary, train.at_chance):
        with pytest.raises(ArtefactError, match=r"training\.json is damaged: stages\.0"):
            tell(made)


def test_a_models_own_code_never_runs(
    tmp_path: Path, checker_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is the user asked whether it may."""
    folder = tmp_path / "checker"
    folder.mkdir()
    for file in Path(checker_path).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    planted = tmp_path / "planted"
    (folder / "own.py").write_text(f"open({str(planted)!r}, 'w').close()\nclass Own: ...\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    with warnings.catch_warnings(), pytest.raises(HarnessError, match="cannot be loaded") as told:
        warnings.simplefilter("ignore")
        Start(str(folder), revision="main", max_length=128, seed=1).load([])
    assert not planted.exists() and "\n" not in str(told.value)
    assert "Do you wish" not in capsys.readouterr().out
