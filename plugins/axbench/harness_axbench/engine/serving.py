"""An engine that has its dictionary from the start, and steers by what its requests ask for.

    vllm serve MODEL --additional-config
        '{"paperharness": {"steering": {"dictionary": "DIR", "method": "diffmean"}}}'

A request says how it is steered among its ``vllm_xargs``:

    concept        the concept's id, or a list of ids: several edits, made one after another
    factor         multiple of the concept's unit max_act; a list for a list of concepts
    intervention   add, clamp, min_clamp, null_out; one for all, or a list
    positions      all, prompt, generated, a:b; one for all, or a list
    dictionary     SHA-256 of the dictionary that is meant ) the request is refused
    method         name of the method that is meant        ) where the engine has another

Everything else among them is refused, but for what vLLM itself reads there and what the engine's
settings name (``other_xargs``). So is what the engine's workers are told (``edits``): they take it
from nobody but ``SteeringPart.admit``.

Worked example: {"concept": [3, 5], "factor": [0.8, 1.2], "intervention": "clamp"} is two clamps, of
concept 3 at 0.8 max_act and then of concept 5 at 1.2 max_act.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from harness import ArtefactError, HarnessError
from harness.engine.parts import Settings
from harness.errors import meant, shown
from harness_axbench.dictionary.kinds import VECTORS
from harness_axbench.engine.edits import KEY, MOST, Edit, edit_of, salt_of
from harness_axbench.steering.plan import Plan, make_plan
from harness_axbench.steering.positions import ALL, Positions, check_scored
from harness_axbench.steering.steering import ADD, NULL_OUT, Steering

DICTIONARY = "dictionary"  # of the settings: an engine of this kind
XARGS = "vllm_xargs"
NO_SEED = "a request cannot have a seed on a CPU"
KEYS = ("concept", "factor", "intervention", "positions", "dictionary", "method")
_OWN = KEYS[:4]  # what no other field of a request is called
_MISTAKEN = ("extra_args", "extra_body")  # what others call it
_VLLM = ("kv_transfer_params", "ec_transfer_params", "kv_cache_report_mode", "session_id")

# A part of vLLM's configuration: the value that it must keep, and why.
_KEPT: dict[str, tuple[Any, str]] = {
    "model_config.runner_type": ("generate", "steering is for models that generate"),
    "parallel_config.data_parallel_size": (1, "use tensor_parallel_size, or several servers"),
    "parallel_config.prefill_context_parallel_size": (1, "tokens of a request are split"),
    "parallel_config.decode_context_parallel_size": (1, "tokens of a request are split"),
    "parallel_config.enable_dbo": (False, "steps are split"),
    "cache_config.kv_sharing_fast_prefill": (False, "later blocks run on some of a step's tokens"),
    "speculative_config": (None, "use vllm-steered+speculative, with drafter="),
    "kv_transfer_config": (None, "computed prefixes of other engines are not steered alike"),
    "lora_config": (None, "an adapter moves the activations that directions were read from"),
}


class Served(BaseModel):
    """What the engine's settings say."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    dictionary: str
    method: str | None = None
    sha256: str | None = None
    """Of the dictionary: it is to be this one, in the front and in all workers."""
    intervention: str = ADD
    positions: str = ALL
    other_xargs: list[str] = []
    """Further keys of requests' ``vllm_xargs``, which other extensions of the engine read."""


def served(settings: Settings) -> Served:
    """The settings, checked.

    Raises:
        HarnessError: They have another key, or a value of another type.
    """
    try:
        return Served.model_validate(dict(settings))
    except ValidationError as cause:
        wrong = cause.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise HarnessError(
            f"additional_config: {KEY}: {shown(place)}: {wrong['msg']}; its keys are "
            f"{', '.join(Served.model_fields)}"
        ) from cause


def plan_of(settings: Settings) -> Plan:
    """The dictionary's method, with what requests are steered by where they do not say it.

    Raises:
        HarnessError: A setting has no such value, the dictionary is not there or another one, or
            its method does not steer by directions.
    """
    own = served(settings)
    return _plan(own.dictionary, own.method, own.sha256, own.intervention, own.positions)


@lru_cache(maxsize=8)
def _plan(
    folder: str, method: str | None, expected: str | None, intervention: str, positions: str
) -> Plan:
    plan = make_plan(
        folder, method, None, None, intervention=intervention, positions=positions, model="vllm"
    )
    if plan.kind != VECTORS:
        raise HarnessError(
            f"vLLM steers by directions and method={plan.method} has none; {folder} has "
            f"{', '.join(plan.found.methods)}"
        )
    if expected not in (None, plan.found.sha256):
        raise ArtefactError(f"{folder} is the dictionary {plan.found.sha256}, not {expected}")
    return plan


def check_engine(plan: Plan, config: Any) -> None:
    """Refuse an engine that the dictionary cannot steer.

    Args:
        plan: What requests are steered with.
        config: vLLM's ``VllmConfig``.

    Raises:
        HarnessError: A setting is not supported.
        ArtefactError: The dictionary does not fit the model.
    """
    for name, (value, reason) in _KEPT.items():
        found = config
        for step in name.split("."):
            found = getattr(found, step, value)
        if found != value:
            shows = f"={found}" if isinstance(found, str | int) else ""
            raise HarnessError(
                f"a served engine that steers does not run with {name}{shows}: {reason}"
            )
    model = config.model_config
    layers = model.hf_text_config.num_hidden_layers
    plan.found.check_fits(hidden_size=model.get_hidden_size(), n_layers=layers)


def kills(config: Any) -> bool:
    """Whether an engine dies of a request with a seed whose prompt comes in chunks.

    VLLM's does so on a CPU (0.32: "CPU Generator does not use offset").

    Args:
        config: vLLM's ``VllmConfig``.
    """
    in_chunks = config.scheduler_config.enable_chunked_prefill
    return bool(config.device_config.device_type == "cpu" and in_chunks)


def check_seed(sampling: Any) -> None:
    """Refuse a request that such an engine could die of.

    Raises:
        HarnessError: It is sampled with a seed of its own.
    """
    if sampling is not None and sampling.seed is not None and sampling.temperature > 0:
        raise HarnessError(
            f"{NO_SEED}: vLLM's engine dies of one where a prompt comes in chunks; leave it out, "
            "or start the server with --no-enable-chunked-prefill"
        )


# What a request asks


def asks(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``vllm_xargs`` of a request to a server, or what goes by another name there.

    Raises:
        HarnessError: Steering is asked for in a place that is not read.
    """
    for name in (*_OWN, KEY):
        if name in body:
            raise HarnessError(
                f'"{name}" is not read here; write: {{"{XARGS}": {{"concept": …, "factor": …}}}}'
            )
    for name, value in body.items():
        strange = name != XARGS and isinstance(value, Mapping) and not value.keys().isdisjoint(_OWN)
        if strange and (name in _MISTAKEN or get_close_matches(name, [XARGS], cutoff=0.6)):
            raise HarnessError(f'"{shown(name)}" is not read; it is called "{XARGS}"')
    found = body.get(XARGS)
    if found is None and isinstance(body.get("sampling_params"), Mapping):  # tokens in, tokens out
        found = body["sampling_params"].get("extra_args")
    return found if isinstance(found, Mapping) else {}


def steered(plan: Plan, xargs: Mapping[str, Any], others: Sequence[str]) -> list[Steering] | None:
    """The steering that a request asks for, one for each edit; None where it asks for none.

    Args:
        plan: What the engine steers with.
        xargs: The request's ``vllm_xargs``, or ``SamplingParams.extra_args``.
        others: Keys that are somebody else's.

    Raises:
        HarnessError: A key is unknown or missing, or a value is of another form.
    """
    for key in xargs:
        if key not in (*KEYS, *_VLLM, *others):
            raise HarnessError(f"{XARGS} has no {_told(key)}; {meant(key, KEYS, 'there are')}")
    own = {key: xargs[key] for key in KEYS if key in xargs}
    if not own:
        return None
    _check_meant(plan, own)
    if "concept" not in own:
        raise HarnessError(f"{XARGS} has {next(iter(own))} and no concept")
    concepts = _listed(own["concept"], None)
    if not 0 < len(concepts) <= MOST:
        raise HarnessError(f"{len(concepts)} concepts in one request; 1 to {MOST} can be")
    columns = [
        _listed(own.get(key, default), len(concepts), key)
        for key, default in (
            ("factor", None),
            ("intervention", plan.intervention),
            ("positions", plan.positions),
        )
    ]
    return [_steering(plan, *row) for row in zip(concepts, *columns, strict=True)]


def _check_meant(plan: Plan, own: Mapping[str, Any]) -> None:
    for key, found in (("dictionary", plan.found.sha256), ("method", plan.method)):
        if own.get(key, found) != found:
            raise HarnessError(
                f"the request is for the {key} {_told(own[key])}; this engine steers with {found}"
            )


def _listed(value: Any, count: int | None, key: str = "concept") -> list[Any]:
    """A value for each concept.

    Raises:
        HarnessError: They are more or fewer.
    """
    if not isinstance(value, list | tuple):
        return [value] * (count or 1)
    if count is not None and len(value) != count:
        raise HarnessError(f"{key} has {len(value)} values for {count} concepts")
    return list(value)


def _steering(plan: Plan, concept: Any, factor: Any, intervention: Any, positions: Any) -> Steering:
    if type(concept) is not int:
        raise HarnessError(f"concept={_told(concept)}: write a concept's id, a whole number")
    try:
        plan.found.place(concept)
    except ArtefactError as problem:  # which names the server's folder
        known = [one.id for one in plan.found.concepts]
        raise HarnessError(
            f"no concept {_told(concept)}; there are {len(known)}, {min(known)} … {max(known)}"
        ) from problem
    for key, value in (("intervention", intervention), ("positions", positions)):
        if not isinstance(value, str):
            raise HarnessError(f"{key}={_told(value)}: write a word")
    own = plan.under(_told(intervention), _told(positions))
    if factor is not None and (type(factor) not in (int, float) or not _finite(factor)):
        raise HarnessError(f"factor={_told(factor)}: write a number")
    if factor is None and intervention != NULL_OUT:
        raise HarnessError(f"concept {concept} is steered by a factor; pass one")
    found = own.steering(concept, None if factor is None else float(factor))
    if not abs(found.scale) < torch.finfo(torch.float32).max:
        raise HarnessError(f"factor={_told(factor)} is more than a model can be steered by")
    return found


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer without end
        return False


def _told(value: Any) -> str:
    """A stranger's value in a message."""
    text = shown(str(value))
    return text if len(text) <= 80 else text[:80] + "…"


# What the workers are told


def edits_of(steerings: Sequence[Steering], request: Any) -> list[Edit]:
    """The edits of a request to the engine.

    Args:
        steerings: What it asks for.
        request: vLLM's ``EngineCoreRequest``.

    Raises:
        HarnessError: Its prompt is scored, and steered in places that only answers tell from
            prompts.
    """
    where = [Positions.parse(one.positions) for one in steerings]
    if getattr(request.sampling_params, "prompt_logprobs", None) is not None:
        for positions in where:
            check_scored(positions)
    if request.resumable:
        raise HarnessError("a prompt that is still being written cannot be steered")
    ids = request.prompt_token_ids
    tokens = len(request.prompt_embeds if ids is None else ids)
    found = [edit_of(one, at, tokens) for one, at in zip(steerings, where, strict=True)]
    return [edit for edit in found if edit is not None]


def salted(plan: Plan, edits: Sequence[Edit], given: str | None) -> str | None:
    """What keeps a request's computed prefixes apart from all that are edited otherwise.

    No client can make another's: what one gives stands behind a word that edits never begin with.

    Args:
        plan: What the engine steers with.
        edits: The request's.
        given: The salt that the client gave.
    """
    own = None if given is None else f"given:{given}"
    if not edits:
        return own
    whole = f"{salt_of(plan.found.sha256, plan.method, edits)}:{own}"
    return f"edited:{sha256(whole.encode()).hexdigest()}"
