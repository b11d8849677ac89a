"""Training in shards: where, in which order and with which interruptions changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forking import Forking
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.models.detection import text_method
from harness_axbench.training.options import parse_settings, settings_from
from harness_axbench.training.parts import Parts
from harness_axbench.training.shards import ShardTrainer
from safetensors.torch import load_file
from typer.testing import CliRunner

from harness.errors import ArtefactError, HarnessError

pytestmark = pytest.mark.long

METHODS = ("diffmean", "random", "bow")


def content(folder: Path) -> dict[str, bytes]:
    """A dictionary's files, byte by byte."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_same(found: Path, expected: Path) -> None:
    """The same dictionary, but for the last bits: processes share the cores among them.

    How many threads a sum is split over decides its rounding; the files hold its values, the JSON
    also their hashes.
    """
    assert content(found).keys() == content(expected).keys()
    for path in expected.glob("*.safetensors"):
        torch.testing.assert_close(
            load_file(found / path.name), load_file(path), rtol=1e-4, atol=1e-5
        )
    ours, theirs = (
        json.loads((folder / "dictionary.json").read_text()) for folder in (found, expected)
    )
    for name, method in theirs["methods"].items():
        for key in ("max_act", "norm_median", "norm_largest"):
            values = ours["methods"][name].pop(key, [])
            assert values == pytest.approx(method.pop(key, []), rel=1e-4, abs=1e-5)
    assert without_hashes(ours) == without_hashes(theirs)


def without_hashes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_hashes(v) for key, v in value.items() if "sha256" not in key}
    return value


def hidden_folders(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_shards_change_nothing(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    whole = make_dictionary(tmp_path / "whole", methods=METHODS)
    pieces = make_dictionary(tmp_path / "pieces", methods=METHODS, shard_size=1)
    for method in ("diffmean", "random"):
        a, b = dictionary.read(whole), dictionary.read(pieces)
        torch.testing.assert_close(a.weight(method), b.weight(method), atol=1e-5, rtol=1e-4)
        assert a.facts(method)["max_act"] == pytest.approx(b.facts(method)["max_act"], rel=1e-4)
    texts = ["the whale and the reef", "bread", "a loop of loops", "nothing known"]
    found = [text_method(dictionary.read(f), "bow").scores(texts) for f in (whole, pieces)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert hidden_folders(tmp_path) == []


def test_an_interrupted_training_goes_on(
    make_dictionary: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_dictionary(tmp_path / "expected", methods=METHODS, shard_size=1)
    stock, finished = Parts.put, []

    def killed(self: Parts, shard: int, name: str, stored: Any) -> None:
        if len(finished) == 5:
            raise KeyboardInterrupt
        finished.append((shard, name))
        stock(self, shard, name, stored)

    monkeypatch.setattr(Parts, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        make_dictionary(tmp_path / "out", methods=METHODS, shard_size=1)
    assert not (tmp_path / "out").exists()
    again: list[tuple[int, str]] = []

    def noted(self: Parts, shard: int, name: str, stored: Any) -> None:
        again.append((shard, name))
        stock(self, shard, name, stored)

    monkeypatch.setattr(Parts, "put", noted)
    made = make_dictionary(tmp_path / "out", methods=METHODS, shard_size=1)
    assert len(finished) + len(again) == 3 * 4
    assert not set(finished) & set(again)
    assert content(made) == content(expected)
    assert hidden_folders(tmp_path) == []


def command(llama: str, data_folder: Path, out: Path, *more: str) -> list[str]:
    return [
        *("harness", "axbench", "train", "--model", llama, "--layer", "1"),
        *("--methods", "diffmean,random,bow", "--data", str(data_folder), "--out", str(out)),
        *("--shard-size", "1", "--device", "cpu", "--dtype", "float32", *more),
    ]


def test_killed_at_any_moment(
    llama: str, data_folder: Path, tmp_path: Path, fresh: Forking
) -> None:
    """SIGKILL after growing delays; every rerun goes on, and the end is byte for byte the same."""
    clean = fresh.run(*command(llama, data_folder, tmp_path / "clean"))
    assert clean.returncode == 0, clean.stderr[-2000:]
    out, parts, counts = tmp_path / "out", list[Path](), list[int]()
    for wanted in (1, 4, 9):
        child = fresh.start(*command(llama, data_folder, out), cwd=tmp_path, **os.environ)
        deadline = time.monotonic() + 60
        while child.running() and time.monotonic() < deadline:
            parts = list(tmp_path.glob(".out.parts-*/*.safetensors"))
            parts = [path for path in parts if not path.name.startswith(".")]
            if len(parts) >= wanted:
                break
            time.sleep(0.002)
        child.send(signal.SIGKILL)
        child.wait()
        counts.append(len(parts))
    assert counts == sorted(counts)
    final = fresh.run(*command(llama, data_folder, out))
    assert final.returncode == 0, final.stderr[-2000:]
    assert content(out) == content(tmp_path / "clean")
    assert hidden_folders(tmp_path) == []


def test_processes_share_the_shards(
    llama: str, data_folder: Path, tmp_path: Path, fresh: Forking
) -> None:
    clean = tmp_path / "clean"
    assert fresh.run(*command(llama, data_folder, clean)).returncode == 0
    launched = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_port", "0", "-m", *command(llama, data_folder, tmp_path / "both")),
    ]
    done = subprocess.run(launched, capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert_same(tmp_path / "both", clean)


@pytest.mark.timeout(600)  # Ray's workers import torch anew, each
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its own processes
def test_a_local_ray(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    """Two real workers of a real Ray, against this process."""
    import ray

    here = make_dictionary(tmp_path / "here", methods=METHODS, shard_size=1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        there = make_dictionary(
            tmp_path / "there", methods=METHODS, shard_size=1, executor="ray", workers=2
        )
        with pytest.raises(HarnessError, match="layer 9 does not exist"):
            make_dictionary(
                tmp_path / "bad", methods=("diffmean",), executor="ray", workers=1, layer=9
            )
    finally:
        ray.shutdown()
    assert_same(there, here)


def test_a_finished_dictionary_is_kept_and_another_refused(
    make_dictionary: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_dictionary(tmp_path / "d", methods=("diffmean",))

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(ShardTrainer, "train", never)
    assert make_dictionary(tmp_path / "d", methods=("diffmean",)) == made
    with pytest.raises(ArtefactError, match="it differs in: --seed"):
        make_dictionary(tmp_path / "d", methods=("diffmean",), seed=7)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_unit_is_made_again(
    make_dictionary: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    methods = ("diffmean", "random")
    expected = make_dictionary(tmp_path / "expected", methods=methods)
    stock = Parts.put

    def stopped(self: Parts, shard: int, name: str, stored: Any) -> None:
        stock(self, shard, name, stored)
        if name == "random":
            raise KeyboardInterrupt

    monkeypatch.setattr(Parts, "put", stopped)
    with pytest.raises(KeyboardInterrupt):
        make_dictionary(tmp_path / "d", methods=methods)
    (unit,) = tmp_path.glob(".d.parts-*/00000.diffmean.safetensors")
    whole = bytearray(unit.read_bytes())
    whole[-5] ^= 1
    unit.write_bytes(bytes(whole) if damage == "flipped" else unit.read_bytes()[:40])
    monkeypatch.setattr(Parts, "put", stock)
    made = make_dictionary(tmp_path / "d", methods=methods)
    assert content(made) == content(expected)
    assert "00000.diffmean.safetensors is damaged" in caplog.text


def test_options_that_make_no_sense(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "d"
    for changes, message in (
        ({"methods": ()}, "--methods names no method"),
        ({"shard_size": 0}, "--shard-size is at least 1"),
        ({"executor": "slurm"}, "--executor slurm: use one of local, ray"),
        ({"layer": 3}, "layer 3 does not exist: the model has 0 … 2"),
        ({"model": None}, "diffmean needs --model and --layer"),
        ({"settings": {"pca": {"k": 1}}}, "pca is not among --methods"),
        ({"settings": {"diffmean": {"k": 1}}}, "diffmean has no such setting; it has none"),
        (
            {"methods": ("ssv",), "settings": {"ssv": {"epochs": "0"}}},
            "--set ssv: setting epochs=0",
        ),
        (
            {"model": "/nowhere/at/all"},
            "cannot load the checkpoint '/nowhere/at/all': no such folder",
        ),
    ):
        with pytest.raises(HarnessError, match=message):
            make_dictionary(out, **{"methods": ("diffmean",), **changes})
    assert list(tmp_path.iterdir()) == []


def test_settings_are_read_as_their_defaults_types() -> None:
    from dataclasses import dataclass
    from typing import ClassVar

    from harness_axbench.methods.base import Lesson, Method, Stored

    @dataclass(frozen=True)
    class Own:
        lr: float = 0.1
        steps: int = 3
        layers: tuple[int, ...] = (1, 2)
        fast: bool = False
        path: str = ""

    class Tried(Method):
        name = "tried"
        settings: ClassVar[type] = Own

        @classmethod
        def train(cls, lesson: Lesson) -> Stored:
            raise NotImplementedError

    given = [
        "tried.lr=0.5",
        "tried.steps=9",
        "tried.layers=4+5+6",
        "tried.fast=true",
        "tried.path=a=b",
    ]
    read = settings_from(Tried, parse_settings(given)["tried"])
    assert read == Own(0.5, 9, (4, 5, 6), True, "a=b")
    for text, message in (
        ("tried.lr=fast", "tried.lr=fast: write it like 0.1"),
        ("tried.rate=1", "tried has no such setting; it has lr, steps, layers, fast, path"),
    ):
        with pytest.raises(HarnessError, match=message):
            settings_from(Tried, parse_settings([text])["tried"])
    with pytest.raises(HarnessError, match=r"--set lr=1: write METHOD.NAME=VALUE"):
        parse_settings(["lr=1"])


def test_the_command(llama: str, data_folder: Path, tmp_path: Path) -> None:
    from harness_axbench.commands import app

    arguments = command(llama, data_folder, tmp_path / "d")[2:]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "(written): 3 concepts, diffmean, random, bow" in done.output
    assert "(already there)" in CliRunner().invoke(app, arguments).output
    manifest = json.loads((tmp_path / "d" / "dictionary.json").read_text())
    assert manifest["methods"]["diffmean"]["kind"] == "vectors"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
