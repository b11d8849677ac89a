"""Generation of concept data through lm-eval's real chat client, and what can go wrong with it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from forking import Forking
from harness_axbench.data import concepts
from harness_axbench.generation.folder import Generated, sae_columns, tables
from harness_axbench.generation.generate import Options, generate
from harness_axbench.generation.pipeline import Sizes, negatives_by_genre
from harness_axbench.generation.writers import Cutter, target_spec, tokenizer_of
from harness_axbench.options import run_options
from rich.console import Console

from axbench.writing_server import WritingServer, running, write
from harness.asking.desk import writer_spec
from harness.asking.store import Store
from harness.errors import ArtefactError, HarnessError

pytestmark = pytest.mark.long

SMALL = Sizes(
    train_per_concept=4, negatives_per_genre=5, eval_per_concept=3, hard_per_concept=2,
    kept_tokens=128, target_tokens=20,
)  # fmt: skip
CONCEPTS = [
    {"concept_id": 1, "concept": "the sea", "ref": "https://x.org/a/14874"},
    {"concept_id": 4, "concept": "loops", "ref": "book"},
]
TABLES = ("train_data.parquet", "latent_eval_data.parquet", "metadata.jsonl", "alpaca_eval.json")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A concept file and an instruction file: 30 instructions of two genres."""
    folder = tmp_path / "sources"
    folder.mkdir()
    rows = [{"instruction": f"Describe thing {k}.", "genre": "text"} for k in range(30)]
    rows += [{"instruction": f"Program thing {k}.", "genre": "code"} for k in range(30)]
    for name, table in (("concepts", CONCEPTS), ("instructions", rows)):
        text = "".join(json.dumps(row) + "\n" for row in table)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


def api(server: WritingServer | str, model: str, **options: Any) -> str:
    args = {
        "base_url": server if isinstance(server, str) else server.url,
        "model": model,
        "num_concurrent": 4,
        "max_retries": 1,
        "timeout": 5,
    }
    return json.dumps(
        {"model": "local-chat-completions", "model_args": args, "backoff": 0.01} | options
    )


def options(server: WritingServer | str, sources: Path, tokenizer: str, **changes: Any) -> Options:
    """Both models are the server's."""
    given: dict[str, Any] = {
        "concepts": sources / "concepts.jsonl",
        "out": sources.parent / "made",
        "writer": writer_spec(api(server, "writer-1", **changes.pop("writer", {}))),
        "target": target_spec(api(server, "target-1"), 20),
        "tokenizer": tokenizer,
        "instructions": str(sources / "instructions.jsonl"),
        "steering_instructions": str(sources / "instructions.jsonl"),
        "genres": ("text", "code"),
        "sizes": SMALL,
    }
    return Options(**given | changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet")


def test_every_row_of_a_small_data_set(sources: Path, llama: str) -> None:
    with running() as server:
        made = generate(options(server, sources, llama))
    assert set(server.requests.values()) == {1}, "no question twice"
    train = table(made.folder, "train_data")
    assert Counter(zip(train.concept_id, train.category, train.concept_genre, strict=True)) == {
        (-1, "negative", "text"): 5,
        (-1, "negative", "code"): 5,
        (1, "positive", "text"): 4,
        (4, "positive", "code"): 4,
    }
    shared = train[train.concept_id == -1]
    assert set(shared.output_concept) == {"EEEEE"}
    assert list(shared.output) == [write(text) for text in shared.input], "the target's own answers"
    rows = table(made.folder, "latent_eval_data")
    assert Counter(zip(rows.concept_id, rows.category, rows.concept_genre, strict=True)) == {
        (1, "positive", "text"): 3,
        (1, "negative", "text"): 3,  # 15 % of three is none of code
        (1, "hard negative", "text"): 1,
        (4, "positive", "code"): 3,
        (4, "negative", "text"): 3,
        (4, "hard negative", "code"): 1,
    }
    hard = rows[rows.category == "hard negative"]
    assert set(hard.output_concept) == {"wave//another wave."}, (
        "no sense, and a related one, are out"
    )
    assert all(text.startswith("wave we see") for text in hard.output)
    assert list(rows.sae_id) == [14874] * 7 + [-1] * 7
    assert not set(train.input) & set(rows.input)
    for _, own in rows.groupby("concept_id"):
        assert own.input.is_unique
    found = concepts.load(run_options({"axbench_data": str(made.folder)}))
    assert [(c.id, c.text, c.genre) for c in found.concepts] == [
        (1, "the sea", "text"),
        (4, "loops", "code"),
    ]
    assert len(concepts.instructions("", found.source)) == 60


def test_what_is_asked_and_how(sources: Path, llama: str) -> None:
    with running() as server:
        generate(options(server, sources, llama))
    by_model: dict[str, list[dict[str, Any]]] = {"writer-1": [], "target-1": []}
    for payload in server.payloads:
        by_model[payload["model"]].append(payload)
    assert {(p["temperature"], p["max_tokens"]) for p in by_model["writer-1"]} == {(1.0, 256)}
    assert {(p["temperature"], p["max_tokens"]) for p in by_model["target-1"]} == {(0.0, 20)}
    prompts = [payload["messages"][-1]["content"] for payload in by_model["writer-1"]]
    asked = [prompt for prompt in prompts if prompt.startswith("Respond to")]
    assert len(asked) == 2 * (4 + 3 + 3 + 1)
    assert sum("keep clear of this concept: the sea" in p for p in asked) == 1
    assert sum("Keep clear of this concept" in p for p in asked) == 6
    order = [prompt.split()[0] for prompt in prompts]
    assert order[:4] == ["In", "In", "Name", "Name"], "a step is one batch over all concepts"


def test_the_account(sources: Path, llama: str) -> None:
    def faults(prompt: str) -> list[str]:
        return ["refusal"] if prompt.startswith("Respond") and prompt.endswith("3.") else []

    with running(faults) as server:
        made = generate(options(server, sources, llama))
        rejected = sum(count - 1 for count in server.requests.values())
        assert rejected > 0
        costs = made.manifest["costs"]
        steps = [*costs["writer"].values(), *costs["target"].values()]
        assert sum(step["requests"] for step in steps) == server.total
        assert costs["writer"]["responses"]["rejected"] == rejected
        assert costs["writer"]["responses"]["questions"] == 22
        tokens = sum(len(p["messages"][-1]["content"].split()) for p in server.payloads)
        assert sum(step["prompt_tokens"] for step in steps) == tokens
        again = generate(options(server, sources, llama, out=sources.parent / "again"))
    costs = again.manifest["costs"]
    steps = [*costs["writer"].values(), *costs["target"].values()]
    assert [step["questions"] for step in steps] == [step["stored"] for step in steps]
    assert not any("requests" in step for step in steps)
    assert contents(again.folder) == contents(made.folder)
    shown = StringIO()
    for part in tables(made):
        Console(width=120, file=shown).print(part)
    text = shown.getvalue()
    assert "shared negatives: 5 text, 5 code" in text and "the sea" in text
    assert "responses" in text and str(tokens_of(made, "responses")) in text


def tokens_of(made: Generated, step: str) -> int:
    tokens: int = made.manifest["costs"]["writer"][step]["prompt_tokens"]
    return tokens


def test_faults_change_nothing(sources: Path, llama: str) -> None:
    kinds = ("429", "500", "garbage", "refusal")
    turns: dict[str, int] = {}

    def faults(prompt: str) -> list[str]:
        turn = turns.setdefault(prompt, len(turns))
        known = kinds if '"Response:"' in prompt else kinds[:3]  # the target's refusal is an answer
        return [known[turn % len(known)]] * (turn % 3)

    with running() as calm, running(faults) as rough:
        quiet = generate(options(calm, sources, llama))
        changes = {"writer": {"retries": 5}, "out": sources.parent / "rough"}
        target = target_spec(api(rough, "target-1", retries=5), 20)
        noisy = generate(options(rough, sources, llama, target=target, **changes))
    assert contents(noisy.folder) == contents(quiet.folder)
    assert rough.total > calm.total


def test_a_row_that_stays_unwritten_is_listed(sources: Path, llama: str) -> None:
    lost: list[str] = []

    def faults(prompt: str) -> list[str]:
        if not lost and prompt.startswith("Respond") and "Work this concept" in prompt:
            lost.append(prompt)
        return ["refusal"] * 99 if prompt in lost else []

    with running(faults) as server:
        made = generate(options(server, sources, llama, max_missing=0.1))
    instruction = lost[0].rpartition("Instruction: ")[2]
    (missing,) = made.manifest["missing_rows"]
    assert missing["instruction"] == instruction and missing["category"] == "positive"
    whole = {own["concept_id"]: own for own in made.manifest["concepts"]}
    own = whole[missing["concept_id"]]
    assert own["train_positive"] + own["eval_positive"] == 6
    assert made.manifest["costs"]["writer"]["responses"]["unanswered"] == 1
    for name in ("train_data", "latent_eval_data"):
        rows = table(made.folder, name)
        assert instruction not in set(rows[rows.concept_id == own["concept_id"]].input)


def test_a_concept_that_misses_too_much_is_dropped_and_named(sources: Path, llama: str) -> None:
    more = [{"concept": f"thing {k}"} for k in range(12)]
    file = sources / "more.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in more))

    def faults(prompt: str) -> list[str]:
        refused = prompt.startswith("Respond") and "oncept: thing 7." in prompt
        return ["refusal"] * 99 if refused else []

    with running(faults) as server:
        changes = {"concepts": file, "writer": {"retries": 0}}
        made = generate(options(server, sources, llama, **changes))
        (dropped,) = made.manifest["dropped_concepts"]
        assert dropped["concept_id"] == 7 and "responses missing" in dropped["reason"]
        assert 7 not in {own["concept_id"] for own in made.manifest["concepts"]}
        assert 7 not in set(table(made.folder, "train_data").concept_id)
        strict = options(
            server, sources, llama, **changes, out=sources.parent / "strict", max_missing=0.0
        )
        with pytest.raises(
            HarnessError, match=r"left \d+ of \d+ questions unanswered \(responses\)"
        ):
            generate(strict)
        assert not strict.out.exists()


def test_a_writer_that_is_away_and_comes_back(sources: Path, llama: str) -> None:
    away = {"on": True}

    def faults(prompt: str) -> list[str]:
        return ["500"] * 99 if away["on"] and prompt.startswith("Respond") else []

    with running() as calm, running(faults) as server:
        expected = generate(options(calm, sources, llama, out=sources.parent / "expected"))
        wanted = options(server, sources, llama, writer={"retries": 0})
        with pytest.raises(HarnessError) as caught:
            generate(wanted)
        text = str(caught.value)
        assert "left 22 of 22 questions unanswered (responses)" in text
        assert "500" in text and "Accepted answers are kept in" in text
        assert not wanted.out.exists()
        time.sleep(0.5)  # what was still under way when the run failed arrives
        away["on"] = False
        before = server.requests.copy()
        made = generate(wanted)
        asked = server.requests - before
        assert asked.total() == 22 and all(prompt.startswith("Respond") for prompt in asked)
    assert contents(made.folder) == contents(expected.folder)


def test_a_writer_that_cannot_be_reached(sources: Path, llama: str) -> None:
    nowhere = "http://127.0.0.1:9/v1/chat/completions"
    with pytest.raises(HarnessError, match=r"writer .*left 2 of 2 .*\(genre\).*onnect"):
        generate(options(nowhere, sources, llama, writer={"retries": 0}))
    assert not (sources.parent / "made").exists()


def test_a_killed_run_goes_on_where_it_was(
    sources: Path, llama: str, tmp_path: Path, fresh: Forking
) -> None:
    with running() as calm:
        expected = generate(options(calm, sources, llama, out=tmp_path / "expected"))
    kept = tmp_path / "answers.jsonl"
    with running(delay=0.1) as server:
        program = f"""
import harness._autoload
from pathlib import Path
from axbench.generation.test_generation import generate, options
kept = {{"store": {str(kept)!r}}}
generate(options({server.url!r}, Path({str(sources)!r}), {llama!r}, writer=kept))
"""
        path = str(Path(__file__).parents[2])
        child = fresh.start("-c", program, cwd=tmp_path, **os.environ | {"PYTHONPATH": path})
        child.until(lambda: len(Store(kept)) >= 14)
        child.send(signal.SIGKILL)
        child.wait()
        assert not (sources.parent / "made").exists()
        time.sleep(0.3)  # what was under way reaches the server's count
        finished = len(Store(kept))
        total = sum(s["questions"] for s in expected.manifest["costs"]["writer"].values())
        assert 14 <= finished < total, child.errors[-2000:]
        before, server.delay = server.requests.copy(), 0.0
        made = generate(options(server, sources, llama, writer={"store": str(kept)}))
        again = server.requests - before
        assert again.total() == total - finished, "no finished question is asked again"
    assert contents(made.folder) == contents(expected.folder)
    assert not list(sources.parent.glob(".made*"))


def test_another_concept_changes_no_row_of_the_others(sources: Path, llama: str) -> None:
    with running() as server:
        few = generate(options(server, sources, llama))
        between = [CONCEPTS[0], {"concept_id": 2, "concept": "bread"}, CONCEPTS[1]]
        file = sources / "more.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in between))
        more = generate(options(server, sources, llama, concepts=file, out=sources.parent / "more"))
    for name in ("train_data", "latent_eval_data"):
        rows = table(more.folder, name)
        kept = rows[rows.concept_id != 2].reset_index(drop=True)
        assert len(kept) < len(rows)
        pd.testing.assert_frame_equal(kept, table(few.folder, name))


def test_equal_descriptions_get_independent_answers(sources: Path, llama: str) -> None:
    file = sources / "twins.jsonl"
    twins = [{"concept_id": k, "concept": "the sea", "genre": "text"} for k in (0, 5)]
    file.write_text("".join(json.dumps(row) + "\n" for row in twins))
    with running() as server:
        generate(options(server, sources, llama, concepts=file, genres=("text",)))
    named = [p for p in server.payloads if p["messages"][-1]["content"].startswith("Name up to")]
    assert sorted(payload["seed"] for payload in named) == [1234, 1239]


def test_equal_data_are_kept_and_others_refused(sources: Path, llama: str) -> None:
    with running() as server:
        wanted = options(server, sources, llama)
        made = generate(wanted)
        before = server.total
        assert generate(wanted).already_there
        faster = json.loads(api(server, "writer-1"))
        faster["model_args"]["num_concurrent"] = 9
        again = generate(replace(wanted, writer=writer_spec(json.dumps(faster))))
        assert again.already_there, "how a model is run changes no data"
        for changes, differs in (
            ({"seed": 7}, "--seed"),
            ({"writer": {"temperature": 0.5}}, "--writer"),
            ({"sizes": replace(SMALL, train_per_concept=5)}, "the numbers of rows or tokens"),
            ({"steering_instructions": None}, "--steering-instructions"),
        ):
            with pytest.raises(ArtefactError, match=rf"other concept data \(.*in: {differs}\)"):
                generate(options(server, sources, llama, **changes))
        assert server.total == before
    (made.folder / "metadata.jsonl").write_text("")
    with pytest.raises(ArtefactError, match=r"metadata.jsonl is missing or was changed"):
        generate(wanted)
    (made.folder / "generation.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"generation.json is damaged"):
        generate(wanted)
    (made.folder / "generation.json").unlink()
    with pytest.raises(ArtefactError, match=r"made exists and has no generation.json"):
        generate(wanted)


def test_no_secret_is_kept(sources: Path, llama: str) -> None:
    planted = "sk-planted-0123456789"
    with running() as server:
        writer = json.loads(api(server, "writer-1"))
        writer["model_args"]["header"] = {"Authorization": f"Bearer {planted}"}
        wanted = replace(options(server, sources, llama), writer=writer_spec(json.dumps(writer)))
        made = generate(wanted)
    assert planted not in (made.folder / "generation.json").read_text() + repr(wanted)


def test_shares_of_negatives() -> None:
    assert negatives_by_genre(36, ("text", "code", "math")) == {"text": 26, "code": 5, "math": 5}
    assert negatives_by_genre(36, ("code", "math")) == {"code": 31, "math": 5}
    assert negatives_by_genre(3, ("math",)) == {"math": 3}


def test_the_feature_in_an_address() -> None:
    address = "https://www.neuronpedia.org/gemma-2-2b/10-gemmascope-res-16k/14874"
    assert sae_columns(address) == {"sae_link": address, "sae_id": 14874}
    assert sae_columns("testbed:3") == {"sae_link": "", "sae_id": -1}


def test_texts_are_cut_at_tokens(llama: str, tokenizer: Any) -> None:
    cutter = Cutter(llama)
    text = "the small house, near the door; 猫猫猫"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    for tokens in range(1, len(ids)):
        cut = cutter.cut(text, tokens)
        assert text.startswith(cut) and "\ufffd" not in cut
        assert len(tokenizer(cut, add_special_tokens=False)["input_ids"]) <= tokens
        if tokens <= 8:
            assert cut == tokenizer.decode(ids[:tokens])
    assert cutter.cut(text, len(ids)) == text


def test_cut_responses_are_counted(sources: Path, llama: str) -> None:
    with running() as server:
        made = generate(options(server, sources, llama, sizes=replace(SMALL, kept_tokens=2)))
    cutter = Cutter(llama)
    rows = table(made.folder, "latent_eval_data")
    assert all(cutter.cut(text, 2) == text for text in rows.output)
    assert made.manifest["responses"]["cut"] == 22
    hard = rows[rows.category == "hard negative"].output
    lost = sum("wave" not in text for text in hard)
    assert made.manifest["responses"]["hard_negatives_without_their_word"] == lost


def test_models_by_name_path_or_json(llama: str, tmp_path: Path) -> None:
    target = target_spec(llama, 30)
    assert (target.model, target.model_args["pretrained"]) == ("hf", llama)
    assert (target.temperature, target.max_tokens) == (0.0, 30)
    assert tokenizer_of(target, None) == llama and tokenizer_of(target, "other") == "other"
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in Path(llama).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    kept = target_spec(str(copy), 30).store
    (copy / "generation_config.json").write_text('{"temperature": 0.5}')
    assert target_spec(str(copy), 30).store != kept, "other weights, other answers"
    for value, message in (
        ("{", "--writer is neither a model's name nor valid JSON"),
        ('{"model": 3}', "--writer: model must be a model's name or an object"),
        ('{"model": "hf", "temprature": 1}', r"--writer: .*unknown key\(s\) temprature"),
        ('{"model": "hf", "votes": 3}', "--writer: votes are for judges"),
    ):
        with pytest.raises(HarnessError, match=message):
            writer_spec(value)
    with pytest.raises(HarnessError, match="name its tokenizer with --tokenizer"):
        tokenizer_of(target_spec('{"model": "local-chat-completions"}', 30), None)
    with pytest.raises(HarnessError, match=r"tokenizer .*nothing cannot be loaded"):
        Cutter(str(tmp_path / "nothing"))
