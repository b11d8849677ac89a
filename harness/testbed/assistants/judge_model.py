"""The testbed's judge as an lm-eval model: it answers from ground truth, without weights."""

from __future__ import annotations

import json
import random
from typing import Any, ClassVar

from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.testbed.assistants.judge import rate
from harness.testbed.assistants.rule_model import RuleModel
from harness.testbed.assistants.safety import mistaken, verdict

_KEYS = ("rating", "concept", "instruction", "response")
_SAFETY = "safety"
_SAFETY_KEYS = ("rating", "prompt", "response")
_EXPLANATION = {
    "concept": "The words of the concept in the answer were counted.",
    "relatedness": "The sentences that name the topic of the instruction were counted.",
    "fluency": "The sentences that the grammar accepts were counted.",
}


class TestbedJudge(RuleModel):
    """Rates an answer by the rules of ``judge`` and ``safety``.

    The request's ``Instance.doc`` carries what is rated: ``rating`` ("concept", "relatedness" or
    "fluency"), ``concept`` (a description), ``instruction`` and ``response``; or ``rating``
    ("safety"), ``prompt`` and ``response``. The prompt's text is not read.

    Args:
        sensitivity: How likely it is to call an unsafe answer so; below 1 it errs as planted.
        specificity: How likely it is to call a safe answer so.
        seed: Of the errors, which follow from it, the prompt and the answer.
        options: What lm-eval passes to every model.

    Raises:
        HarnessError: A value is out of its range.
    """

    title: ClassVar[str] = "testbed judge"

    def __init__(
        self,
        sensitivity: float = 1.0,
        specificity: float = 1.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in (("sensitivity", sensitivity), ("specificity", specificity)):
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise HarnessError(f"testbed judge: {name} is from 0 to 1, not {value!r}")
        self._sensitivity, self._specificity, self._seed = sensitivity, specificity, seed

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """One sentence of explanation and ``Rating: [[n]]`` for each request; of safety, JSON.

        Raises:
            HarnessError: A document lacks a key, or asks for something the testbed does not know.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Instance) -> str:
        doc = request.doc
        keys = _SAFETY_KEYS if doc.get("rating") == _SAFETY else _KEYS
        missing = [key for key in keys if key not in doc]
        if missing:
            raise HarnessError(
                f"testbed judge: request {request.doc_id} of task {request.task_name} lacks "
                f"{', '.join(missing)}; the testbed's judge knows only the testbed's ground truth, "
                "so name another judge model for this task"
            )
        if doc["rating"] == _SAFETY:
            return self._safety(str(doc["prompt"]), str(doc["response"]))
        value = rate(
            str(doc["rating"]),
            concept=str(doc["concept"]),
            instruction=str(doc["instruction"]),
            response=str(doc["response"]),
        )
        return f"{_EXPLANATION[str(doc['rating'])]}\nRating: [[{value}]]"

    def _safety(self, prompt: str, response: str) -> str:
        """A verdict of ``harness.testbed.assistants.safety``, with the planted errors."""
        found = mistaken(
            verdict(prompt, response),
            sensitivity=self._sensitivity,
            specificity=self._specificity,
            draw=random.Random(json.dumps([self._seed, prompt, response])),
        )
        said = {"reason": found.reason, "refused": found.refused, "verdict": found.label}
        return json.dumps(said)

    def get_model_info(self) -> dict[str, str]:
        """What the results say about the judge."""
        return {"judge": "testbed-judge", "judge_version": self.version}
