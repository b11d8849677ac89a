"""The part ``steering`` of an engine of vLLM.

Its settings, among the engine's ``additional_config``, are either those of a dictionary,

    {"paperharness": {"steering": {"dictionary": "DIR", "method": "diffmean"}}}

so that requests are steered by what they ask for (``serving``), or a dictionary's shape alone,

    {"paperharness": {"steering": {"layer": 15, "concepts": 500, "activation": "linear"}}}

whose directions ``load_steering`` brings when the engine has started: what vLLM has compiled for
one dictionary then does for every other of that shape. This is ``vllm-steered``'s.

The blocks of vLLM's models give ``(hidden, residual)``, whose sum is the block's output; some give
one tensor. Under tensor parallelism every rank holds that output whole, and edits it alike; under
pipeline parallelism the rank that has the block does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from harness import ArtefactError, HarnessError, block
from harness.artefacts.reading import fitting
from harness.engine.parts import Settings
from harness.engine.seams import follow, need, positions_of
from harness_axbench.dictionary.directions import ACTIVATIONS, Directions
from harness_axbench.dictionary.folder import read
from harness_axbench.engine.edits import message_of
from harness_axbench.engine.operator import SITE, steer_block
from harness_axbench.engine.serving import (
    DICTIONARY,
    KEYS,
    asks,
    check_engine,
    check_seed,
    edits_of,
    kills,
    plan_of,
    salted,
    served,
    steered,
)
from harness_axbench.engine.tables import Tables
from harness_axbench.steering.fit import read_otherwise, warn_of_other_weights

NAME = "steering"
log = logging.getLogger(__name__)


class Shape(BaseModel):
    """What is compiled for: all dictionaries of one shape share it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    layer: NonNegativeInt
    concepts: PositiveInt
    activation: str


class SteeringPart:
    """Steers an engine's requests by directions; see ``harness.engine.parts.EnginePart``."""

    _dies_of_seeds = False

    def open(self, front: Any, settings: Settings) -> None:
        if _waits(settings):
            fitting(Shape, dict(settings), f"additional_config: {NAME}")
            return
        plan, config = plan_of(settings), front.vllm_config
        check_engine(plan, config)
        self._dies_of_seeds = kills(config)
        if front.tokenizer is not None and (said := read_otherwise(plan, front.tokenizer, None)):
            log.warning("%s, where a request does not say otherwise", said)
        warn_of_other_weights(plan, config.model_config.model, config.model_config.model)

    def attach(self, runner: Any, settings: Settings) -> None:
        if _waits(settings):
            attach(runner, fitting(Shape, dict(settings), f"additional_config: {NAME}"))
            return
        plan = plan_of(settings)
        check_engine(plan, runner.vllm_config)
        found = Directions.load(plan.found, plan.method)
        shape = Shape(
            layer=plan.found.layer, concepts=len(found.weight), activation=found.activation
        )
        if tables := attach(runner, shape):
            tables.fill(found.to(runner.device))

    def receive(self, body: Mapping[str, Any], settings: Settings) -> bool:
        if _waits(settings):
            raise HarnessError(
                f'this engine waits for vllm-steered; start a server with "{NAME}": '
                f'{{"{DICTIONARY}": "DIR"}}'
            )
        others = served(settings).other_xargs
        return steered(plan_of(settings), asks(body), others) is not None

    def admit(self, request: Any, settings: Settings) -> bool:
        """See ``EnginePart``; requests of ``vllm-steered`` bring their edits along."""
        if _waits(settings):
            return True
        plan, sampling = plan_of(settings), request.sampling_params
        if self._dies_of_seeds:
            check_seed(sampling)
        xargs = dict((sampling.extra_args if sampling is not None else None) or {})
        steerings = steered(plan, xargs, served(settings).other_xargs)
        edits = edits_of(steerings or (), request)
        request.cache_salt = salted(plan, edits, request.cache_salt)
        if steerings is None:
            return False
        rest = {key: value for key, value in xargs.items() if key not in KEYS}
        sampling.extra_args = rest | dict([message_of(edits)])
        return True


def _waits(settings: Settings) -> bool:
    """Whether the engine is started for a dictionary's shape, and its directions come later."""
    return DICTIONARY not in settings and not settings.keys().isdisjoint(Shape.model_fields)


def attach(runner: Any, shape: Shape) -> Tables | None:
    """Let a runner's model edit the output of one block.

    Returns:
        The tables, empty; None on a rank that has not got the block.

    Raises:
        HarnessError: The runner, the model or a setting of the engine is not supported.
    """
    from vllm.model_executor.models.utils import PPMissingLayer

    if shape.activation not in ACTIVATIONS:
        raise HarnessError(f"additional_config: {NAME}: activation is one of {ACTIVATIONS}")
    need(runner, "max_num_reqs", "compilation_config.static_forward_context", "model_config.dtype")
    _check_passes(runner.compilation_config)
    site = block(runner.get_model(), shape.layer)
    if isinstance(site, PPMissingLayer):
        return None
    tables = Tables(
        shape.concepts,
        shape.activation,
        positions=positions_of(runner),
        width=runner.model_config.get_hidden_size(),
        dtype=runner.model_config.dtype,
        max_requests=runner.max_num_reqs,
    )
    follow(runner, tables)
    runner.compilation_config.static_forward_context[SITE] = tables
    steer_block(site)
    return tables


def load_steering(worker: Any, folder: str, method: str, sha256: str) -> None:
    """Bring a dictionary's directions to an engine that was started for its shape.

    Args:
        worker: vLLM's.
        folder: The dictionary's folder, on this machine.
        method: One of its methods of kind ``vectors``.
        sha256: Hash of the dictionary that the caller has read.

    Raises:
        HarnessError: The engine has no such part, or the dictionary cannot be read or is another
            one than the caller's.
    """
    runner = worker.model_runner
    tables = runner.compilation_config.static_forward_context.get(SITE)
    found = read(folder)
    if found.sha256 != sha256:
        raise ArtefactError(f"{folder} is another dictionary on the workers' machine")
    if tables is None:
        _check_elsewhere(runner, found.layer)
        return
    tables.fill(Directions.load(found, method).to(runner.device))


def _check_elsewhere(runner: Any, layer: int) -> None:
    """Refuse a rank that has the block, and nothing that edits it."""
    from vllm.model_executor.models.utils import PPMissingLayer

    if not isinstance(block(runner.get_model(), layer), PPMissingLayer):
        raise HarnessError(
            "vLLM has not loaded paperharness into this worker: where VLLM_PLUGINS is set it must "
            "name paperharness, and the package must be installed, not only found on the path"
        )


def _check_passes(compilation: Any) -> None:
    """Refuse what leaves each rank with a part of the tokens."""
    if getattr(compilation.pass_config, "enable_sp", False):
        raise HarnessError(f"{NAME} does not run with enable_sp: each rank holds some tokens alone")
