"""Checkpoints that are damaged, and what a kill leaves behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from harness_taid.training import checkpoints, distill, result
from harness_taid.training.checkpoints import DIGESTS, OPTIMISER, STATE, WEIGHTS
from safetensors.torch import load_file

from harness.artefacts.checksums import digest
from harness.errors import HarnessError
from taid import tiny
from taid.killing import Killed, kill_at

pytestmark = pytest.mark.long


@pytest.fixture
def base(tmp_path, models, data):
    """Eight steps; validated, and so the best one kept, at the fourth."""
    return tiny.options(tmp_path, models, data, objective="taid", save_every=2)


def killed(base, monkeypatch, step):
    """A run that was killed; returns its checkpoints' folder."""
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            distill.distill(base)
    (work,) = base.out.parent.glob(".out.distilling-*")
    return work / "checkpoints"


def flip(path, place=-5):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMISER, STATE, DIGESTS])
def test_a_flipped_byte_is_said_and_the_checkpoint_before_is_gone_on_from(base, monkeypatch, name):
    """Step 6 is damaged, step 4 is the best so far and is whole: the curve is the same."""
    whole = distill.distill(replace(base, out=base.out.with_name("whole")))
    folder = killed(base, monkeypatch, 7)
    assert {place.name for place in folder.iterdir()} == {"step-4", "step-6"}
    flip(folder / "step-6" / name)
    said = []
    resumed = distill.distill(base, say=said.append)
    (line,) = [line for line in said if "damaged" in line]
    assert "step-6" in line and "goes on from the checkpoint of step 4" in line
    assert tiny.lines(resumed.folder) == tiny.lines(whole.folder)
    one, other = (load_file(made.folder / "model.safetensors") for made in (whole, resumed))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda place: flip(place / WEIGHTS), "weights.safetensors is damaged: it was changed"),
        (lambda place: (place / OPTIMISER).unlink(), "optimiser.safetensors is missing"),
        (lambda place: (place / DIGESTS).write_bytes(b"\0" * 99), "digests.json is damaged"),
        (lambda place: (place / DIGESTS).write_text("[1]"), "digests.json is damaged: Input"),
        (lambda place: (place / DIGESTS).unlink(), "digests.json cannot be read"),
        (lambda place: (place / STATE).write_text("{"), "state.json is damaged: it was changed"),
        (lambda place: (place / "more").write_text(""), "more is missing or too many"),
        (lambda place: shutil.rmtree(place) or place.write_text(""), "digests.json cannot be read"),
    ],
)
def test_without_a_whole_checkpoint_it_is_one_line(base, monkeypatch, harm, words):
    folder = killed(base, monkeypatch, 3)
    harm(folder / "step-2")
    with pytest.raises(HarnessError, match=words) as caught:
        distill.distill(base)
    said = str(caught.value)
    assert "no whole checkpoint is left" in said and f"remove {folder}" in said
    assert "\n" not in said and not base.out.exists()


def test_the_best_checkpoint_is_looked_at_before_going_on(base, monkeypatch):
    folder = killed(base, monkeypatch, 7)
    flip(folder / "step-4" / WEIGHTS)
    with pytest.raises(HarnessError, match=r"step-4.* is damaged.*the best checkpoint so far"):
        distill.distill(base)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"step": "2"}, "step: Input should be a valid integer"),
        ({"best": [1]}, "best: List should have at least 2 items"),
        ({"lines": [{"loss": 1.0}]}, "lines: a line has no step"),
        ({"lines": [{"step": []}]}, r"lines\.0\.step"),
        ({"sampler": {"share": 2, "last": None}}, r"sampler\.share"),
        ({"objective": {"t": None, "momentum": 0.0, "previous": None}}, "step-2 is damaged"),
        ({"objective": {"theta": 1.0}}, "objective taid: the checkpoint's state has theta"),
        ({"content": None}, "content: Input should be a valid string"),
    ],
)
def test_a_state_of_another_shape_is_one_line(base, monkeypatch, changed, words):
    """Also where its digest is right."""
    place = killed(base, monkeypatch, 3) / "step-2"
    state = json.loads((place / STATE).read_text()) | changed
    (place / STATE).write_text(json.dumps(state))
    digests = json.loads((place / DIGESTS).read_text()) | {STATE: digest(place / STATE)}
    (place / DIGESTS).write_text(json.dumps(digests))
    with pytest.raises(HarnessError, match=words) as caught:
        distill.distill(base)
    assert "\n" not in str(caught.value)


def test_what_a_kill_behind_the_rename_leaves_is_removed(base, monkeypatch):
    """The result is there, its work folder too."""
    write = result.write

    def killing(*arguments):
        write(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(distill, "write", killing)
        with pytest.raises(Killed):
            distill.distill(base)
    (work,) = base.out.parent.glob(".out.distilling-*")
    assert work.is_dir() and distill.distill(base).present
    assert [path.name for path in base.out.parent.iterdir()] == ["out"]


def test_strange_names_among_checkpoints_are_no_steps(tmp_path):
    for name in ("step-3", "step-x", "step-²", "step-", ".step-9"):
        (tmp_path / name).mkdir()
    assert checkpoints.Checkpoints(tmp_path).steps() == [3]
