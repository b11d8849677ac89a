from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from harness_taid.commands import app
from harness_taid.data.exchanges import Limits
from harness_taid.network.offline_teacher import Capture, completed, reduced
from harness_taid.training import capture, cast, distill
from harness_taid.training.options import CaptureOptions
from harness_taid.training.provenance import read_distillation
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from harness.artefacts.checksums import digest
from harness.errors import ArtefactError, HarnessError
from taid import tiny


@pytest.fixture
def base(tmp_path, models, data):
    return tiny.options(tmp_path, models, data, epochs=1, dtype="float32")


def kept(tmp_path, models, data, **changed):
    values = {"out": tmp_path / "kept", "teacher": models[0], "data": data, "device": "cpu"}
    return CaptureOptions(**values | changed)


def test_the_worked_example():
    p, q = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.5, 0.4, 0.1]])
    found = completed(*reduced(p.log(), 1), q.log()).exp()
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.24, 0.06]]))
    kl = float((found * (found / q).log()).sum())
    assert kl == pytest.approx(0.7 * math.log(1.4) + 0.3 * math.log(0.6))
    assert kl == pytest.approx(0.0823, abs=1e-4)


def test_value_and_gradient_are_those_of_the_coarser_pair():
    """Forward KL, reverse KL and TVD over k ids and "another", by autograd in float64."""
    torch.manual_seed(0)
    teacher, student = (torch.randn(5, 30, dtype=torch.float64) * 2 for _ in range(2))
    ids, log_probs, log_rest = reduced(teacher, 4)
    divergences = {
        "fkl": lambda p, q: (p * (p / q).log()).sum(),
        "rkl": lambda p, q: (q * (q / p).log()).sum(),
        "tvd": lambda p, q: (p - q).abs().sum() / 2,
    }
    for divergence in divergences.values():
        found = []
        for coarse in (True, False):
            z = student.clone().requires_grad_()
            q = z.softmax(-1)
            if coarse:
                top = q.gather(-1, ids.long())
                q = torch.cat([top, 1 - top.sum(-1, keepdim=True)], -1)
                p = torch.cat([log_probs, log_rest[:, None]], -1).double().exp()
            else:
                p = completed(ids, log_probs, log_rest, student).double().exp()
            value = divergence(p, q)
            value.backward()
            found.append((value.detach(), z.grad))
        torch.testing.assert_close(found[0][0], found[1][0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-5)


def test_all_ids_leave_nothing_over():
    teacher, student = torch.randn(4, 9), torch.randn(4, 9)
    ids, log_probs, log_rest = reduced(teacher, 9)
    assert log_rest.isneginf().all()
    found = completed(ids, log_probs, log_rest, student)
    torch.testing.assert_close(found, teacher.log_softmax(-1))


@pytest.mark.parametrize("objective", ["fkl", "taid", "adaptive_kl"])
def test_with_all_ids_it_is_what_the_teacher_in_memory_gives(
    base, models, data, tmp_path, monkeypatch, objective
):
    capture.capture(kept(tmp_path, models, data, top_k=0))
    online = distill.distill(replace(base, objective=objective))
    monkeypatch.setattr(cast, "open_causal", lambda *a, **k: pytest.fail("teacher loaded"))
    offline = distill.distill(
        replace(
            base,
            objective=objective,
            teacher=None,
            teacher_logits=tmp_path / "kept",
            out=tmp_path / "offline",
        )
    )
    for one, other in zip(tiny.lines(online.folder), tiny.lines(offline.folder), strict=True):
        assert one.keys() == other.keys()
        assert {name: value for name, value in other.items() if name != "delta"} == pytest.approx(
            {name: value for name, value in one.items() if name != "delta"}, rel=2e-4, abs=1e-6
        )
    recipe = offline.manifest["recipe"]
    assert recipe["teacher"] == models[0] == read_distillation(offline.folder).teacher
    assert recipe["teacher_sha256"] == online.manifest["recipe"]["teacher_sha256"]


def test_the_kept_top_gives_a_bound_of_the_whole_divergence(base, models, data, tmp_path):
    capture.capture(kept(tmp_path, models, data, top_k=64))
    found = []
    for options in (base, replace(base, teacher_logits=tmp_path / "kept", out=tmp_path / "b")):
        made = distill.distill(replace(options, steps=1))
        found.append(tiny.lines(made.folder)[0]["kl"])
    assert 0 < found[1] < found[0]


def test_a_capture_goes_on_where_it_was(models, data, tmp_path, monkeypatch):
    monkeypatch.setattr(capture, "SHARD", 10)
    options = kept(tmp_path, models, data, top_k=4)
    read, calls = capture._Reader.read, []

    def killed(self, items):
        calls.append(len(items))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(self, items)

    monkeypatch.setattr(capture._Reader, "read", killed)
    with pytest.raises(KeyboardInterrupt):
        capture.capture(options)
    assert not options.out.exists()
    made = capture.capture(options)
    assert calls == [10, 10, 8, 8]
    assert (made.manifest["exchanges"], made.manifest["top_k"]) == (28, 4)
    assert capture.capture(options).present
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    with pytest.raises(ArtefactError, match=r"another capture \(it differs in: --top-k\)"):
        capture.capture(replace(options, top_k=5))


def test_a_full_disk_keeps_the_shards(models, data, tmp_path, monkeypatch):
    monkeypatch.setattr(capture, "SHARD", 10)
    save = capture.save_file

    def full(tensors, place, metadata):
        if "00001" in place.name:
            raise OSError(28, "No space left on device")
        save(tensors, place, metadata)

    monkeypatch.setattr(capture, "save_file", full)
    with pytest.raises(HarnessError, match=r"No space left on device\); the 1 shards before it"):
        capture.capture(kept(tmp_path, models, data))


def test_exchanges_that_were_not_captured_are_told(base, models, tmp_path):
    some = tiny.write_jsonl(tmp_path / "some.jsonl", tiny.exchanges(20))
    capture.capture(kept(tmp_path, models, some, top_k=4))
    offline = replace(base, teacher_logits=tmp_path / "kept")
    with pytest.raises(ArtefactError, match="lacks 8 of the 28 exchanges"):
        distill.distill(offline)
    with pytest.raises(ArtefactError, match="lacks"):
        distill.distill(replace(offline, data=some, limits=Limits(response=3)))
    shard = tmp_path / "kept" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=r"shard-00000\.safetensors was changed since"):
        Capture(tmp_path / "kept")
    with pytest.raises(ArtefactError, match=r"no capture.json is in it"):
        distill.distill(replace(base, teacher_logits=tmp_path))


def test_the_command_captures(models, data, tmp_path):
    command = ["capture", "--teacher", models[0], "--data", data, "--out", str(tmp_path / "kept")]
    result = CliRunner().invoke(app, [*command, "--top-k", "8"], catch_exceptions=False)
    assert "28 exchanges" in result.output and "top 8 of 2048 ids" in result.output
    with pytest.raises(HarnessError, match="--top-k -1"):
        CliRunner().invoke(app, [*command, "--top-k", "-1"], catch_exceptions=False)


def rewritten(folder, change, metadata=None, **manifest):
    """A capture whose shard is another, its digest put right as a stranger would."""
    shard = folder / "shard-00000.safetensors"
    with safe_open(shard, "pt") as file:
        said = file.metadata() | (metadata or {})
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(change(tensors), shard, said)
    record = json.loads((folder / "capture.json").read_text()) | manifest
    record["files"][shard.name] = digest(shard)
    (folder / "capture.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (lambda t: t | {"ids": t["ids"].long()}, {}, "ids I64 .*; of the manifest follow ids I32"),
        (lambda t: t | {"log_rest": t["log_rest"][:5]}, {}, "of the manifest follow"),
        (lambda t: {"ids": t["ids"]}, {}, "of the manifest follow"),
        (dict, {"top_k": 3}, "of the manifest follow ids I32 .*x3"),
        (lambda t: t | {"more": t["ids"][:1].clone()}, {}, "of the manifest follow"),
        (dict, {"metadata": {"firsts": "[0]"}}, "28 exchanges with 1 first rows"),
        (dict, {"metadata": {"firsts": "[" * 10**5}}, "does not say its exchanges"),
        (dict, {"metadata": {"firsts": str([*range(27), 10**9])}}, "begin at no rows of it"),
        (dict, {"metadata": {"firsts": str([-1, *range(27)])}}, "begin at no rows of it"),
        (lambda t: t | {"ids": t["ids"] + 2048}, {}, "ids beyond the 2048 that there are"),
        (lambda t: t | {"ids": t["ids"] - 3000}, {}, "ids beyond the 2048 that there are"),
        (lambda t: t | {"log_probs": t["log_probs"] * math.nan}, {}, "no log-probabilities"),
        (lambda t: t | {"log_rest": t["log_rest"] + 99}, {}, "no log-probabilities"),
        (dict, {"files": {"../x": "0"}}, "'../x' is no file of its folder"),
        (dict, {"files": {"/etc/passwd": "0"}}, "'/etc/passwd' is no file of its folder"),
        (dict, {"vocabulary": "2048"}, "vocabulary: Input should be a valid integer"),
        (dict, {"vocabulary": 10**12}, "vocabulary: Input should be less than"),
        (dict, {"recipe": {"teacher": []}}, r"recipe\.teacher: Input should be a valid string"),
    ],
)
def test_shards_are_those_of_their_manifest(base, models, data, tmp_path, change, more, words):
    capture.capture(kept(tmp_path, models, data, top_k=4))
    rewritten(tmp_path / "kept", change, **more)
    with pytest.raises(ArtefactError, match=words) as caught:
        distill.distill(replace(base, teacher=None, teacher_logits=tmp_path / "kept"))
    assert "\n" not in str(caught.value) and not base.out.exists()


def test_an_exchange_lacks_rows(base, models, data, tmp_path):
    """The last exchange's first row is there, and not all behind it."""
    capture.capture(kept(tmp_path, models, data, top_k=4))
    rewritten(
        tmp_path / "kept",
        lambda tensors: {name: part[:-1].clone() for name, part in tensors.items()},
    )
    with pytest.raises(ArtefactError, match="an exchange lacks rows"):
        distill.distill(replace(base, teacher=None, teacher_logits=tmp_path / "kept", epochs=1))
