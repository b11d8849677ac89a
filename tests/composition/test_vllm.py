"""``vllm-steered+speculative``: drafted tokens are steered, and change no answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_forking import EngineForking
from specdecode.wide_student import wide_student
from vllm_ways import started

from composition.steering import GREEDY, POSITIONS, SAMPLED, asked, at, interventions
from composition.vllm_engines import SEED
from harness import compose

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wide_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def engines(
    vllm: EngineForking,
    of_teacher: Path,
    student: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Found:
    out = tmp_path_factory.mktemp("answers") / "answers.json"
    return answered(vllm, of_teacher, student, out)


def answered(vllm: EngineForking, dictionary: Path, student: Path, out: Path, *ways: str) -> Found:
    started(vllm, "composition.vllm_engines", str(dictionary), str(student), str(out), *ways)
    found: Found = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("name", ["none", "model", "ngram", "vLLM's own"])
def test_greedy_answers_are_those_of_vllm_steered(
    engines: Found, name: str, positions: str
) -> None:
    kind = f"greedy {positions}"
    assert engines[name][kind] == engines["steered"][kind]


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("name", ["model", "ngram"])
def test_sampled_answers_do_not_depend_on_the_drafter(
    engines: Found, name: str, positions: str
) -> None:
    kind = f"sampled {positions}"
    assert engines[name][kind] == engines["none"][kind]
    assert len(set(engines[name][kind])) == len(engines[name][kind])


@pytest.mark.parametrize("name", ["none", "model", "ngram"])
def test_nor_on_what_is_asked_beside(engines: Found, name: str) -> None:
    assert engines[name]["one by one"] == engines["none"][f"sampled {POSITIONS[-1]}"]


WAYS: list[Any] = [
    ["asynchronous"],
    pytest.param(["v2"], marks=pytest.mark.slow),
    pytest.param(["v2", "asynchronous"], marks=pytest.mark.slow),
]


@pytest.mark.parametrize("ways", WAYS, ids="+".join)
def test_nor_on_how_the_engine_runs(
    vllm: EngineForking,
    engines: Found,
    of_teacher: Path,
    student: Path,
    tmp_path: Path,
    ways: list[str],
) -> None:
    """Where the host lays out a step before it knows the last one, or on another model runner."""
    found = answered(vllm, of_teacher, student, tmp_path / "answers.json", *ways)
    assert set(found) == set(engines) - {"ngram"}
    for name, own in found.items():
        for kind in own.keys() - {"trace", "info"}:
            assert own[kind] == engines[name][kind], (name, kind)


def test_answers_are_those_of_hf(engines: Found, of_teacher: Path) -> None:
    lm = compose("hf-steered+speculative")(
        "testbed:teacher",
        steering=str(of_teacher),
        method="diffmean",
        seed=SEED,
        dtype="float32",
        device="cpu",
        batch_size=8,
    )
    for positions in POSITIONS:
        at(lm, positions)
        lm.note = interventions(lm)
        for name, options in (("greedy", GREEDY), ("sampled", SAMPLED)):
            theirs = engines["model"][f"{name} {positions}"]
            own = lm.generate_until(asked(options), disable_tqdm=True)
            assert [text.replace("<|user|>", "") for text in theirs] == list(map(str, own))


def test_results_name_the_parts(engines: Found) -> None:
    info = engines["model"]["info"]
    assert info["parts"] == ["steered", "speculative"]
    assert info["method"].startswith("steered(diffmean) + speculative(")
    assert info["speculation"]["accepted"] > 0
    trace = engines["model"]["trace"]
    assert trace["concept_id"] == 0 and trace["speculation"]["tokens"] > 0
    assert "parts" not in engines["steered"]["info"]
