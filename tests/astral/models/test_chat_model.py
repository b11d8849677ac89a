"""What a provider refuses is told apart from what a model says, and from other errors."""

from __future__ import annotations

import pytest
from harness_astral.models.chat import ToldChat, policy_of
from harness_astral.oracles.outcomes import blocked
from harness_astral.requests import ERROR, REFUSED_BY_PROVIDER
from lm_eval.api.instance import Instance

from astral.judging_server import answering, choice
from harness.models.responses import trace_of

AZURE = {
    "error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}
}
OPENAI = {"error": {"code": None, "type": "invalid_request_error", "message": "no"}}


def reply(turns, model):
    said = turns[-1]["content"]
    return {
        "plain": "Here it is.",
        "filtered": choice(None, "content_filter"),
        "cut": choice("Here it", "content_filter"),
        "long": choice("Here it", "length"),
        "declined": choice(None, "stop", refusal="I won't."),
        "null": choice(None),
        "policy": (400, AZURE),
        "bad": (400, OPENAI),
    }[said]


def asked(url, prompts, concurrent):
    model = ToldChat(base_url=url, model="m", num_concurrent=concurrent, max_retries=1)
    options = {"until": [], "max_gen_toks": 8, "do_sample": False}
    requests = [
        Instance(
            request_type="generate_until",
            doc={},
            arguments=(model.apply_chat_template([{"role": "user", "content": prompt}]), options),
            idx=0,
        )
        for prompt in prompts
    ]
    return model.generate_until(requests)


@pytest.mark.parametrize("concurrent", [1, 4])
def test_outcomes_without_an_output(concurrent):
    names = ["plain", "filtered", "cut", "long", "declined", "null", "policy"]
    with answering(reply) as url:
        found = dict(zip(names, asked(url, names, concurrent), strict=True))
        with pytest.raises(Exception, match="400"):
            asked(url, ["plain", "bad"], concurrent)
    outcomes = {name: blocked(one).outcome for name, one in found.items() if blocked(one)}
    refused = dict.fromkeys(("filtered", "cut", "policy"), REFUSED_BY_PROVIDER)
    assert outcomes == refused | {"null": ERROR}
    assert blocked(found["policy"]).why == "content_filter" and blocked(found["policy"]).refused
    assert found["plain"] == "Here it is." and trace_of(found["plain"]) == {}
    assert found["long"] == "Here it" and trace_of(found["long"]) == {"finish_reason": "length"}
    assert found["declined"] == "I won't."  # the model's own words


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, '{"error": {"code": "content_policy_violation"}}', "content_policy_violation"),
        (400, '{"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}', "Respons"),
        (403, '{"error": {"type": "moderation_blocked"}}', "moderation_blocked"),
        (500, '{"error": {"code": "content_filter"}}', None),
        (400, '{"error": "content_filter"}', None),
        (400, "content_filter", None),
        (400, "[]", None),
        (401, '{"error": {"code": "invalid_api_key"}}', None),
    ],
)
def test_policy_errors(status, body, code):
    found = policy_of(status, body)
    assert found is None if code is None else found.startswith(code)
