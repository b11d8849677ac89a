"""Keys: what determines results is in them, where and how a unit runs is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from written_studies import STEERING, planned

from harness.studies.planning import keys
from harness.testbed import model_path

JUDGED = STEERING.replace(
    "{data: testbed}", "{data: testbed, judge: {model: testbed-judge, temperature: 0}}"
)


def keys_of(folder: Path, text: str = STEERING) -> dict[str, str]:
    return {unit.name: unit.key for unit in planned(folder, text).units}


def changed(folder: Path, *, before: str = STEERING, after: str) -> set[str]:
    """Names of the units whose key is another."""
    assert before != after
    old, new = keys_of(folder, before), keys_of(folder, after)
    return {name for name in old if old[name] != new[name]}


def test_keys_are_16_digits_and_all_differ(tmp_path: Path) -> None:
    found = keys_of(tmp_path)
    assert len(set(found.values())) == len(found) == 8
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in found.values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("device: cpu", "device: cuda:1"),
        ("batch_size: 8", "batch_size: auto\n  verbosity: DEBUG"),
        ("name: plain", "name: basis"),
        ('pretrained: "testbed:teacher"}}', 'pretrained: "testbed:teacher", batch_size: 2}}'),
        ("layer: 1}", "layer: 1, device: cpu}"),
        ("{data: testbed}", "{data: testbed, judge: {store: a/b}}"),
    ],
)
def test_where_and_how_it_runs_is_in_no_key(tmp_path: Path, old: str, new: str) -> None:
    before = STEERING
    if "judge" in new:
        before = STEERING.replace("{data: testbed}", "{data: testbed, judge: {}}")
        old = "judge: {}"
        new = "judge: {store: a/b}"
    after = before.replace(old, new).replace(
        "baseline: plain", f"baseline: {'basis' if 'basis' in new else 'plain'}"
    )
    assert set(keys_of(tmp_path, before).values()) == set(keys_of(tmp_path, after).values())


def test_what_is_upstream_is_in_the_key(tmp_path: Path) -> None:
    everything = {name for name in keys_of(tmp_path) if name != "unused"}
    of_vectors = {name for name in everything if name == "vectors" or "steered" in name}
    assert changed(tmp_path, after=STEERING.replace("layer: 2", "layer: 3")) == of_vectors
    assert changed(tmp_path, after=STEERING.replace("layer: 1", "layer: 0")) == {"unused"}
    assert changed(tmp_path, after=STEERING.replace("  batch", "  num_fewshot: 1\n  batch")) == {
        name for name in everything if "/" in name
    }
    one = STEERING.replace("model: hf,", "model: hf, limit: 3,")
    assert changed(tmp_path, after=one) == {"plain/axbench_steer", "plain/llm_aggrefact"}


def test_another_package_makes_everything_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys_of(tmp_path)
    versions = dict(keys.versions())
    assert {"paperharness", "lm_eval", "torch", "transformers"} <= versions.keys()
    monkeypatch.setattr(keys, "versions", lambda **_: versions | {"torch": "99"})
    after = keys_of(tmp_path)
    assert all(before[name] != after[name] for name in before)


def test_a_models_content_counts_and_not_its_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(model_path("student"), tmp_path / "models" / name)
    a, b = (
        STEERING.replace(
            '{pretrained: "testbed:teacher"}', f"{{pretrained: {tmp_path}/models/{n}}}"
        )
        for n in ("a", "b")
    )
    assert changed(tmp_path, before=a, after=b) == set()
    before = keys_of(tmp_path, a)
    config = tmp_path / "models" / "a" / "config.json"
    config.write_text(config.read_text() + "\n")
    after = keys_of(tmp_path, a)
    assert {name for name in before if before[name] != after[name]} == {
        *("plain/axbench_steer", "plain/llm_aggrefact"),
    }


def test_a_data_folders_content_counts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "inner").mkdir(parents=True)
    (data / "inner" / "rows.jsonl").write_text("1\n")
    text = STEERING.replace("layer: 1", f"layer: 1, data: {data}")
    before = keys_of(tmp_path, text)
    (data / ".rows.lock").write_text("of some process")
    assert keys_of(tmp_path, text) == before
    (data / "inner" / "rows.jsonl").write_text("2\n")
    after = keys_of(tmp_path, text)
    assert {name for name in before if before[name] != after[name]} == {"unused"}


def test_a_judge_counts_where_one_is_asked(tmp_path: Path) -> None:
    other = JUDGED.replace("temperature: 0", "temperature: 1")
    judged = {name for name in keys_of(tmp_path) if name.endswith("/axbench_steer")}
    assert changed(tmp_path, before=JUDGED, after=other) == judged
    cells = [{c.name: c for c in planned(tmp_path, text).cells} for text in (JUDGED, other)]
    for name, one in cells[0].items():
        assert one.unjudged == cells[1][name].unjudged
        assert (one.key != one.unjudged) == (name in judged)


def test_a_reference_in_a_group_of_judged_tasks(tmp_path: Path) -> None:
    from harness.studies.planning.judged import asks_judge

    assert asks_judge("axbench_steer") and not asks_judge("llm_aggrefact")
    assert not asks_judge("hellaswag")
    (tmp_path / "group.yaml").write_text("group: mine\ntask: [llm_aggrefact, axbench_suppress]\n")
    assert asks_judge("mine", str(tmp_path))
    assert asks_judge(str(tmp_path / "group.yaml"))


def test_what_shares_a_loading(tmp_path: Path) -> None:
    share = {cell.run: cell.sharing for cell in planned(tmp_path).cells}
    assert len(set(share.values())) == 1
    for new in ('"testbed:student"}}', '"testbed:teacher", dtype: float64}}'):
        text = STEERING.replace('"testbed:teacher"}}', new)
        share = {cell.run: cell.sharing for cell in planned(tmp_path, text).cells}
        assert share["plain"] != share["steered-random"] == share["steered-diffmean"]
    vllm = STEERING.replace("model: hf", "model: vllm").replace("vllm-steered", "vllm-steered")
    share = {cell.run: cell.sharing for cell in planned(tmp_path, vllm).cells}
    assert len(set(share.values())) == 3  # an engine's every argument matters
