"""The methods, and the one small interface between them, training and the models.

    Lesson (some concepts, their texts as block outputs, settings)  ── Method.train ──▶  Stored

What is stored is of a kind, and the kind says how it detects and steers:

    vectors   one direction a concept: scores tokens by h·e, steers by adding a multiple of w
    texts     scores texts by their words; cannot steer
    heads     a classifier a concept on the model's last state; scores tokens by its gradients
    adapters  low-rank edits of the model; steer without a factor, cannot detect
    weights   a whole model a concept; as adapters, a file a concept

A lesson holds a shard of the concepts (of the kind weights a single one); a method's tensors lead
with the concepts, so that shards are joined by concatenation. Training may go concept by concept or
over all at once: the result must not depend on which concepts share a shard.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness import HarnessError
from harness.errors import meant
from harness_axbench.dictionary.kinds import VECTORS

if TYPE_CHECKING:
    from harness_axbench.methods.base import Method
    from harness_axbench.steering.editors import Editor
    from harness_axbench.steering.plan import Plan

log = logging.getLogger(__name__)

_HOMES = {
    "diffmean": "harness_axbench.methods.diffmean:DiffMean",
    "pca": "harness_axbench.methods.pca:PCA",
    "lat": "harness_axbench.methods.lat:LAT",
    "probe": "harness_axbench.methods.probe:LinearProbe",
    "ssv": "harness_axbench.methods.ssv:SSV",
    "reft_r1": "harness_axbench.methods.reft_r1:ReftR1",
    "reps": "harness_axbench.methods.reps:RePS",
    "reps_simpo": "harness_axbench.methods.reps:RepsSimPO",
    "reps_dpo": "harness_axbench.methods.reps:RepsDPO",
    "reps_ipo": "harness_axbench.methods.reps:RepsIPO",
    "loreft": "harness_axbench.methods.loreft:Loreft",
    "lora": "harness_axbench.methods.lora:Lora",
    "sft": "harness_axbench.methods.sft:Sft",
    "ig": "harness_axbench.methods.attribution:IntegratedGradients",
    "ixg": "harness_axbench.methods.attribution:InputXGradient",
    "sae": "harness_axbench.methods.sae:SAE",
    "sae_a": "harness_axbench.methods.sae:SaeByAuroc",
    "random": "harness_axbench.methods.random:Random",
    "bow": "harness_axbench.methods.bow:BagOfWords",
}
NAMES = tuple(_HOMES)
UNTOLD = ("sae", "sae_a")
"""Methods that need to be told of a file."""
TRAINABLE = tuple(name for name in NAMES if name not in UNTOLD)


def listed(text: str) -> list[str]:
    """The methods of a comma-separated list; ``all`` are those that train without being told more.

    Raises:
        HarnessError: There is no such method.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if "all" in names and not set(UNTOLD) & set(names):
        log.warning("all leaves out %s, which need --set sae.path=FILE", ", ".join(UNTOLD))
    chosen = [n for name in names for n in (TRAINABLE if name == "all" else (name,))]
    for name in chosen:
        find(name)
    return list(dict.fromkeys(chosen))


def find(name: str) -> type[Method]:
    """The method of a name.

    Raises:
        HarnessError: There is no such method.
    """
    if name not in _HOMES:
        raise HarnessError(f"no method {name!r}; {meant(name, NAMES, 'there are')}")
    module, _, attribute = _HOMES[name].partition(":")
    method: type[Method] = getattr(import_module(module), attribute)
    return method


def editor_for(model: Any, plan: Plan) -> Editor:
    """The editor of a plan's method.

    Raises:
        HarnessError: The method cannot steer, or does not fit the model.
    """
    from harness_axbench.methods.base import EditingMethod
    from harness_axbench.steering.editors import VectorEditor

    if plan.kind == VECTORS:
        return VectorEditor(model, plan)
    kind = find(plan.method)
    if not issubclass(kind, EditingMethod):
        raise HarnessError(f"method={plan.method} cannot steer; it is for axbench_detect")
    return kind.editor(model, plan)
