"""A model's commit is a part of what its answers depend on, and is told with what was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub import content
from hub.conftest import Command
from hub.server import Hub

pytestmark = pytest.mark.long


def test_answers_of_another_commit_are_not_taken(run: Command, hub: Hub, tmp_path: Path) -> None:
    name = "testbed/moving"
    line = f"lm_eval run --model hf-speculative --model_args pretrained={name},drafter=ngram,"
    line += f"response_cache={tmp_path / 'kept.jsonl'} --tasks testbed_grammar --limit 2 "
    line += "--gen_kwargs max_gen_toks=8 --device cpu --output_path out"
    kept = tmp_path / "kept.jsonl"
    lengths = []
    first = hub.repositories["models", content.STUDENT].contents
    second = hub.repositories["models", content.TEACHER].contents
    for contents in (first, first, second):
        with hub.holding("models", name, contents):
            assert run(line).status == 0
        lengths.append(len(kept.read_text().splitlines()))
    assert lengths[0] == lengths[1] < lengths[2]


def test_a_dictionary_tells_its_models_commit(run: Command, hub: Hub, shared_home: Path) -> None:
    line = f"harness axbench train --out out --layer 1 --device cpu --model {content.STUDENT}"
    made = run(line, home=shared_home)
    assert made.status == 0, made.errors
    (manifest,) = (
        json.loads(path.read_text())
        for path in (made.folder / "out").glob("*.json")
        if "hidden_size" in path.read_text()
    )
    commit = hub.repositories["models", content.STUDENT].commit
    assert manifest["model"]["revision"] == commit
