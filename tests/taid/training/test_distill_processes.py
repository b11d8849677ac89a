"""Runs that are killed for good, and runs of two processes: each starts Python anew."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from harness_taid.training import distill
from safetensors.torch import load_file

from taid import tiny

SETTINGS = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def command(options, *launcher, **changed):
    own = {
        "teacher": options.teacher,
        "student": options.student,
        "data": options.data,
        "objective": options.objective,
        "out": options.out,
        "epochs": options.epochs,
        "batch-size": options.batch_size,
        "device-batch-size": options.device_batch_size,
        "dev-rows": options.dev_rows,
        "lr": options.rate,
        "device": "cpu",
    }
    words = [f"--{name}={value}" for name, value in (own | changed).items()]
    return [sys.executable, *launcher, "-m", "harness", "taid", "distill", *words]


def run(words):
    done = subprocess.run(
        words, env=os.environ | SETTINGS, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_kills_change_nothing(tmp_path, models, data):
    """SIGKILL after ten random numbers of steps, with a replay buffer and an adaptive t."""
    base = tiny.options(tmp_path, models, data, objective="taid", epochs=15)
    changed = {"sampler": "mixed", "max-response": 8, "save-every": 2}
    run(command(replace(base, out=tmp_path / "whole"), **changed))
    whole = tiny.lines(tmp_path / "whole")
    rng = random.Random(3)
    kills = sorted(rng.sample(range(1, 50), 10))
    for step in kills:
        process = subprocess.Popen(
            command(base, **changed),
            env=os.environ | SETTINGS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for(tmp_path, step, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not base.out.exists()
    run(command(base, **changed))
    assert tiny.lines(base.out) == whole
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def _wait_for(folder, step, process):
    """Until the figures of a step are on disk."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ended before step {step}"
        found = list(folder.glob(".out.distilling-*/metrics.jsonl"))
        if found and f'{{"step": {step},' in found[0].read_text():
            return
        time.sleep(0.01)
    pytest.fail(f"step {step} did not come")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [{}, {"sampler": "mixed", "max-response": 6}, {"device-batch-size": 1}],
    ids=["padded", "own outputs", "accumulated"],
)
def test_two_processes_give_what_one_gives(tmp_path, models, data, changed):
    """The last batch of an epoch has two rows, or one for each."""
    base = tiny.options(tmp_path, models, data, objective="taid", epochs=1)
    run(command(replace(base, out=tmp_path / "one"), **changed))
    launcher = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2")
    launcher += ("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
    run(command(base, *launcher, **changed))
    one, two = tiny.lines(tmp_path / "one"), tiny.lines(base.out)
    assert len(one) == len(two) == 5
    for line, other in zip(one, two, strict=True):
        if "sampler" in changed and line.get("generated"):
            break  # samples are drawn by process
        assert other == pytest.approx(line, rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_shards_of_a_student_give_what_the_whole_gives(tmp_path, models, data):
    """FSDP's own sharding on two processes: loss, checkpoint and resumption (gloo)."""
    pytest.importorskip("torch.distributed.fsdp")
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    words = [sys.executable, *launcher, str(script), *models, data, str(tmp_path)]
    run(words)
    made = distill.distill(tiny.options(tmp_path, models, data, dev_rows=0, steps=4))
    states = [
        load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", made.folder)
    ]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], atol=2e-3, rtol=0)
    found = [float(line) for line in (tmp_path / "losses").read_text().split()]
    wanted = [line["loss"] for line in tiny.lines(made.folder)]
    assert found == pytest.approx(wanted, rel=1e-4)


SHARDED = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from harness_taid import objectives
from harness_taid.network.batching import Layout, collate, shares
from harness_taid.training.checkpoints import Checkpoints, whole_state
from harness_taid.training.course import Batches, Course
from harness_taid.data.exchanges import Encoder, Limits
from harness_taid.network.network import LiveTeacher, Network
from harness_taid.training.optimisation import optimiser_for, rate_at
from harness_taid.data.sources import Source
from harness_taid.network.students import load_student
from harness.models.checkpoints import open_causal

teacher, student, data, folder = sys.argv[1:]
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
theirs, words = open_causal(
"teacher", teacher, dtype="float32")
rows = Source.of(data).rows()
items = Encoder(words, words.chat_template, Limits()).encode(rows, "rows").items
layout = Layout(device_batch=8, processes=world)
course = Course(train=items, dev=[], steps=4, batch=8, layout=layout, rate=1e-2, warmup=0, clip=1.0,
                seed=42, select="loss", validate_every=0, save_every=0, save_seconds=9e9, pad=0,
                content="")


def made():
    model, _ = load_student(student, revision="main", seed=42, lora=None, like=None)
    network = Network(model, objectives.build("fkl", total_steps=4), 2048)
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(network)
    return network, optimiser_for(network, [], rate=1e-2, decay=0.01)


def step(network, optimiser, number):
    for group in optimiser.param_groups:
        group["lr"] = rate_at(number, 4, 1e-2)
    batch = Batches(course).at(number)
    by = sum(item.counted("response") for item in batch)
    total = torch.zeros(())
    for group in shares(batch, layout)[rank]:
        read = collate(group, layout, batch[0], 0)
        loss, _ = network(read, LiveTeacher(theirs, 2048).of(read), float(by))
        (loss * world).backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    dist.all_reduce(total)
    return float(total)


network, optimiser = made()
found = [step(network, optimiser, number) for number in (1, 2)]
kept = Checkpoints(Path(folder) / "checkpoints")
kept.save(2, network, optimiser, {}, {"step": 2}, best=None)
network, optimiser = made()
kept.load(2, network, optimiser)
found += [step(network, optimiser, number) for number in (3, 4)]
state = whole_state(network.student)
if rank == 0:
    network.student.save_pretrained(Path(folder) / "whole", state_dict=state)
    (Path(folder) / "losses").write_text(" ".join(map(repr, found)))
dist.barrier()
dist.destroy_process_group()
"""
