"""Which rows the tasks have: concepts, factors, instructions, sampled negatives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.tasks import rows
from harness_axbench.tasks.factors import CLAMP_FACTORS, FACTORS

from axbench.conftest import write_data
from harness.errors import DataError, HarnessError


def test_rows_of_a_steering_run(data_folder: Path, steering: Path) -> None:
    sourced = rows.steer_docs(axbench_data=str(data_folder), steering=str(steering))
    assert len(sourced.rows) == 3 * 14 * 10
    assert [row["factor"] for row in sourced.rows[:140:10]] == list(FACTORS)
    assert sourced.rows[4]["split"] == "select"
    assert sourced.rows[5]["split"] == "test"
    assert {row["concept_id"] for row in sourced.rows[140:280]} == {1}


def test_rows_of_the_baseline(data_folder: Path) -> None:
    sourced = rows.steer_docs(axbench_data=str(data_folder))
    assert len(sourced.rows) == 3 * 5
    assert {(row["factor"], row["split"]) for row in sourced.rows} == {(None, "test")}


def test_a_dictionary_of_other_data_is_refused(steering: Path) -> None:
    with pytest.raises(DataError, match=r"in the dictionary .* it is 'the sea'"):
        rows.steer_docs(data="testbed", steering=str(steering))
    with pytest.raises(DataError, match="Train on the data that you evaluate"):
        rows.detect_docs(data="testbed", steering=str(steering))


def _changed(steering: Path, out: Path, **facts: Any) -> str:
    """A copy of a dictionary whose vector methods have other facts."""
    shutil.copytree(steering, out)
    manifest = json.loads((out / dictionary.MANIFEST).read_text())
    for name in ("diffmean", "random"):
        manifest["methods"][name] |= facts.get(name, facts)
    (out / dictionary.MANIFEST).write_text(json.dumps(manifest))
    return str(out)


def _factors(docs: Callable[..., Any], data_folder: Path, **metadata: Any) -> tuple[Any, ...]:
    run = {"axbench_data": str(data_folder), "axbench_writer": "template", **metadata}
    return tuple(dict.fromkeys(row["factor"] for row in docs(**run).rows))


def test_factors_come_from_the_method(steering: Path, data_folder: Path, tmp_path: Path) -> None:
    def of(**metadata: Any) -> tuple[Any, ...]:
        return _factors(rows.steer_docs, data_folder, **metadata)

    own = _changed(steering, tmp_path / "own", diffmean={"factors": [8, 2]}, random={})
    assert of(steering=str(steering)) == FACTORS
    assert of(steering=own, method="diffmean") == (8.0, 2.0)
    assert of(steering=own, method="random") == FACTORS
    with pytest.raises(HarnessError, match="its methods differ in their factors; pass method="):
        of(steering=own)
    assert of(steering=own, axbench_factors=[0.4, 1, 0.4], method="random") == (0.4, 1.0)
    for intervention in ("clamp", "min_clamp"):
        assert of(steering=own, method="diffmean", intervention=intervention) == CLAMP_FACTORS
    assert of(steering=own, method="diffmean", intervention="add") == (8.0, 2.0)
    with pytest.raises(HarnessError, match="no method 'pca' in it"):
        of(steering=own, method="pca")


def test_without_a_factor_the_test_rows_are_steered_all_the_same(
    steering: Path, data_folder: Path, tmp_path: Path
) -> None:
    run: dict[str, Any] = {"axbench_data": str(data_folder)}
    adapters = _changed(steering, tmp_path / "adapters", factors=[])
    for more in ({"steering": adapters}, {"steering": str(steering), "intervention": "null_out"}):
        sourced = rows.steer_docs(**run, **more)
        assert len(sourced.rows) == 3 * 5
        assert {(row["factor"], row["split"]) for row in sourced.rows} == {(None, "test")}
        with pytest.raises(DataError, match="has no factor; leave it out"):
            rows.steer_docs(**run, **more, axbench_factors=[1.0])
    run["axbench_writer"] = "template"
    assert (
        len(rows.suppress_docs(**run, steering=str(steering), intervention="null_out").rows) == 15
    )
    with pytest.raises(HarnessError, match="axbench_suppress negates factors and this method has"):
        rows.suppress_docs(**run, steering=adapters)


def test_min_clamp_cannot_suppress(steering: Path, data_folder: Path) -> None:
    with pytest.raises(HarnessError, match="min_clamp never lowers a concept's score"):
        _factors(rows.suppress_docs, data_folder, steering=str(steering), intervention="min_clamp")


def test_suppression_asks_for_the_concept_and_negates_the_factors(
    steering: Path, data_folder: Path
) -> None:
    found = _factors(rows.suppress_docs, data_folder, steering=str(steering))
    assert found == tuple(-factor for factor in FACTORS)
    assert _factors(rows.suppress_docs, data_folder) == (None,)
    run = {"axbench_data": str(data_folder), "axbench_writer": "template"}
    asked = rows.suppress_docs(**run, steering=str(steering)).rows
    plain = rows.steer_docs(**run, steering=str(steering)).rows
    for one, other in zip(asked, plain, strict=True):
        assert "the sea" in one["steering_prompt"] or one["concept_id"] > 0
        assert {k: v for k, v in one.items() if k not in ("steering_prompt", "factor")} == {
            k: v for k, v in other.items() if k != "factor"
        }


@pytest.mark.parametrize("value", [0.4, "0.4", [], ["a"], [0.0], [-1.0], [True], [float("inf")]])
def test_factors_that_are_none(steering: Path, data_folder: Path, value: Any) -> None:
    with pytest.raises(DataError, match=r"give a list of positive numbers"):
        _factors(rows.steer_docs, data_folder, steering=str(steering), axbench_factors=value)


def test_factors_need_steering(data_folder: Path) -> None:
    with pytest.raises(DataError, match="this one has no steering="):
        _factors(rows.steer_docs, data_folder, axbench_factors=[1.0])


@pytest.mark.parametrize("name", ["steer", "suppress", "steer_prompt", "detect", "detect_prompt"])
def test_fewer_concepts(data_folder: Path, name: str) -> None:
    docs = getattr(rows, f"{name}_docs")
    run = {"axbench_data": str(data_folder), "axbench_writer": "template"}
    whole, some = docs(**run), docs(**run, axbench_concepts=[2, 0, 2])
    assert [row for row in whole.rows if row["concept_id"] != 1] == list(some.rows)
    assert whole.sha256 != some.sha256
    with pytest.raises(DataError, match=r"has no concept 9; it has 3, 0 … 2"):
        docs(**run, axbench_concepts=[0, 9])
    for value in (0, "0,1", []):
        with pytest.raises(DataError, match="give a list of concept ids"):
            docs(**run, axbench_concepts=value)


def test_a_dictionary_may_lack_concepts_that_are_not_asked_for(
    steering: Path, data_folder: Path, tmp_path: Path
) -> None:
    small = _changed(steering, tmp_path / "small")
    path = Path(small) / dictionary.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["concepts"] = manifest["concepts"][:2]
    for facts in manifest["methods"].values():
        for name in {"max_act", "max_act_origin", "norm_median", "norm_largest"} & set(facts):
            facts[name] = facts[name][:2]
    path.write_text(json.dumps(manifest))
    run = {"axbench_data": str(data_folder), "steering": small}
    assert len(rows.steer_docs(**run, axbench_concepts=[0, 1]).rows) == 2 * 140
    with pytest.raises(DataError, match="it is 'missing'"):
        rows.steer_docs(**run)


def test_sampled_negatives_are_scored_for_every_concept(data_folder: Path) -> None:
    run = {"axbench_data": str(data_folder)}
    plain = rows.detect_docs(**run)
    more = rows.detect_docs(**run, axbench_imbalanced=7)
    assert list(more.rows[: len(plain.rows)]) == list(plain.rows)
    added = more.rows[len(plain.rows) :]
    assert len(added) == 3 * 7
    assert {(row["category"], row["label"]) for row in added} == {("imbalanced negative", 0)}
    texts = [[(r["input"], r["output"]) for r in added if r["concept_id"] == c] for c in range(3)]
    assert texts[0] == texts[1] == texts[2]
    negatives = [(r["input"], r["output"]) for r in plain.rows if r["category"] == "negative"]
    assert len(set(texts[0])) == 7
    assert set(texts[0]) <= set(negatives)
    every = rows.detect_docs(**run, axbench_imbalanced=3600)
    assert len(every.rows) == len(plain.rows) + 3 * len(negatives)
    assert len({plain.sha256, more.sha256, every.sha256}) == 3
    one = rows.detect_docs(**run, axbench_imbalanced=7, axbench_concepts=[1])
    assert [r for r in one.rows if r["category"] == "imbalanced negative"] == [
        row for row in added if row["concept_id"] == 1
    ]
    for value in (-1, "many", True, 0.5):
        with pytest.raises(DataError, match="give a number of negatives"):
            rows.detect_docs(**run, axbench_imbalanced=value)


def test_a_grid_of_the_runs_own_is_ranked_apart(data_folder: Path, steering: Path) -> None:
    def sha(**more: Any) -> str:
        return rows.steer_docs(
            axbench_data=str(data_folder), steering=str(steering), method="diffmean", **more
        ).sha256

    assert sha() == rows.steer_docs(axbench_data=str(data_folder)).sha256, "as the baseline's"
    assert len({sha(), sha(axbench_factors=[2.5]), sha(axbench_factors=[0.4, 2.5])}) == 3


@pytest.mark.parametrize("category", ["positive", "negative"])
def test_a_concept_that_cannot_be_scored(tmp_path: Path, category: str) -> None:
    path = write_data(tmp_path) / "latent_eval_data.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [line for line in lines if (line["concept_id"], line["category"]) != (1, category)]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    with pytest.raises(DataError, match=rf"concept 1 \('baking bread'\) has no .* '{category}'"):
        rows.detect_docs(axbench_data=str(tmp_path))
    assert rows.detect_docs(axbench_data=str(tmp_path), axbench_concepts=[0, 2]).rows
