"""Trackers of accelerate (wandb, trackio, …): all that are asked for, or none and no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from harness import HarnessError
from harness.errors import one_line

TRACKERS: Mapping[str, tuple[str, ...]] = {
    "aim": ("aim",),
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""What accelerate knows, and the distributions of which each needs one."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse what accelerate would leave out without a word.

    Raises:
        HarnessError: It knows no such tracker, or the tracker is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise HarnessError(f"--track {name}: use some of {', '.join(TRACKERS)}")
        if not any(map(_installed, TRACKERS[name])):
            raise HarnessError(
                f"--track {name}: {' or '.join(TRACKERS[name])} is not installed; install it, or "
                "leave --track out (metrics.jsonl has all figures)"
            )


def begin_tracking(names: Sequence[str], accelerator: Any, recipe: Mapping[str, Any]) -> None:
    """Begin with all of them.

    Raises:
        HarnessError: One cannot begin.
    """
    left_out = set(names) - {str(name) for name in accelerator.log_with or ()}
    if left_out:
        raise HarnessError(f"--track {', '.join(sorted(left_out))}: accelerate does not find it")
    if names:
        try:
            accelerator.init_trackers("taid", _flat(recipe))
        except Exception as cause:  # each tracker raises what it likes
            reason = one_line(cause, 200)
            raise HarnessError(f"--track {','.join(names)} cannot begin: {reason}") from cause


def _installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as trackers take it."""
    return {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in recipe.items()}
