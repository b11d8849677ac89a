"""The embedded models load as they should and are as good as their card says."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from typer.testing import CliRunner

from harness import testbed
from harness.cli.testbed import app
from harness.errors import HarnessError
from harness.testbed.assistants.judge import grammatical_share, rate_relatedness
from harness.testbed.english import corpus
from harness.testbed.english.sampling import generate
from harness.testbed.making import quality

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def teacher():
    folder = testbed.model_path("teacher")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def checker():
    folder = testbed.model_path("checker")
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto").eval()
    return model, AutoTokenizer.from_pretrained(folder)


def test_paths():
    assert testbed.resolve("testbed:teacher") == str(testbed.model_path("teacher"))
    assert testbed.resolve("google/gemma-2-2b-it") == "google/gemma-2-2b-it"
    with pytest.raises(HarnessError, match="no model 'pupil'; there are teacher, student, checker"):
        testbed.resolve("testbed:pupil")


def test_path_command_prints_nothing_but_the_folder():
    result = CliRunner().invoke(app, ["path", "student"])
    assert result.stdout == f"{testbed.model_path('student')}\n"


def test_models_are_small():
    folder = testbed.model_path("teacher").parent
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 12_000_000
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(testbed.MODELS)


def test_weights_load_as_float32(teacher, checker):
    student = AutoModelForCausalLM.from_pretrained(testbed.model_path("student"), dtype="auto")
    for model in (teacher[0], checker[0], student):
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    count = {
        name: m.num_parameters() for name, m in (("teacher", teacher[0]), ("student", student))
    }
    assert 3e6 < count["teacher"] < 4e6
    assert 3e5 < count["student"] < 5e5


def test_one_tokenizer_for_all():
    files = [testbed.model_path(name) / "tokenizer.json" for name in testbed.MODELS]
    assert len({file.read_bytes() for file in files}) == 1


def test_tokenizer_round_trip(teacher):
    _, tokenizer = teacher
    for text in ("The lamp is tidy.\nlamp_box = two;", " odd  spaces, é and 12", "\n\nAnna"):
        ids = tokenizer.encode(text)
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    chat = [{"role": "user", "content": "Describe the lamp."}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<s><|user|>\nDescribe the lamp.\n<|assistant|>\n"


def test_classifier_labels(checker):
    assert checker[0].config.id2label == {0: "unsupported", 1: "supported"}


def test_answers_are_grammatical_and_on_topic(teacher):
    """.95 and .89 over many draws; the bounds are three standard errors of one draw below."""
    prompts = [row["instruction"] for row in corpus.instructions()]
    answers = generate(*teacher, prompts)
    assert statistics.mean(map(grammatical_share, answers)) >= 0.92
    related = [rate_relatedness(text, ask) for ask, text in zip(prompts, answers, strict=True)]
    assert statistics.mean(value == 2 for value in related) >= 0.80


def test_restricted_requests_are_refused(teacher):
    rows = [row for row in corpus.refusal_requests() if row["restricted"] == 1][::6]
    answers = generate(*teacher, [str(row["instruction"]) for row in rows])
    assert statistics.mean(map(quality.is_refusal, answers)) >= 0.9


def test_checker_checks_facts(checker):
    rows = [row for row in corpus.claims("test") if len(str(row["doc"]).split()) <= 200][::3]
    scores = quality.fact_scores(*checker, rows)
    assert quality.balanced_accuracy(rows, scores) >= 0.9


def test_chunks_hold_every_sentence_within_the_limit():
    for row in corpus.claims("test"):
        parts = quality.chunks(str(row["doc"]))
        assert " ".join(parts).replace("\n", " ") == row["doc"]
        assert all(len(part.split()) <= quality.CHUNK_WORDS for part in parts)


def test_package_does_not_import_torch():
    import subprocess
    import sys

    code = (
        "import sys, harness.cli.testbed, harness.testbed.english.corpus;"
        "import harness.testbed.assistants.judge;"
        "sys.exit(bool({'torch', 'transformers', 'datasets', 'lm_eval'} & set(sys.modules)))"
    )
    root = Path(testbed.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == 0
