"""Several seeds: the first's vectors are kept, and what is said of the others is what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harness_axbench.data.concepts import load
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.options import run_options
from harness_axbench.training.seeds import spread
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from harness import compose
from harness.errors import ArtefactError, HarnessError

Make = Callable[..., Path]

SETTINGS = {"reft_r1": {"epochs": "1", "lr": "0.1"}}
METHODS = ("diffmean", "random", "reft_r1")


@pytest.fixture(scope="module")
def several(make_dictionary: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("seeds") / "several"
    return make_dictionary(out, methods=METHODS, settings=SETTINGS, seeds=3, seed=2)


def test_the_spread_by_hand() -> None:
    """The example of the module, and a third concept without texts."""
    found = spread((7, 8), [[1.0, 0.5], [0.5, 0.5], [None, None]], [[1.0, 0.9]] * 3)
    assert (found["held"], found["trained"], found["concepts"]) == (7, [7, 8], 2)
    assert found["auroc"] == [0.75, 0.5]
    assert found["auroc_mean"] == 0.625
    assert found["auroc_sd"] == pytest.approx(0.1768, abs=1e-4)
    assert found["auroc_sd_of_a_concept"] == pytest.approx(0.3536 / 2, abs=1e-4)
    none = spread((7, 8), [[None, None]], [[1.0, 1.0]])
    assert (none["concepts"], none["auroc"], none["auroc_mean"]) == (0, [], None)


def auroc(llama: str, data_folder: Path, weight: torch.Tensor, concept: int) -> float:
    """The evaluation texts go one after another through the whole model."""
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    scores: dict[str, list[float]] = {"positive": [], "negative": [], "hard negative": []}
    for row in load(run_options({"axbench_data": str(data_folder)})).evaluation:
        if row["concept_id"] == concept:
            ids = tokenizer(f"{row['input']}\n{row['output']}", return_tensors="pt")["input_ids"]
            with torch.no_grad():
                hidden = model(ids, output_hidden_states=True).hidden_states[2][0, 1:]
            scores[row["category"]].append(float((hidden @ weight).max()))
    pairs = [p - n for p in scores["positive"] for n in scores["negative"]]
    assert min(map(abs, pairs)) > 1e-3, "no ties"
    return sum(d > 0 for d in pairs) / len(pairs)


def test_what_is_said_of_a_seed_is_what_it_does(
    several: Path, make_dictionary: Make, tmp_path: Path, llama: str, data_folder: Path
) -> None:
    found = dictionary.read(several)
    assert "seeds" not in found.facts("diffmean")
    for method in ("random", "reft_r1"):
        over = found.facts(method)["seeds"]
        assert (over["held"], over["trained"]) == (2, [2, 3, 4])
        for place, seed in ((0, 2), (2, 4)):
            own = {name: value for name, value in SETTINGS.items() if name == method}
            out = tmp_path / f"{method}-{seed}"
            alone = make_dictionary(out, methods=(method,), seed=seed, settings=own)
            weight = dictionary.read(alone).weight(method)
            if place == 0:
                torch.testing.assert_close(found.weight(method), weight)
            cosines = torch.cosine_similarity(weight, found.weight(method))
            told = [concept[place] for concept in over["cosine_of_concepts"]]
            assert told == pytest.approx(cosines.tolist(), abs=1e-4)
            if method == "random":
                expected = auroc(llama, data_folder, weight[2], 2)
                assert over["auroc_of_concepts"][2][place] == pytest.approx(expected)
        assert max(told) < 0.999


def test_neither_shards_nor_a_rerun_change_it(
    several: Path, make_dictionary: Make, tmp_path: Path
) -> None:
    same = {"methods": METHODS, "settings": SETTINGS, "seed": 2}
    shards = make_dictionary(tmp_path / "shards", **same, seeds=3, shard_size=2)
    for method in ("random", "reft_r1"):
        first, second = (dictionary.read(own).facts(method)["seeds"] for own in (several, shards))
        cosines = (torch.tensor(over["cosine_of_concepts"]) for over in (first, second))
        torch.testing.assert_close(*cosines, rtol=0, atol=1e-4)
        assert second["auroc"] == pytest.approx(first["auroc"], abs=0.1)  # ties, by rounding
    assert make_dictionary(several, **same, seeds=3) == several
    with pytest.raises(ArtefactError, match="it differs in: --seeds"):
        make_dictionary(several, **same, seeds=2)


def test_seeds_that_make_no_difference(make_dictionary: Make, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="--seeds 2: none of diffmean, pca has vectors that"):
        make_dictionary(tmp_path / "d", methods=("diffmean", "pca"), seeds=2)
    with pytest.raises(HarnessError, match="--seeds is at least 1"):
        make_dictionary(tmp_path / "d", methods=("random",), seeds=0)


def test_the_user_is_told(several: Path, llama: str) -> None:
    from harness_axbench.commands import app

    done = CliRunner().invoke(app, ["inspect", str(several)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "AUROC over the seeds 2 … 4; the vectors are those of 2" in done.output
    over = dictionary.read(several).facts("random")["seeds"]
    assert f"{over['auroc_mean']:.3f}" in done.output
    assert f"{over['auroc_sd']:.3f}" in done.output
    lm = compose("hf-steered")(
        llama, steering=str(several), method="random", concept=0, factor=1.0, device="cpu"
    )
    told = lm.get_model_info()["seeds"]
    assert told["auroc_sd"] == over["auroc_sd"]
    assert "auroc_of_concepts" not in told
