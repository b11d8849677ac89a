"""``vllm-steered``: lm-eval's ``vllm`` with steering by request, on an unchanged vLLM.

    lm_eval --model vllm-steered --model_args pretrained=M,steering=DIR,method=diffmean --tasks …

Requests of different concept and factor, and requests that are not steered, share the engine's
steps; an operator inside vLLM's compiled model (``engine``) edits each token as its request asks.
The directions go to the workers once, by the dictionary's path; a request carries a few numbers.

vLLM keeps computed prefixes. They depend on the steering, so a steered request's prefix is salted
with it: equal steering shares, other steering does not, and unsteered requests share as usual.

Drafted tokens (``vllm-steered+speculative``) are steered like any others: they are scheduled tokens
whose positions are known. The drafter stays unsteered.

The engine compiles its model and captures CUDA graphs as it does without steering. What would split
a step in a way that nobody has followed is refused, and so is what does not steer by directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import VLLMWrapper
from harness.engine.worker import WORKER
from harness.models.requests import notes_of
from harness.models.vllm import Asked, with_part
from harness_axbench.dictionary.directions import LINEAR
from harness_axbench.engine.edits import edit_of, message_of, salt_of
from harness_axbench.engine.part import NAME as PART
from harness_axbench.models.vllm_settings import NAME, check
from harness_axbench.models.wrapping import SteeringPart
from harness_axbench.requests import STEERING
from harness_axbench.steering.positions import Positions, check_scored

_LOAD = "harness_axbench.engine.part:load_steering"


class VLLMSteeringMixin(SteeringPart, VLLMWrapper):
    """Steers lm-eval's ``VLLM`` or a subclass of it; put it in front of that class.

    Arguments and errors are those of ``SteeringPart``; besides, a method without directions and
    settings of the engine that are not supported are refused.
    """

    model_name = NAME

    def attach(self) -> None:
        self._positions = Positions.parse(self.plan.positions)
        found = self.plan.found
        self.in_workers(_LOAD, str(found.folder.resolve()), self.plan.method, found.sha256)

    def checked(self, pretrained: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        check(self.plan, pretrained, kwargs)
        found, facts = self.plan.found, self.plan.found.facts(self.plan.method)
        shape = {
            "layer": found.layer,
            "concepts": len(found.concepts),
            "activation": facts.get("activation", LINEAR),
        }
        return with_part(PART, shape, kwargs) | {"worker_extension_cls": WORKER}

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        self.refuse_detection(requests)
        found: list[Any] = super().loglikelihood(requests, disable_tqdm)
        return found

    def prepare(self, asked: Sequence[Asked]) -> None:
        """Give each request its edit, and draws of its own.

        Not so on a CPU: vLLM's engine dies there of a request with a seed whose prompt comes in
        chunks (0.32: "CPU Generator does not use offset"). All draws are of one stream then.
        """
        super().prepare(asked)
        for one in asked:
            steering = notes_of(one.prompt).get(STEERING)
            if one.scores and steering is not None:
                check_scored(self._positions)
            edit = edit_of(steering, self._positions, len(one.tokens))
            if edit is not None:
                one.send(*message_of([edit]))
                one.salts.append(salt_of(self.plan.found.sha256, self.plan.method, [edit]))
            if one.prompt is not None and not one.scores and not self.on_cpu:
                one.sampling.seed = one.sampling.seed or one.prompt.seed
