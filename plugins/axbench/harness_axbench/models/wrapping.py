"""What a steering part does, whatever runs the model.

It reads the dictionary, says of each request how it is steered, and tells the results.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from harness import HarnessError, Wrapper, traced
from harness_axbench.models.telling import InTurn, arguments, by_default
from harness_axbench.requests import STEERING, names_concept, wants_detection
from harness_axbench.steering.fit import check_reading, warn_of_other_weights
from harness_axbench.steering.plan import Plan, choose, make_plan
from harness_axbench.steering.positions import ALL
from harness_axbench.steering.selected import STEERED
from harness_axbench.steering.steering import ADD

log = logging.getLogger(__name__)


class SteeringPart(Wrapper):
    """Put in front of an lm-eval model's class, under the part that steers it.

    Attributes:
        model_name: What the user calls the model, for messages.
        plan: What the run steers with.

    Args:
        pretrained: Model id or path, ``testbed:NAME``, or a loaded model.
        steering: Folder of a dictionary.
        method: Method of the dictionary; may be left out where it has only one.
        concept: Steer every row that names no concept itself towards this one; with ``each``, row
            i of a task towards the i-th of the dictionary's concepts, and on from the first again.
        factor: Multiple of max_act for those rows.
        factors: With ``concept=each``, in the place of ``factor``: a run of ``axbench_steer``,
            whose selected factor of each concept is taken.
        intervention: ``add``, ``clamp``, ``min_clamp`` or ``null_out``.
        positions: ``all``, ``prompt``, ``generated``, or a slice of the prompt's tokens.
        perplexity: Whether each steered answer is also scored by the unsteered model.
        **kwargs: As for the class behind, and ``response_cache``.

    Raises:
        HarnessError: The dictionary is missing, damaged, or for another model; an argument has no
            such value, or ``factors`` is no run of the same steering.
    """

    model_name: ClassVar[str] = "hf-steered"
    no_use_cache = (
        " and would mix up steered answers; use --model_args …,response_cache=FILE instead"
    )
    no_matter = frozenset(  # they are in the identity and in each request's steering
        {"steering", "method", "concept", "factor", "factors", "intervention", "positions"}
        | {"perplexity"}
    )
    plan: Plan
    world_size: int
    tokenizer: Any
    add_bos_token: bool | None

    def __init__(
        self,
        pretrained: Any,
        *,
        steering: str | None = None,
        method: str | None = None,
        concept: int | str | None = None,
        factor: float | None = None,
        factors: str | None = None,
        intervention: str = ADD,
        positions: str = ALL,
        perplexity: bool = False,
        **kwargs: Any,
    ) -> None:
        self.plan = make_plan(
            steering,
            method,
            concept,
            factor,
            factors=factors,
            intervention=intervention,
            positions=positions,
            model=self.model_name,
        )
        self._perplexity = perplexity
        self._warned: set[str] = set()
        self._seen: Counter[str] = Counter()  # by task
        self._applied: Counter[str] = Counter()  # of those, rows in whose answer the method is
        self._in_turn = InTurn()
        super().__init__(pretrained, **self.checked(pretrained, kwargs))
        self.check_fit(pretrained)
        if self.plan.steers:
            self.attach()

    def check_fit(self, pretrained: Any) -> None:
        """Refuse a model that the dictionary was not trained for, as far as can be seen.

        Raises:
            HarnessError: It reads texts otherwise.
        """
        check_reading(self.plan, self.tokenizer, self.add_bos_token)
        if self.plan.steers and isinstance(pretrained, str):
            warn_of_other_weights(self.plan, pretrained, self.path)

    def attach(self) -> None:
        """Make the model ready to be steered.

        Raises:
            HarnessError: The dictionary does not fit it.
        """

    def checked(self, pretrained: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The settings of the class behind, before it is made.

        Raises:
            HarnessError: The model cannot be steered so.
        """
        return kwargs

    def note(self, request: Any) -> dict[str, Any]:
        steering = choose(self.plan, request, self._warned)
        self.count(request, steering is not None)
        if self.plan.each and steering is not None and not names_concept(request):
            self._in_turn.take(request, steering)
        return super().note(request) | {STEERING: steering}

    def refuse_detection(self, requests: Sequence[Any]) -> None:
        """Refuse requests for a concept's score, of a model whose activations cannot be read.

        Raises:
            HarnessError: There is one.
        """
        if any(map(wants_detection, requests)):
            raise HarnessError(
                f"{self.model_name} cannot score texts for a concept, which needs their "
                "activations; use --model hf-steered for axbench_detect"
            )

    def count(self, request: Any, applied: bool) -> None:
        """Take down whether the method has a part in an answer."""
        self._seen[str(request.task_name)] += 1
        self._applied[str(request.task_name)] += applied

    def identity(self) -> dict[str, Any]:
        if self.stand_in is not None:
            return super().identity()
        return super().identity() | {
            "artefact": self.plan.found.sha256,
            "method": self.plan.method,
        }

    def labels(self) -> dict[str, str | None]:
        if not self._steers:
            return super().labels() | {"steered": None}
        return super().labels() | {"steered": f"{self.plan.method}{by_default(self.plan)}"}

    def idle(self) -> dict[str, frozenset[str]]:
        found = super().idle()
        for task in self._seen:
            if not self._applied[task]:
                found[task] = found.get(task, frozenset()) | {"steered"}
        return found

    @property
    def _steers(self) -> bool:
        """Whether the method has had, or will have, a part in any answer."""
        return self._applied.total() > 0 or bool(self.plan.everywhere or self.plan.each)

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model; lm-eval asks when all is answered.

        A run, or a task of one, whose rows name no concept is the unsteered model's, and says so.
        """
        stock: Callable[[], dict[str, Any]] = getattr(super(), "get_model_info", dict)
        applied = {task: f"{self._applied[task]} of {rows}" for task, rows in self._seen.items()}
        if not self._steers:
            return stock() | {"method": "", "method_args": {}, "applied": applied}
        return stock() | {
            "applied": applied,
            "method_by_task": dict.fromkeys(self.idle(), ""),
            "method": self.plan.method,
            "method_args": arguments(self.plan),
            "artefact_hash": self.plan.found.sha256,
            "layer": self.plan.found.layer if self.plan.steers else None,
            **self._spread(),
            "intervention": self.plan.intervention,
            "positions": self.plan.positions,
            STEERED: self.plan.edit,
            **self._in_turn.told(self.plan, alone=self.world_size == 1),
        }

    def _spread(self) -> dict[str, Any]:
        """How far the method's detection depends on the seed, where the dictionary knows it."""
        over = self.plan.found.facts(self.plan.method).get("seeds")
        return {"seeds": {k: v for k, v in over.items() if "of_concepts" not in k}} if over else {}

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        answers: list[Any] = super().generate_until(requests, disable_tqdm)
        if not self._perplexity or self.stand_in is not None:
            return answers
        return self._with_perplexities(requests, answers)

    def _with_perplexities(self, requests: Sequence[Any], answers: list[Any]) -> list[Any]:
        """exp(−log P / tokens) of each answer under the unsteered model, in its trace.

        An empty answer has none.
        """
        found = list(answers)
        steered = [choose(self.plan, request, self._warned) is not None for request in requests]
        chosen = [i for i, is_steered in enumerate(steered) if is_steered and answers[i]]
        asked = [
            replace(
                requests[i],
                request_type="loglikelihood",
                arguments=(requests[i].args[0], str(answers[i])),
            )
            for i in chosen
        ]
        scores = self.answered(
            "perplexity",
            asked,
            lambda rows: self.score("loglikelihood", rows),
            notes=[{STEERING: None}] * len(asked),
        )
        for i, scored in zip(chosen, scores, strict=True):
            tokens = len(self._encode_pair(requests[i].args[0], str(answers[i]))[1])
            if tokens:
                found[i] = traced(answers[i], perplexity=math.exp(-scored[0] / tokens))
        return found


def read_with(manifest: Mapping[str, Any], add_bos_token: bool | None) -> bool | None:
    """The ``add_bos_token`` that a dictionary's texts are read with.

    Manifests that do not say it are of a time when chat templates alone decided.
    """
    return False if "bos" not in manifest and manifest["chat"] else add_bos_token
