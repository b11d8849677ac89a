"""Mangled files of every kind that AxBench reads: one line, or they are read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mangling import Target, outcome, read_mangled

from axbench.mangling_targets import targets

NAMES = (
    *("dictionary", "signed dictionary", "words", "parts", "params.npz", "sae_weights.safetensors"),
    *("steer file", "published", "control vector", "samples", "baseline", "generated data"),
    *("seeds c.jsonl", "seeds c.parquet", "seeds i.jsonl", "seeds i.parquet", "seeds c.txt"),
    *(f"concept data {ext}" for ext in ("jsonl", "json", "csv", "parquet")),
)
TRIES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return {own.name: own for own in targets(tmp_path_factory.mktemp("targets"))}


def test_all_are_valid_as_they_are_made(made: dict[str, Target]) -> None:
    assert tuple(made) == NAMES
    assert {name: outcome(own) for name, own in made.items()} == dict.fromkeys(NAMES, "read")


@pytest.mark.parametrize("name", NAMES)
def test_a_mangled_file_is_one_line(made: dict[str, Target], name: str) -> None:
    @settings(max_examples=TRIES, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**32))
    def tried(seed: int) -> None:
        read_mangled(made[name], random.Random(seed))

    tried()


def test_manglings_are_noticed(made: dict[str, Target], tmp_path: Path) -> None:
    """A dictionary has a checksum of everything, so that hardly anything goes unseen."""
    seen = [read_mangled(made["dictionary"], random.Random(seed)) for seed in range(60)]
    assert sum(line != "read" for line in seen) > 40
