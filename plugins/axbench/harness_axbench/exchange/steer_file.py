"""Steer files of lm-eval's own model ``steered``: one vector, all rows, all positions.

A ``.pt`` file with an entry for each hook point::

    {"layers.20": {"steering_vector": tensor, "steering_coefficient": 30.0, "action": "add",
                   "bias": None, "head_index": None}}

A hook point is a module's name below ``model.base_model``; ours are decoder blocks. With v the
vector, s the coefficient, b the bias and d = v/‖v‖, ``steered`` computes

    add     h ← h + s·v
    clamp   h ← h + (s − (h − b)·d)·d

so that in our terms ``add`` is a direction w = v, and ``clamp`` is w = d, read with a bias of −b·d.
Either way max_act is the coefficient: factor 1 is what the file says.

Deviations: lm-eval loads these files with ``weights_only=False``, which runs what is pickled in
them; here they are loaded as plain values or refused. Hook points inside a block and ``head_index``
are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import ArtefactError, HarnessError
from harness.artefacts.writing import replacing
from harness.errors import one_line
from harness_axbench.data.concepts import Concept
from harness_axbench.dictionary.directions import LINEAR, Directions
from harness_axbench.dictionary.folder import Dictionary
from harness_axbench.exchange.formats import (
    UNKNOWN_GENRE,
    Brought,
    Options,
    entry,
    named,
    one_layer,
)
from harness_axbench.exchange.pt_files import load_pt, vector
from harness_axbench.steering.steering import ADD, CLAMP

if TYPE_CHECKING:
    from torch import Tensor

    from harness_axbench.exchange.shell import Shell

SUFFIXES = (".pt", ".pth")
METHOD = "steer_file"
ACTIONS = (ADD, CLAMP)
LARGEST_COEFFICIENT = 1e30


def read(source: Path, options: Options, shell: Shell) -> Brought:
    """Read a steer file, or a folder of them, one concept a file.

    Args:
        source: The file or the folder.
        options: Layer, method's name and concept's text.
        shell: The model, whose blocks the hook points name.

    Raises:
        ArtefactError: A file is damaged, refused, or hooks something else than a block.
        HarnessError: The layer has to be named.
    """
    import torch

    files = files_in(source, SUFFIXES, options)
    found = [_read_file(path, options, shell) for path in files]
    layers = {layer for layer, _, _ in found}
    actions = {action for _, action, _ in found}
    if len(layers) > 1 or len(actions) > 1:
        raise ArtefactError(
            f"{source}: a dictionary has one layer and one action; these files have the layers "
            f"{sorted(layers)} and the actions {sorted(actions)}"
        )
    edits = [edit for _, _, edit in found]
    tensors = {"weight": torch.stack([edit.weight for edit in edits])}
    if any(edit.bias for edit in edits):
        tensors["bias"] = torch.tensor([edit.bias for edit in edits])
    method = named(options.method or METHOD)
    max_act = [(edit.coefficient, "steering_coefficient") for edit in edits]
    made = entry(tensors, max_act, intervention=actions.pop())
    return Brought(concepts_of(files, options), layers.pop(), {method: made}, tuple(files))


def files_in(source: Path, suffixes: tuple[str, ...], options: Options) -> list[Path]:
    """The file itself, or a folder's files in the order of their names.

    Raises:
        HarnessError: There are none, or ``--text`` is given for several.
    """
    files = [source]
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix in suffixes)
    if not files:
        raise HarnessError(f"{source}: no file that ends in {' or '.join(suffixes)}")
    if options.text is not None and len(files) > 1:
        raise HarnessError(f"--text names one concept; {source} has {len(files)} files")
    return files


def concepts_of(files: list[Path], options: Options) -> tuple[Concept, ...]:
    """One concept a file, named by ``--text`` or by the file."""
    return tuple(
        Concept(place, options.text or path.stem, UNKNOWN_GENRE) for place, path in enumerate(files)
    )


@dataclass(frozen=True)
class _Edit:
    weight: Tensor
    bias: float
    coefficient: float


def _read_file(path: Path, options: Options, shell: Shell) -> tuple[int, str, _Edit]:
    """Layer, action and numbers of one file."""
    content = load_pt(path)
    if not isinstance(content, Mapping) or not all(
        isinstance(v, Mapping) for v in content.values()
    ):
        raise ArtefactError(f"{path} is no steer file of lm-eval: no entries by hook point in it")
    hooks: dict[int, Any] = {}
    for hook, settings in content.items():
        if not isinstance(hook, str) or hook not in shell.blocks:
            raise ArtefactError(
                f"{path} hooks {_said(hook)}, which is no decoder block of {shell.name} "
                f"({shell.blocks[0]} … {shell.blocks[-1]})"
            )
        hooks[shell.blocks.index(hook)] = settings
    if not hooks:
        raise ArtefactError(f"{path} hooks nothing")
    layer = one_layer(hooks, options.layer, path)
    return layer, *_edit(path, hooks[layer])


def _edit(path: Path, settings: Mapping[str, Any]) -> tuple[str, _Edit]:
    action = settings.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        known = " and ".join(ACTIONS)
        raise ArtefactError(f"{path}: action {_said(action)}; lm-eval knows {known}")
    if settings.get("head_index") is not None:
        raise ArtefactError(f"{path} steers one attention head, not the output of a block")
    found = vector(settings.get("steering_vector"), f"{path}: steering_vector")
    if not bool(found.isfinite().all()):
        raise ArtefactError(f"{path}: steering_vector holds values that are not finite")
    coefficient = _number(settings.get("steering_coefficient", 1.0), path)
    if action == ADD:
        if settings.get("bias") is not None:
            raise ArtefactError(f"{path}: a bias goes with clamp, not with add")
        return ADD, _Edit(found, 0.0, coefficient)
    length = float(found.norm())
    if not length:
        raise ArtefactError(f"{path}: the vector to clamp along has the length 0")
    along = found / length
    bias = 0.0
    if settings.get("bias") is not None:
        shift = vector(settings["bias"], f"{path}: bias")
        if shift.shape != along.shape or not bool(shift.isfinite().all()):
            raise ArtefactError(f"{path}: the bias is no finite vector as long as the direction")
        bias = -float(shift @ along)
    return CLAMP, _Edit(along, bias, coefficient)


def _number(value: Any, path: Path) -> float:
    """A steering coefficient: a number, or a tensor of one."""
    try:
        coefficient = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as cause:
        said = one_line(cause, 100)
        raise ArtefactError(f"{path}: steering_coefficient is a number ({said})") from cause
    if not abs(coefficient) <= LARGEST_COEFFICIENT:
        raise ArtefactError(
            f"{path}: steering_coefficient is not finite, or beyond ±{LARGEST_COEFFICIENT:g}"
        )
    return coefficient


def _said(value: Any) -> str:
    """A value of a file as messages show it: of anything but a text its type alone."""
    return (
        one_line(repr(value), 80) if isinstance(value, str) else f"of type {type(value).__name__}"
    )


def write(
    found: Dictionary,
    *,
    method: str | None,
    concept: int,
    factor: float,
    out: Path,
    action: str = ADD,
    hook: str | None = None,
) -> Path:
    """Write one concept of a dictionary, at one strength, for lm-eval's ``steered``.

    Args:
        found: The dictionary.
        method: One of its methods with vectors; None where it has only one method.
        concept: The concept's id.
        factor: Strength in units of max_act; the coefficient is factor · max_act.
        out: The file; it appears whole.
        action: ``add`` or ``clamp``.
        hook: The block's name below ``model.base_model``; by default asked of the model.

    Raises:
        ArtefactError: The dictionary lacks the method or the concept, or the method has no vectors.
        HarnessError: lm-eval cannot do what is asked, or the model cannot be read.
    """
    from harness_axbench.exchange.shell import Shell

    if out.suffix not in SUFFIXES:
        raise HarnessError(f"{out}: lm-eval takes steer files that end in .pt or .pth")
    if not math.isfinite(factor):
        raise HarnessError(f"--factor {factor} is not finite")
    if method is None:
        if len(found.methods) > 1:
            raise HarnessError(f"{found.folder}: pass --method, one of {', '.join(found.methods)}")
        method = found.methods[0]
    directions = Directions.load(found, method)
    place = found.place(concept)
    bias = _bias_of(directions, place, action, f"{found.folder}: {method}")
    if hook is None:
        shell = Shell.load(str(found.manifest["model"]["name"]))
        shell.check_layer(found.layer, str(found.folder))
        hook = shell.blocks[found.layer]
    settings = {
        "steering_vector": directions.weight[place].clone(),
        "steering_coefficient": factor * found.unit(method, place),
        "action": action,
        "bias": bias,
        "head_index": None,
    }
    _save({hook: settings}, out)
    return out


def _bias_of(directions: Directions, place: int, action: str, where: str) -> Tensor | None:
    """The vector that lm-eval subtracts before it clamps, so that its reading is ours."""
    if action == ADD:
        return None
    if action != CLAMP:
        raise HarnessError(f"lm-eval's steered knows {' and '.join(ACTIONS)}, not {action}")
    weight, encoder = directions.weight[place], directions.encoder[place]
    one = abs(float(weight.norm()) - 1) < 1e-4
    if directions.activation != LINEAR or not one or not bool((weight == encoder).all()):
        raise HarnessError(
            f"{where} reads by {directions.activation} along an encoder of its own or of another "
            f"length than 1; lm-eval's clamp reads linearly along the unit vector it writes"
        )
    bias = float(directions.bias[place])
    return -bias * weight if bias else None


def _save(content: Mapping[str, Any], out: Path) -> None:
    import torch

    try:
        with replacing(out) as draft:
            torch.save(dict(content), draft)
    except RuntimeError as cause:  # torch's own
        raise HarnessError(f"cannot write {out}: {cause}") from cause
