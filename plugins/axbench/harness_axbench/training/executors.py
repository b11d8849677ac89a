"""Where shards are trained: here, in the processes of ``accelerate launch``, or on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import HarnessError
from harness.artefacts.trainings import launched, settle

if TYPE_CHECKING:
    from harness_axbench.training.options import Options
    from harness_axbench.training.parts import Parts
    from harness_axbench.training.shards import ShardTrainer

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)


def run(trainer: ShardTrainer, shards: Sequence[int]) -> None:
    """Train all shards; what is finished already is left alone.

    Raises:
        HarnessError: As training does; or Ray is wanted and not there.
    """
    if trainer.options.executor == RAY:
        _on_ray(trainer, shards)
    elif launched():
        _in_processes(trainer, shards)
    else:
        _each(trainer, shards)


def _each(trainer: ShardTrainer, shards: Sequence[int]) -> None:
    from tqdm import tqdm

    for shard in tqdm(shards, desc="shards of concepts", unit="shard", disable=len(shards) < 2):
        trainer.train(shard)


def _in_processes(trainer: ShardTrainer, shards: Sequence[int]) -> None:
    """Every process takes the shards of its number; the one in charge waits for all."""
    from dataclasses import replace

    from accelerate import PartialState

    state = PartialState()
    if trainer.options.device == "auto":
        trainer.options = replace(trainer.options, device=str(state.device))
    _each(trainer, shards[state.process_index :: state.num_processes])
    settle()


class _Worker:
    """Ray's actor: reads data and model once, then trains shards."""

    def __init__(self, options: Options, parts: Parts) -> None:
        from harness_axbench.data.concepts import load
        from harness_axbench.training.shards import ShardTrainer

        self._trainer = ShardTrainer(options, load(options.run), parts)

    def train(self, shard: int) -> None:
        self._trainer.train(shard)


def _on_ray(trainer: ShardTrainer, shards: Sequence[int]) -> None:
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as cause:
        raise HarnessError("--executor ray needs Ray: pip install 'paperharness[ray]'") from cause
    from tqdm import tqdm

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    gpus = int(ray.cluster_resources().get("GPU", 0))
    cores = int(ray.cluster_resources().get("CPU", 1))
    wanted = trainer.options.workers or gpus or cores
    needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    actor: Any = ray.remote(**needs)(_Worker)
    workers = [
        actor.remote(trainer.options, trainer.parts)
        for _ in range(max(1, min(wanted, len(shards))))
    ]
    try:
        done = ActorPool(workers).map_unordered(lambda w, s: w.train.remote(s), list(shards))
        for _ in tqdm(done, total=len(shards), desc="shards of concepts", unit="shard"):
            pass
    except ray.exceptions.RayTaskError as cause:
        if isinstance(cause.cause, HarnessError):
            raise type(cause.cause)(str(cause.cause)) from cause
        raise
    finally:
        for worker in workers:
            ray.kill(worker)
