"""Each fault of a hub is one line: what failed, where, what to do. None spoils the next run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from hub import content
from hub.conftest import Command
from hub.server import Fault, Hub

pytestmark = pytest.mark.long

SLOW = pytest.mark.slow
TRAIN = f"harness axbench train --out out --model {content.STUDENT} --layer 1 --device cpu"
DISTILL = (
    f"harness taid distill --out out --objective sft --student {content.STUDENT} --data "
    f"{content.ULTRACHAT} --epochs 1 --device cpu --dev-rows 2"
)
DOCUMENTS = "harness factcg generate --out out --kind doc --items 4 --writer testbed-writer"
QUESTIONS = "harness factcg generate --out out --kind mhqa --items 4 --writer testbed-writer"
IMPORT = (
    f"harness axbench import --out out --from {content.DICTIONARY} --method reft_r1 --layer 1 "
    f"--model {content.TEACHER}"
)
BENCH = (
    "harness specdecode bench --out out --target testbed:teacher --drafters ngram --limit 1 "
    "--tokens 4 --gammas 1 --schemes gumbel --batch-sizes 1 --repeats 1 --draws 0 --device cpu "
    "--no-chat-template"
)
CHECK = (
    "lm_eval run --model hf-fact-checker --model_args pretrained=testbed:checker --limit 2 "
    "--tasks llm_aggrefact_wice --device cpu --output_path out"
)
STEER = (
    "lm_eval run --model hf --model_args pretrained=testbed:student --limit 1 --tasks "
    "axbench_steer_prompt --metadata judge=testbed-judge axbench_writer=template --device cpu "
    "--gen_kwargs max_gen_toks=4 --output_path out"
)
FIDELITY = (
    f"lm_eval run --model hf-distilled --model_args pretrained={content.STUDENT},"
    f"teacher={content.TEACHER} --tasks taid_fidelity --limit 1 --device cpu --output_path out"
)
SAFETY = (
    "lm_eval run --model hf --model_args pretrained=testbed:student --limit 1 --tasks "
    f"astral_safety --metadata judge=testbed-judge astral_data={content.SUITE} --device cpu "
    "--gen_kwargs max_gen_toks=4 --output_path out"
)
WRITE = (
    "harness axbench generate --out out --concepts CONCEPTS --writer testbed-writer --genres text "
    f"--tokenizer {content.TEACHER} --negatives-from writer"
)


@pytest.fixture
def concepts(tmp_path: Path) -> Path:
    path = tmp_path / "concepts.txt"
    path.write_text("terms related to the ocean and sea life\n")
    return path


# -- who may read


def test_gated_and_no_token(run: Command) -> None:
    error = run(CHECK).error
    assert "hub:lytang/LLM-AggreFact: it is gated, and no token is set: accept its terms" in error
    assert (
        "/datasets/lytang/LLM-AggreFact, then log in with `hf auth login` or set HF_TOKEN" in error
    )
    assert "data=testbed" in error


def test_gated_and_not_accepted(run: Command) -> None:
    error = run(CHECK, token=content.REFUSED).error
    assert "hub:lytang/LLM-AggreFact: it is gated, and the account of this token may not" in error


def test_gated_and_accepted_after_all(run: Command) -> None:
    assert "gated" in run(CHECK, token=content.REFUSED).error
    assert run(CHECK, token=content.ACCEPTED).status == 0


@pytest.mark.parametrize("line", [CHECK, TRAIN, QUESTIONS])
def test_a_token_that_is_no_accounts(line: str, run: Command) -> None:
    token = "hf_thisOneHasExpiredLongAgo3"
    ended = run(line, token=token)
    assert "the hub refuses the token in use (401): it has expired or may not" in ended.error
    assert token not in ended.output + ended.errors


def test_a_gated_model(run: Command, hub: Hub) -> None:
    contents = hub.repositories["models", content.STUDENT].contents
    with hub.holding("models", "meta/gated", contents, readers=frozenset({content.ACCEPTED})):
        line = TRAIN.replace(content.STUDENT, "meta/gated")
        assert (
            f"it is gated, and no token is set: accept its terms at {hub.address}"
            in run(line).error
        )
        assert "may not read it" in run(line, token=content.REFUSED).error
        assert run(line, token=content.ACCEPTED).status == 0


# -- what is not there

LOADERS: Mapping[str, tuple[str, str, str]] = {
    "aggrefact": (CHECK, "datasets", content.AGGREFACT),
    "concepts": (TRAIN, "datasets", content.CONCEPT10),
    "instructions": (STEER, "datasets", content.ALPACA_EVAL),
    "seeds": (WRITE, "datasets", "databricks/databricks-dolly-15k"),
    "dictionary": (IMPORT, "models", content.DICTIONARY),
    "shell": (IMPORT, "models", content.TEACHER),
    "student": (DISTILL, "models", content.STUDENT),
    "chats": (DISTILL, "datasets", content.ULTRACHAT),
    "teacher": (FIDELITY, "models", content.TEACHER),
    "wrapped": (FIDELITY, "models", content.STUDENT),
    "questions": (QUESTIONS, "datasets", content.MUSIQUE),
    "documents": (DOCUMENTS, "datasets", content.D2C),
    "suite": (SAFETY, "datasets", content.SUITE),
}


@pytest.mark.parametrize("name", LOADERS)
def test_no_such_repository(name: str, run: Command, hub: Hub, concepts: Path) -> None:
    line, kind, repository = LOADERS[name]
    with hub.holding(kind, repository, None):
        error = run(line.replace("CONCEPTS", str(concepts))).error
    page = f"{hub.address}/{'datasets/' if kind == 'datasets' else ''}{repository}"
    assert f"there is no {page}, or it is private and no token is set (HF_TOKEN)" in error


def test_no_such_file_elsewhere(run: Command, hub: Hub) -> None:
    with hub.failing(Fault("/elsewhere/", 404)):
        error = run(BENCH).error
    assert "question.jsonl" in error
    assert "data=testbed" in error


def test_no_such_revision(run: Command, hub: Hub) -> None:
    error = run(f"{TRAIN} --revision v9").error
    assert f"it has no such revision; {hub.address}/{content.STUDENT} has those there are" in error


def test_no_such_subset(run: Command) -> None:
    error = run(f"{TRAIN} --subset prod_9b_l31_v1").error
    assert f"{content.CONCEPT10} has no folder '9b/l31'" in error
    assert "--subset" in error


def test_an_adapter_as_a_whole_model(run: Command) -> None:
    line = CHECK.replace("hf-fact-checker", "hf-speculative").replace("testbed:checker", "ADAPTER")
    error = run(f"{line.replace('ADAPTER', content.ADAPTER)} --metadata data=testbed").error
    assert (
        f"model {content.ADAPTER} cannot be loaded: it is an adapter of {content.STUDENT}" in error
    )
    assert "give the base, and the adapter as peft=" in error


# -- what fails

BUSY = {
    "aggrefact": (CHECK, r"HEAD .*LLM-AggreFact/resolve/main/README.md"),
    "concepts": (TRAIN, r"GET /api/datasets/pyvene"),
    "student": (DISTILL, r"/testbed/student/"),
    "questions": (QUESTIONS, r"(HEAD|GET) .*MuSiQue"),
    "dictionary": (IMPORT, r"GET /api/models/pyvene"),
    "instructions": (STEER, r"HEAD .*alpaca_eval.json"),
    "wrapped": (FIDELITY, r"/testbed/student/"),
}


SOME = [
    name if name in ("aggrefact", "concepts", "wrapped") else pytest.param(name, marks=SLOW)
    for name in BUSY
]


@pytest.mark.parametrize("name", SOME)
def test_asked_too_often(name: str, run: Command, hub: Hub) -> None:
    line, path = BUSY[name]
    with hub.failing(Fault(path, 429, {"Retry-After": "7"})):
        error = run(line, token=content.ACCEPTED).error
    assert "the hub has been asked too often from here (429): run again in 7 seconds" in error


@pytest.mark.parametrize("name", SOME)
def test_a_hub_that_fails(name: str, run: Command, hub: Hub) -> None:
    line, path = BUSY[name]
    with hub.failing(Fault(path, 500, body="<html>Internal Error</html>")):
        ended = run(line, token=content.ACCEPTED)
    assert "the hub itself fails (500): run again later" in ended.error
    assert run(line, token=content.ACCEPTED).status == 0


def test_a_file_that_was_cut_is_asked_for_again(run: Command, hub: Hub) -> None:
    since = len(hub.asked)
    with hub.failing(Fault("GET /store/", 0, times=1)):
        assert run(TRAIN).status == 0
    stored = [one.path for one in hub.asked[since:] if one.path.startswith("/store/")]
    assert len(stored) == len(set(stored)) + 1


@pytest.mark.parametrize("line", [TRAIN, DOCUMENTS], ids=["snapshot", "data set"])
def test_transfers_that_are_always_cut(line: str, run: Command, hub: Hub) -> None:
    with hub.failing(Fault("GET /store/", 0, share=0.0)):
        error = run(line).error
    assert "the transfer was cut: run again; files that have come whole are kept" in error
    assert run(line).status == 0


def test_an_answer_that_is_no_hubs(run: Command, hub: Hub) -> None:
    """What a hotel's or a company's gate says in the place of the hub."""
    with hub.failing(Fault(".", 200, {"Content-Type": "text/html"}, "<html>Log in</html>")):
        for line in (TRAIN, QUESTIONS):
            assert "what answers in its place is no hub" in run(line).error


# -- data that have changed


Rows = list[dict[str, Any]]


def _changed(hub: Hub, place: str, change: Callable[[Rows], Rows]) -> dict[str, bytes]:
    """A repository's files, the rows of its tables of one kind changed."""
    kind, repository, suffix = TABLES[place]
    contents = dict(hub.repositories[kind, repository].contents)
    for path in [path for path in contents if path.endswith(suffix)]:
        contents[path] = _table(path, contents[path], change)
    return contents


def _table(path: str, held: bytes, change: Callable[[Rows], Rows]) -> bytes:
    if path.endswith(".parquet"):
        table = pyarrow.parquet.read_table(io.BytesIO(held))
        rows = change(table.to_pylist())
        schema = None if rows else table.schema
        return content.parquet(rows, schema)
    if path.endswith(".json"):
        return json.dumps(change(json.loads(held))).encode()
    return content.lines(change([json.loads(line) for line in held.splitlines()]))


TABLES = {
    "aggrefact": ("datasets", content.AGGREFACT, ".parquet"),
    "concepts": ("datasets", content.CONCEPT10, "train/data.parquet"),
    "instructions": ("datasets", content.ALPACA_EVAL, ".json"),
    "chats": ("datasets", content.ULTRACHAT, ".parquet"),
    "documents": ("datasets", content.D2C, ".parquet"),
    "questions": ("datasets", content.MUSIQUE, ".jsonl"),
    "dictionary": ("models", content.DICTIONARY, "metadata.jsonl"),
}
COLUMNS = {
    "aggrefact": "claim",
    "concepts": "output_concept",
    "instructions": "instruction",
    "chats": "messages",
    "documents": "doc",
    "questions": "paragraphs",
    "dictionary": "concept",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_renamed_column(name: str, run: Command, hub: Hub) -> None:
    line, column = LOADERS[name][0], COLUMNS[name]
    kind, repository, _ = TABLES[name]

    def renamed(rows: Rows) -> Rows:
        return [{("other" if key == column else key): row[key] for key in row} for row in rows]

    with hub.holding(kind, repository, _changed(hub, name, renamed)):
        error = run(line).error
    assert _names(error, repository)
    assert column in error


def _names(error: str, repository: str) -> bool:
    """Whether a message says which repository it is of, if only by a file in the cache."""
    return repository in error or repository.replace("/", "--") in error


def test_splits_of_different_columns(run: Command, hub: Hub) -> None:
    kind, repository, _ = TABLES["documents"]
    contents = dict(hub.repositories[kind, repository].contents)
    path = "data/d2c-00000-of-00001.parquet"
    contents[path] = _table(path, contents[path], lambda rows: [{"text": r["doc"]} for r in rows])
    with hub.holding(kind, repository, contents):
        assert (
            f"{repository}, split d2c, from the hub: its tables do not have" in run(DOCUMENTS).error
        )


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table(name: str, run: Command, hub: Hub) -> None:
    kind, repository, _ = TABLES[name]
    with hub.holding(kind, repository, _changed(hub, name, lambda rows: [])):
        error = run(LOADERS[name][0]).error
    assert _names(error, repository)


# -- no network


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - {"instructions", "shell", "student"}))
def test_offline_without_a_cache(name: str, run: Command, concepts: Path) -> None:
    line = LOADERS[name][0]
    error = run(line.replace("CONCEPTS", str(concepts)), offline=True).error
    assert "HF_HUB_OFFLINE is set, and it is not in the cache: unset it and run once" in error
    assert any(repository in error for _, _, repository in LOADERS.values())


def test_spec_bench_offline_without_a_cache(run: Command) -> None:
    assert "HF_HUB_OFFLINE is set, and it is not in the cache" in run(BENCH, offline=True).error


def test_a_hub_that_is_not_there(run: Command, hub: Hub) -> None:
    for line in (TRAIN, QUESTIONS):
        error = run(line, HF_ENDPOINT="http://127.0.0.1:9").error
        assert "the hub at 127.0.0.1:9 cannot be reached" in error
        assert "check the network, the proxy and HF_ENDPOINT" in error
