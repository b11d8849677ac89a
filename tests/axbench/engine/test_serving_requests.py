"""What a served engine reads in a request, without an engine."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from harness_axbench.engine.edits import KEY, MOST, Edit, edits_in
from harness_axbench.engine.part import SteeringPart
from harness_axbench.engine.serving import (
    asks,
    check_engine,
    check_seed,
    kills,
    plan_of,
    salted,
    steered,
)
from harness_axbench.steering.plan import Plan

from harness.errors import HarnessError


@pytest.fixture(scope="module")
def settings(steering: Path) -> dict[str, Any]:
    return {"dictionary": str(steering), "method": "diffmean"}


@pytest.fixture(scope="module")
def plan(settings: dict[str, Any]) -> Plan:
    return plan_of(settings)


def request(extra_args: Any, **more: Any) -> Any:
    """A request to the engine: five tokens."""
    sampling = {"extra_args": extra_args, "prompt_logprobs": None, "seed": None, "temperature": 1}
    own = {"prompt_token_ids": [1, 2, 3, 4, 5], "prompt_embeds": None, "cache_salt": None}
    own |= {"resumable": False, "sampling_params": SimpleNamespace(**sampling)}
    return SimpleNamespace(**own | more)


def admitted(settings: dict[str, Any], extra_args: Any, **more: Any) -> Any:
    asked = request(extra_args, **more)
    SteeringPart().admit(asked, settings)
    return asked


def edits(settings: dict[str, Any], **told: Any) -> tuple[Edit, ...]:
    return edits_in(admitted(settings, told).sampling_params.extra_args)


def scale(plan: Plan, concept: int, factor: float) -> float:
    return factor * plan.found.unit(plan.method, plan.found.place(concept))


# What is asked


def test_a_request_says_its_edits(settings: dict[str, Any], plan: Plan) -> None:
    s = scale(plan, 1, 0.5)
    assert edits(settings, concept=1, factor=0.5) == (Edit(1, s, "add", 0, None),)
    how = {"intervention": "clamp", "positions": "generated"}
    assert edits(settings, concept=1, factor=0.5, **how) == (Edit(1, s, "clamp", 5, None),)
    several = {"concept": [2, 0], "factor": [1, 0.5], "positions": ["1:3", "prompt"]}
    assert edits(settings, **several) == (
        Edit(2, scale(plan, 2, 1), "add", 1, 3),
        Edit(0, scale(plan, 0, 0.5), "add", 0, 5),
    )
    one_for_all = edits(settings, concept=[2, 0], factor=2, intervention="min_clamp")
    assert [edit.intervention for edit in one_for_all] == ["min_clamp"] * 2


def test_what_takes_a_direction_out_has_no_factor(settings: dict[str, Any]) -> None:
    found = edits(settings, concept=1, intervention="null_out")
    assert found == edits(settings, concept=1, intervention="null_out", factor=3)
    assert found == (Edit(1, 0.0, "null_out", 0, None),)


def test_a_factor_of_0_is_asked_and_changes_nothing(settings: dict[str, Any]) -> None:
    part, asked = SteeringPart(), request({"concept": 1, "factor": 0})
    assert part.admit(asked, settings)
    assert asked.cache_salt is None
    assert edits_in(asked.sampling_params.extra_args) == ()


def test_the_engines_settings_are_the_requests_defaults(settings: dict[str, Any]) -> None:
    own = settings | {"intervention": "clamp", "positions": "2:"}
    (found,) = edits(own, concept=1, factor=1.0)
    assert (found.intervention, found.begin, found.end) == ("clamp", 2, None)
    (found,) = edits(own, concept=1, factor=1.0, intervention="add", positions="all")
    assert (found.intervention, found.begin, found.end) == ("add", 0, None)


def test_others_keys_are_handed_on(settings: dict[str, Any]) -> None:
    """Those of vLLM, and those that the engine's settings name."""
    told = {"concept": 1, "factor": 1.0, "session_id": "a", "watermark": 3}
    found = admitted(settings | {"other_xargs": ["watermark"]}, told).sampling_params.extra_args
    assert {key: found[key] for key in found if key != KEY} == {"session_id": "a", "watermark": 3}
    part, asked = SteeringPart(), request({"session_id": "a"})
    assert not part.admit(asked, settings)
    assert asked.sampling_params.extra_args == {"session_id": "a"}


def test_what_a_client_sent_is_not_changed(settings: dict[str, Any]) -> None:
    """Several prompts share it."""
    told = {"concept": 1, "factor": 1.0}
    assert admitted(settings, told).sampling_params.extra_args is not told
    assert told == {"concept": 1, "factor": 1.0}


def test_pooling_requests_ask_nothing(settings: dict[str, Any]) -> None:
    assert not SteeringPart().admit(request(None, sampling_params=None), settings)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"concpet": 1, "factor": 1.0}, "vllm_xargs has no concpet; did you mean concept?"),
        ({"concept": 1, "factor": 1.0, "layer": 3}, "has no layer; there are concept, factor"),
        ({"steering": [{"place": 0}]}, "has no steering; there are"),
        ({"factor": 1.0}, "has factor and no concept"),
        ({"intervention": "add"}, "has intervention and no concept"),
        ({"concept": 9, "factor": 1.0}, r"^no concept 9; there are 3, 0 … 2$"),
        ({"concept": -1, "factor": 1.0}, "no concept -1"),
        ({"concept": "1", "factor": 1.0}, "concept=1: write a concept's id"),
        ({"concept": True, "factor": 1.0}, "concept=True: write"),
        ({"concept": 1.0, "factor": 1.0}, "concept=1.0: write"),
        ({"concept": None, "factor": 1.0}, "concept=None: write"),
        ({"concept": [[1]], "factor": 1.0}, r"concept=\[1\]: write"),
        ({"concept": []}, "0 concepts in one request; 1 to 8"),
        ({"concept": [1] * (MOST + 1), "factor": 1.0}, "9 concepts in one request"),
        ({"concept": 1}, "concept 1 is steered by a factor; pass one"),
        ({"concept": 1, "intervention": "clamp"}, "is steered by a factor"),
        ({"concept": 1, "factor": "2"}, "factor=2: write a number"),
        ({"concept": 1, "factor": True}, "factor=True: write a number"),
        ({"concept": 1, "factor": float("nan")}, "factor=nan: write a number"),
        ({"concept": 1, "factor": float("inf")}, "factor=inf: write a number"),
        ({"concept": 1, "factor": 10**400}, "factor=10000.*…: write a number"),
        ({"concept": 1, "factor": 1e300}, "more than a model can be steered by"),
        ({"concept": [1, 2], "factor": [1.0]}, "factor has 1 values for 2 concepts"),
        ({"concept": 1, "factor": [1.0, 2.0]}, "factor has 2 values for 1 concepts"),
        ({"concept": 1, "factor": 1, "positions": ["all", "all"]}, "positions has 2 values"),
        ({"concept": 1, "factor": 1, "intervention": "set"}, "intervention=set is not one of"),
        ({"concept": 1, "factor": 1, "intervention": 3}, "intervention=3: write a word"),
        ({"concept": 1, "factor": 1, "positions": "3"}, "positions=3 is not one of"),
        ({"concept": 1, "factor": 1, "positions": "5:2"}, "positions=5:2 holds no token"),
        ({"concept": 1, "factor": 1, "positions": "\x1b[2J"}, r"positions=\\x1b\[2J is not"),
        ({"concept": 1, "factor": 1, "method": "random"}, "for the method random; this engine"),
        ({"concept": 1, "factor": 1, "dictionary": "ab"}, "for the dictionary ab; this engine"),
    ],
)
def test_what_is_refused(
    settings: dict[str, Any], plan: Plan, told: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message) as refused:
        steered(plan, told, ())
    assert "\n" not in str(refused.value)
    assert str(plan.found.folder) not in str(refused.value)
    with pytest.raises(HarnessError, match=message):
        admitted(settings, told)
    with pytest.raises(HarnessError, match=message):
        SteeringPart().receive({"vllm_xargs": told}, settings)


def test_what_is_refused_in_some_requests(settings: dict[str, Any]) -> None:
    told = {"concept": 1, "factor": 1.0, "positions": "prompt"}
    scores = SimpleNamespace(extra_args=told, prompt_logprobs=1, seed=None, temperature=0)
    with pytest.raises(HarnessError, match="texts are scored with positions=all"):
        admitted(settings, None, sampling_params=scores)
    with pytest.raises(HarnessError, match="a prompt that is still being written"):
        admitted(settings, told, resumable=True)
    with pytest.raises(HarnessError, match="cannot have a seed on a CPU"):
        check_seed(SimpleNamespace(seed=1, temperature=0.5))
    check_seed(SimpleNamespace(seed=1, temperature=0))
    check_seed(SimpleNamespace(seed=None, temperature=1))


# Where it is asked


def test_steering_is_found_where_servers_read_it(settings: dict[str, Any]) -> None:
    told = {"concept": 1, "factor": 1.0}
    part = SteeringPart()
    assert part.receive({"vllm_xargs": told}, settings)
    assert part.receive({"sampling_params": {"extra_args": told}}, settings)
    tool = {"type": "function", "function": {"parameters": {"properties": {"concept": {}}}}}
    for plain in ({}, {"vllm_xargs": None}, {"vllm_xargs": {"session_id": "a"}}, {"tools": [tool]}):
        assert not part.receive({"prompt": "concept", **plain}, settings)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"concept": 1}, '"concept" is not read here; write: {"vllm_xargs": {"concept"'),
        ({"positions": "all"}, '"positions" is not read here'),
        ({"steering": {"concept": 1}}, '"steering" is not read here'),
        ({"vllm_xarg": {"concept": 1}}, '"vllm_xarg" is not read; it is called "vllm_xargs"'),
        ({"extra_args": {"concept": 1}}, '"extra_args" is not read'),
        ({"extra_body": {"factor": 1}}, '"extra_body" is not read'),
    ],
)
def test_steering_elsewhere_is_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        asks(body)


# Prefixes


def test_salts_cannot_be_made_by_clients(plan: Plan) -> None:
    one, two = Edit(0, 1.0, "add", 0, None), Edit(0, 2.0, "add", 0, None)
    assert salted(plan, [], None) is None
    own = salted(plan, [one], None)
    found = {own, salted(plan, [two], None), salted(plan, [one, two], None)}
    found |= {salted(plan, [one], "a"), salted(plan, [one], own), salted(plan, [], own)}
    found |= {salted(plan, [], "a"), salted(plan, [one], "given:a")}
    assert len(found) == 8


# The engine


def config(plan: Plan, **changes: Any) -> Any:
    """VLLM's configuration, as far as it is read; a change is named by its dotted path."""
    width = plan.found.manifest["model"]["hidden_size"]
    parts: dict[str, Any] = {
        "model_config": {
            "runner_type": "generate",
            "hf_text_config": SimpleNamespace(num_hidden_layers=3),
            "get_hidden_size": lambda: width,
            "model": plan.found.manifest["model"]["name"],
        },
        "parallel_config": {"data_parallel_size": 1, "enable_dbo": False},
        "cache_config": {},
        "scheduler_config": {"enable_chunked_prefill": True},
        "device_config": {"device_type": "cpu"},
    }
    found = SimpleNamespace(**{name: SimpleNamespace(**own) for name, own in parts.items()})
    found.speculative_config = found.kv_transfer_config = found.lora_config = None
    for name, value in changes.items():
        home, _, attribute = name.rpartition("__")
        setattr(getattr(found, home) if home else found, attribute, value)
    return found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parallel_config__data_parallel_size": 2}, "data_parallel_size=2: use tensor_parallel"),
        ({"parallel_config__enable_dbo": True}, "parallel_config.enable_dbo=True: steps are split"),
        ({"cache_config__kv_sharing_fast_prefill": True}, "kv_sharing_fast_prefill"),
        ({"lora_config": SimpleNamespace()}, "lora_config: an adapter moves the activations"),
        ({"speculative_config": SimpleNamespace()}, r"speculative_config: .*\+speculative"),
        ({"kv_transfer_config": SimpleNamespace()}, "kv_transfer_config: computed prefixes"),
        ({"model_config__runner_type": "pooling"}, "runner_type=pooling: steering is for models"),
        ({"model_config__get_hidden_size": lambda: 8}, "this model's hidden size is 8"),
        (
            {"model_config__hf_text_config": SimpleNamespace(num_hidden_layers=1)},
            "steers layer 1 .* this model has the layers 0",
        ),
    ],
)
def test_engines_that_are_refused(plan: Plan, changes: dict[str, Any], message: str) -> None:
    check_engine(plan, config(plan))
    with pytest.raises(HarnessError, match=message):
        check_engine(plan, config(plan, **changes))


def test_an_engine_dies_of_seeds_on_a_cpu_with_chunks(plan: Plan) -> None:
    assert kills(config(plan))
    assert not kills(config(plan, device_config__device_type="cuda"))
    assert not kills(config(plan, scheduler_config__enable_chunked_prefill=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": None}, "pass method=, one of diffmean, random, bow"),
        ({"method": "bow"}, "method=bow has none"),
        ({"method": "pca"}, "no method 'pca' in it"),
        ({"dictionary": "/nowhere"}, "/nowhere: there is no such folder"),
        ({"dictionary": 3}, "additional_config: steering"),
        ({"concept": 3}, "additional_config: steering.*concept"),
        ({"intervention": "set"}, "intervention=set is not one of"),
        ({"positions": "3"}, "positions=3 is not one of"),
        ({"sha256": "ab"}, "is the dictionary .*, not ab"),
    ],
)
def test_settings_that_are_refused(
    settings: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message) as refused:
        plan_of(settings | changes)
    assert "\n" not in str(refused.value)


def test_a_misspelt_setting_is_named() -> None:
    with pytest.raises(
        HarnessError, match=r"steering: dictionary.*its keys are dictionary, method"
    ):
        SteeringPart().open(SimpleNamespace(), {"dictionnary": "DIR"})


def test_the_dictionary_may_be_named_by_its_hash(settings: dict[str, Any], plan: Plan) -> None:
    assert plan_of(settings | {"sha256": plan.found.sha256}).method == "diffmean"


def test_a_front_opens_with_a_dictionary_that_fits(
    settings: dict[str, Any], plan: Plan, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    part, front = SteeringPart(), SimpleNamespace(vllm_config=config(plan), tokenizer=tokenizer)
    with caplog.at_level(logging.WARNING):
        part.open(front, settings)
    assert not caplog.records
    with pytest.raises(HarnessError, match="cannot have a seed on a CPU"):
        part.admit(request(None, sampling_params=SimpleNamespace(seed=1, temperature=1)), settings)
    lower = SimpleNamespace(vllm_config=config(plan, lora_config=1), tokenizer=None)
    with pytest.raises(HarnessError, match="lora_config=1"):
        part.open(lower, settings)


def test_an_engine_that_waits_for_vllm_steered_is_no_server() -> None:
    shape = {"layer": 1, "concepts": 3, "activation": "linear"}
    part = SteeringPart()
    part.open(SimpleNamespace(), shape)
    with pytest.raises(HarnessError, match=r'this engine waits for vllm-steered.*"dictionary"'):
        part.receive({"prompt": "a"}, shape)
    own = request({KEY: [{"place": 0}]})
    assert part.admit(own, shape)
    assert own.sampling_params.extra_args == {KEY: [{"place": 0}]}
    with pytest.raises(HarnessError, match="additional_config: steering"):
        part.open(SimpleNamespace(), shape | {"layer": "1"})
