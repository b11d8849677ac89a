"""Each fault of a hub is one line: what failed, where, what to do. None spoils the next run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hub import content
from hub.conftest import Command
from hub.server import Fault, Hub

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


@pytest.mark.parametrize("name", BUSY)
def test_asked_too_often(name: str, run: Command, hub: Hub) -> None:
    line, path = BUSY[name]
    with hub.failing(Fault(path, 429, {"Retry-After": "7"})):
        error = run(line, token=content.ACCEPTED).error
    assert "the hub has been asked too often from here (429): run again in 7 seconds" in error


@pytest.mark.parametrize("name", BUSY)
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


def _without(hub: Hub, name: str, path: str, change: Any) -> dict[str, bytes]:
    """A repository's files, one table of them changed."""
    import io

    import pyarrow.parquet

    contents = dict(hub.repositories["datasets", name].contents)
    rows = pyarrow.parquet.read_table(io.BytesIO(contents[path])).to_pylist()
    contents[path] = content.parquet([change(row) for row in rows])
    return contents


def _renamed(old: str, new: str) -> Any:
    return lambda row: {(new if key == old else key): value for key, value in row.items()}


RENAMED = {
    "aggrefact": (CHECK, content.AGGREFACT, "data/test-00000-of-00001.parquet", "claim"),
    "concepts": (TRAIN, content.CONCEPT10, "2b/l10/train/data.parquet", "output_concept"),
    "chats": (DISTILL, content.ULTRACHAT, "data/train_sft-00000-of-00001.parquet", "messages"),
    "documents": (DOCUMENTS, content.D2C, "data/d2c-00000-of-00001.parquet", "doc"),
}


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_column(name: str, run: Command, hub: Hub) -> None:
    line, repository, path, column = RENAMED[name]
    changed = _without(hub, repository, path, _renamed(column, "other"))
    with hub.holding("datasets", repository, changed):
        error = run(line).error
    assert repository in error or Path(path).name in error
    assert column in error


@pytest.mark.parametrize("name", RENAMED)
def test_an_empty_split(name: str, run: Command, hub: Hub) -> None:
    line, repository, path, _ = RENAMED[name]
    contents = dict(hub.repositories["datasets", repository].contents)
    contents[path] = _empty(contents[path])
    with hub.holding("datasets", repository, contents):
        error = run(line).error
    assert "no " in error or "nothing" in error
    assert repository in error


def _empty(table: bytes) -> bytes:
    import io

    import pyarrow.parquet

    held = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(io.BytesIO(table)).slice(0, 0), held)
    return held.getvalue()


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
