"""The training script runs from start to end and writes models that load."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from harness.testbed.making import train
from harness.testbed.making.training import Recipe


@pytest.mark.parametrize(
    ("name", "kind"),
    [("student", AutoModelForCausalLM), ("checker", AutoModelForSequenceClassification)],
)
def test_a_short_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    kind: type,
) -> None:
    short = Recipe(steps=2, rate=1e-3, more_steps=1, budget=512, warmup=1, texts=12)
    monkeypatch.setitem(train.RECIPES, name, short)
    train.main([name, "--out", str(tmp_path), "--threads", "1"])
    shown = capsys.readouterr()
    assert f"{name}: seed 7" in shown.out and "step 3: loss" in shown.err
    model, info = kind.from_pretrained(tmp_path / name, dtype="auto", output_loading_info=True)
    assert not info["missing_keys"]
    assert {str(p.dtype) for p in model.parameters()} == {"torch.float32"}
