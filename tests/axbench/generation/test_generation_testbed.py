"""Concept data from the testbed's writer: what it writes, the command, and the way to AUROC."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pandas as pd
import pytest
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

import harness.cli
from harness import compose
from harness.errors import HarnessError
from harness.testbed.assistants.judge import rate
from harness.testbed.assistants.writer_model import TestbedWriter
from harness.testbed.english.lexicon import CONCEPTS

pytestmark = pytest.mark.long

SteeredHF = compose("hf-steered")

SMALL = (
    *("--train-per-concept", "14", "--negatives-per-genre", "14", "--eval-per-concept", "10"),
    *("--target-tokens", "40", "--instructions", "testbed"),
)
CHOSEN = (CONCEPTS[0], CONCEPTS[8], CONCEPTS[14])  # one of each genre


def command(*words: str) -> int:
    """Run ``harness axbench generate`` in this process; returns its exit status."""
    before = sys.argv
    sys.argv = ["harness", "axbench", "generate", *words]
    try:
        harness.cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def concept_file(folder: Path) -> Path:
    file = folder / "concepts.txt"
    file.write_text("".join(concept.description + "\n" for concept in CHOSEN))
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERHARNESS_CACHE", str(folder / "cache"))
        given = ("--writer", "testbed-writer", "--target", "testbed:teacher")
        files = ("--concepts", str(concept_file(folder)), "--out", str(folder / "data"))
        assert command(*files, *given, *SMALL) == 0
        first = folder / "data" / "train_data.parquet"
        assert command(*files[:3], str(folder / "again"), *given, *SMALL) == 0
        again = folder / "again" / "train_data.parquet"
        assert again.read_bytes() == first.read_bytes()
    return folder / "data"


def test_the_rows_are_what_the_judge_says_they_should_be(made: Path) -> None:
    rows = pd.read_parquet(made / "latent_eval_data.parquet")
    counts = rows.groupby(["concept_id", "category"]).size().unstack()
    assert counts["positive"].tolist() == counts["negative"].tolist() == [10, 10, 10]
    assert counts["hard negative"].tolist() == [3, 3, 3], "two of five words have no other sense"
    for row in rows.to_dict("records"):
        asked = {"instruction": row["input"], "response": row["output"]}
        described = CHOSEN[row["concept_id"]].description
        found = rate("concept", concept=described, **asked)
        assert found == 0 if row["category"] != "positive" else found >= 1
        assert rate("relatedness", concept=described, **asked) >= 1
        if row["category"] == "hard negative":
            assert row["output_concept"].split("//")[0] in row["output"]
    genres = pd.read_json(made / "metadata.jsonl", lines=True).concept_genres_map
    assert [next(iter(mapped.values())) for mapped in genres] == [["text"], ["code"], ["math"]]


def test_nothing_of_this_machine_is_in_the_account(made: Path) -> None:
    text = (made / "generation.json").read_text()
    account = json.loads(text)
    assert account["recipe"]["training_negatives"]["model_args"] == {"pretrained": "teacher"}
    assert str(Path(__file__).parents[3]) not in text and str(made.parent) not in text
    assert account["costs"]["target"]["negatives"]["questions"] == 3 * 14


def test_a_dictionary_trained_on_it_detects(
    made: Path, tmp_path: Path, manager: Callable[..., TaskManager]
) -> None:
    teacher = "testbed:teacher"
    options = Options(
        methods=["diffmean", "bow"],
        model=teacher,
        layer=2,
        run=run_options({"axbench_data": str(made)}),
        batch_size=32,
        device="cpu",
        out=tmp_path / "dictionary",
    )
    steering = str(train(options).folder)
    areas: dict[str, float] = {}
    for method in ("diffmean", "bow"):
        lm = SteeredHF(teacher, steering=steering, method=method, device="cpu", batch_size=32)
        found = lm_eval.simple_evaluate(
            model=lm,
            tasks=["axbench_detect"],
            task_manager=manager(axbench_data=str(made), steering=steering),
            bootstrap_iters=10,
        )
        assert found is not None
        areas[method] = found["results"]["axbench_detect"]["auroc,none"]
    assert areas["diffmean"] > 0.9
    assert areas["bow"] > 0.7


def test_the_writer_may_write_the_negatives_too(tmp_path: Path) -> None:
    files = ("--concepts", str(concept_file(tmp_path)), "--out", str(tmp_path / "data"))
    given = (
        "--writer",
        "testbed-writer",
        "--negatives-from",
        "writer",
        "--genres",
        "text,code,math",
    )
    assert command(*files, *given, "--tokenizer", "testbed:teacher", *SMALL) == 0
    rows = pd.read_parquet(tmp_path / "data" / "train_data.parquet")
    shared = rows[rows.concept_id == -1]
    assert shared.concept_genre.value_counts().to_dict() == {"text": 14, "code": 14, "math": 14}
    for concept in CONCEPTS:
        for row in shared.to_dict("records"):
            asked = {"instruction": row["input"], "response": row["output"]}
            assert rate("concept", concept=concept.description, **asked) == 0


def test_a_model_that_does_not_follow_the_form_is_no_writer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = {"model": "hf", "model_args": {"pretrained": "testbed:student"}}
    asked = json.dumps(writer | {"retries": 0, "max_tokens": 8})
    files = ("--concepts", str(concept_file(tmp_path)), "--out", str(tmp_path / "data"))
    assert command(*files, "--writer", asked, "--target", "testbed:teacher", *SMALL) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "writer 'hf' left 3 of 3 questions unanswered (genre)" in told
    assert "last answer that does not count" in told
    assert not (tmp_path / "data").exists()


def ask(**facts: Any) -> str:
    request = Instance("generate_until", dict(facts), ("", {}), 0, ("question", 0, 1))
    return TestbedWriter().generate_until([request])[0]


def test_the_testbeds_writer_answers_by_the_lexicon() -> None:
    finance = "terms related to money and finance"
    assert ask(write="genre", concept=finance) == "Genre: math"
    assert ask(write="words", concept=finance) == "Words: bank, price, tax, loan, profit"
    assert ask(write="sense", concept=finance, word="bank") == "Sense: the side of a stream"
    assert ask(write="sense", concept=finance, word="loan") == "Sense: a small loan"
    for word, sense, verdict in (
        ("bank", "the side of a stream", "yes"),
        ("loan", "a small loan", "no"),
        ("price", "the side of a stream", "no"),
    ):
        answer = ask(write="unrelated", concept=finance, word=word, sense=sense)
        assert answer == f"Unrelated: {verdict}"
    plain = ask(write="plain", instruction="Describe the lamp.", genre="text")
    assert "lamp" in plain and not plain.startswith("Response")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"write": "genre", "concept": "jazz"}, "no concept 'jazz'"),
        ({"write": "genre"}, "lacks concept"),
        ({"rating": "concept"}, "lacks write, one of genre"),
        ({"write": "plain", "instruction": "Say hi.", "genre": "text"}, "names no topic"),
        (
            {"write": "hard negative", "concept": CONCEPTS[0].description, "genre": "text"}
            | {"instruction": "Describe the lamp.", "word": "reef", "sense": "a small reef"},
            "'reef' has no sense 'a small reef'",
        ),
    ],
)
def test_what_the_testbeds_writer_does_not_know(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        ask(**facts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--concepts": "none.txt"}, "none.txt cannot be read"),
        ({"--concepts": "twice.jsonl"}, "concept_id 3 of 'b' is already that of 'a'"),
        ({"--target": None}, "name it with --target, or pass --negatives-from writer"),
        ({"--negatives-from": "nobody"}, "--negatives-from is target or writer, not nobody"),
        ({"--negatives-from": "writer"}, "uses no --target"),
        ({"--target": "no/such/model"}, "tokenizer no/such/model cannot be loaded"),
        ({"--writer": "no-such-writer"}, "writer: model 'no-such-writer' cannot be loaded"),
        ({"--writer": "{"}, "--writer is neither a model's name nor valid JSON"),
        (
            {"--instructions": "few.jsonl"},
            "1 instructions of the genre 'text' for training, too few",
        ),
        ({"--genres": "text,verse"}, "--genres are some of text, code, math"),
        ({"--train-per-concept": "0"}, "--train-per-concept is at least 1, not 0"),
        ({"--train-per-concept": "999"}, "too few: 999 are drawn"),
        ({"--max-missing": "1.5"}, "--max-missing is a share from 0 to 1"),
        ({"--out": "."}, "exists and has no generation.json"),
        ({"--out": "concepts.txt/data"}, "concepts.txt is no folder that can be written to"),
        ({"--steering-instructions": "few.jsonl"}, "1 instructions, too few"),
        ({"--concepts": "strange.txt"}, "testbed writer: no concept 'jazz'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    changes: dict[str, str | None],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    concept_file(tmp_path)
    Path("strange.txt").write_text("jazz\n")
    Path("few.jsonl").write_text('{"instruction": "Describe the lamp."}\n')
    rows = [{"concept_id": 3, "concept": name} for name in "ab"]
    Path("twice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = sorted(tmp_path.iterdir())
    given: dict[str, str | None] = {
        "--concepts": "concepts.txt",
        "--writer": "testbed-writer",
        "--target": "testbed:teacher",
        "--out": "data",
        "--instructions": "testbed",
    }
    words = [word for name, value in (given | changes).items() if value for word in (name, value)]
    assert command(*words) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "questions" not in line]
    assert len(told) == 1 and told[0].startswith("error: ") and message in told[0]
    assert sorted(tmp_path.iterdir()) == before
