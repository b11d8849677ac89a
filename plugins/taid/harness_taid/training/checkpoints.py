"""Checkpoints of a distillation: all that its further course depends on, whole or not at all.

    work/checkpoints/step-120/
        weights.safetensors      what is trained: the student's weights or its adapter's, and the
                                 objective's
        optimiser.safetensors    AdamW's moments and step, by the weights' names
        replay.safetensors       the replay buffer, where there is one
        state.json               the step, the objective's and the sampler's state, the best step
        digests.json             the SHA-256 of each of these

Random numbers are drawn from the seed and the step, so that there is no generator to keep. A
checkpoint appears by one rename; the last one and the best one are kept. One whose files are not
those that were written is not gone on from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from harness import ArtefactError, HarnessError
from harness.artefacts import recipes
from harness.artefacts.checksums import digest
from harness.artefacts.reading import read_record
from harness.artefacts.trainings import in_charge, settle
from harness.artefacts.writing import write_json
from harness.errors import one_line
from harness_taid.training.course import State

WEIGHTS, OPTIMISER, REPLAY, STATE = (
    "weights.safetensors",
    "optimiser.safetensors",
    "replay.safetensors",
    "state.json",
)
DIGESTS = "digests.json"
_PREFIX = "step-"
_WORDS = recipes.Words(missing="is missing", changed="is damaged: it was changed since it was kept")

Say = Callable[[str], None]
CHECKPOINTS = "checkpoints"
"""Their folder in a distillation's work."""


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: Made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, step: int) -> Path:
        """Where a step's is."""
        return self.folder / f"{_PREFIX}{step}"

    def steps(self) -> list[int]:
        """The steps that have one, the last first."""
        names = (place.name.removeprefix(_PREFIX) for place in self.folder.glob(f"{_PREFIX}*"))
        return sorted((int(n) for n in names if n.isascii() and n.isdigit()), reverse=True)

    def last(self) -> int | None:
        """The last step that has one."""
        return next(iter(self.steps()), None)

    def told(self) -> str:
        """What there is, as a part of a sentence."""
        last = self.last()
        if last is None:
            return "there is no checkpoint yet"
        return f"the last good checkpoint, of step {last}, is kept in {self.folder}"

    def newest(self, say: Say) -> int | None:
        """The last step whose checkpoint is whole; None where there is none at all.

        Args:
            say: Told of those that are damaged and passed over.

        Raises:
            ArtefactError: All that are there are damaged.
        """
        faults: list[str] = []
        for step in self.steps():
            try:
                self.check(step)
            except ArtefactError as cause:
                faults.append(str(cause))
                continue
            for fault in faults:
                say(f"warning: {fault}; this goes on from the checkpoint of step {step} instead")
            return step
        if faults:
            raise ArtefactError(
                f"{faults[0]}; no whole checkpoint is left: remove {self.folder} to begin again"
            )
        return None

    def check(self, step: int) -> None:
        """See that a step's files are those that were written.

        Raises:
            ArtefactError: One is missing, another, or too many.
        """
        place = self.place(step)
        digests = read_record(place / DIGESTS, dict[str, str])
        there = {path.name for path in place.iterdir()} - {DIGESTS}
        needed = {WEIGHTS, OPTIMISER, STATE} | set(digests)
        if odd := sorted(there ^ needed):
            raise ArtefactError(f"{place} is damaged: {', '.join(odd)} is missing or too many")
        for name in sorted(needed):
            recipes.check(recipes.inside(place, name, place), digests.get(name, ""), _WORDS)

    def check_best(self, step: int) -> None:
        """See before the last step that the best weights so far can be had.

        Raises:
            ArtefactError: They cannot.
        """
        try:
            self.check(step)
        except ArtefactError as cause:
            raise ArtefactError(
                f"{cause}; it is the best checkpoint so far: remove {self.folder} to begin again"
            ) from cause

    def state(self, step: int) -> State:
        """A checkpoint's ``state.json``.

        Raises:
            ArtefactError: It is damaged.
        """
        return read_record(self.place(step) / STATE, State)

    def save(
        self,
        step: int,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        replay: Mapping[str, Tensor],
        state: Mapping[str, Any],
        *,
        best: int | None,
    ) -> None:
        """Write a step's; every process calls this, one writes.

        Args:
            step: Steps taken.
            network: What is trained.
            optimiser: AdamW over its weights.
            replay: The replay buffer; empty for none.
            state: What else the further course depends on, as JSON.
            best: The step whose checkpoint is kept beside this one.

        Raises:
            HarnessError: The disk is full or cannot be written to.
        """
        weights = {name: _whole(p) for name, p in _trained(network)}
        moments = dict(_moments(network, optimiser))
        if in_charge():
            draft = self.folder / f".{_PREFIX}{step}"
            try:
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(parents=True)
                save_file(weights, draft / WEIGHTS)
                save_file(moments, draft / OPTIMISER)
                if replay:
                    save_file(dict(replay), draft / REPLAY)
                write_json(draft / STATE, dict(state))
                write_json(draft / DIGESTS, {path.name: digest(path) for path in draft.iterdir()})
                shutil.rmtree(self.place(step), ignore_errors=True)
                draft.rename(self.place(step))
            except (OSError, SafetensorError, HarnessError) as cause:
                shutil.rmtree(draft, ignore_errors=True)
                raise HarnessError(self._not_written(step, cause)) from cause
            self._drop_all_but(step, best)
        settle()

    def _not_written(self, step: int, cause: Exception) -> str:
        last = self.last()
        kept = "there is no earlier one" if last is None else f"that of step {last} is kept"
        return (
            f"the checkpoint of step {step} cannot be written to {self.folder} ({cause}); {kept}: "
            "make room and run the same command again, it goes on from there"
        )

    def _drop_all_but(self, *steps: int | None) -> None:
        kept = {self.place(step) for step in steps if step is not None}
        for place in self.folder.glob(f"{_PREFIX}*"):
            if place not in kept:
                gone = place.with_name("." + place.name)
                place.rename(gone)  # so that a kill leaves no half checkpoint under its name
                shutil.rmtree(gone, ignore_errors=True)

    def load_weights(self, step: int, network: nn.Module) -> None:
        """Put a step's weights into a network.

        Raises:
            ArtefactError: They are damaged, or another network's.
        """
        self.check(step)
        self._put_weights(step, network)

    def _put_weights(self, step: int, network: nn.Module) -> None:
        found = self._tensors(step, WEIGHTS)
        for name, parameter in _trained(network):
            if name not in found or found[name].shape != parameter.shape:
                raise ArtefactError(
                    f"{self.place(step)} holds other weights; remove it and run again"
                )
            _put(parameter, found[name])

    def load(
        self, step: int, network: nn.Module, optimiser: torch.optim.Optimizer
    ) -> dict[str, Tensor]:
        """Put the weights and moments of a step that ``newest`` gave back; returns its replay.

        Raises:
            ArtefactError: It is damaged.
        """
        self._put_weights(step, network)
        moments: dict[str, dict[str, Tensor]] = {}
        for key, tensor in self._tensors(step, OPTIMISER).items():
            kind, _, name = key.partition("/")
            moments.setdefault(name, {})[kind] = tensor
        for name, parameter in _trained(network):
            if name in moments:
                if any(t.shape not in (parameter.shape, ()) for t in moments[name].values()):
                    raise ArtefactError(f"{self.place(step) / OPTIMISER} is of other weights")
                optimiser.state[parameter] = {
                    kind: tensor.to(parameter.device)
                    if kind == "step"
                    else _like(parameter, tensor)
                    for kind, tensor in moments[name].items()
                }
        there = (self.place(step) / REPLAY).is_file()
        return self._tensors(step, REPLAY) if there else {}

    def _tensors(self, step: int, name: str) -> dict[str, Tensor]:
        path = self.place(step) / name
        try:
            return load_file(path)
        except (OSError, SafetensorError) as cause:
            raise ArtefactError(f"{path} is damaged: {one_line(cause, 200)}") from cause


def _trained(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in network.named_parameters() if p.requires_grad]


def _moments(network: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in _trained(network):
        for key, value in optimiser.state.get(parameter, {}).items():
            yield f"{key}/{name}", _whole(value)


def _whole(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, gathered from all processes where they share it."""
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu().contiguous()


def whole_state(model: nn.Module) -> dict[str, Tensor] | None:
    """The state of a model that processes share; None where each has it whole.

    Every process calls this.
    """
    named = dict(model.named_parameters())
    if not any(isinstance(parameter, DTensor) for parameter in named.values()):
        return None
    state = model.state_dict()
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)} - set(named)
    return {name: _whole(tensor) for name, tensor in state.items() if name not in tied}


def _like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A tensor where a parameter is, shared out as it is."""
    placed = tensor.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(placed, parameter.device_mesh, parameter.placements)
    return placed


@torch.no_grad()
def _put(parameter: Tensor, tensor: Tensor) -> None:
    parameter.copy_(_like(parameter, tensor))
