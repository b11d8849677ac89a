"""The testbed's judge as an lm-eval model: it answers from ground truth, without weights."""

from __future__ import annotations

from typing import ClassVar

from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.testbed.judge import rate
from harness.testbed.rule_model import RuleModel

_KEYS = ("rating", "concept", "instruction", "response")
_EXPLANATION = {
    "concept": "The words of the concept in the answer were counted.",
    "relatedness": "The sentences that name the topic of the instruction were counted.",
    "fluency": "The sentences that the grammar accepts were counted.",
}


class TestbedJudge(RuleModel):
    """Rates an answer by the rules of ``harness.testbed.judge``.

    The request's ``Instance.doc`` carries what is rated: ``rating`` ("concept", "relatedness" or
    "fluency"), ``concept`` (a description), ``instruction`` and ``response``. The prompt's text is
    not read.
    """

    title: ClassVar[str] = "testbed judge"

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """One sentence of explanation and ``Rating: [[n]]`` for each request.

        Raises:
            HarnessError: A document lacks a key, or asks for something the testbed does not know.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Instance) -> str:
        doc = request.doc
        missing = [key for key in _KEYS if key not in doc]
        if missing:
            raise HarnessError(
                f"testbed judge: request {request.doc_id} of task {request.task_name} lacks "
                f"{', '.join(missing)}; the testbed's judge knows only the testbed's ground truth, "
                "so name another judge model for this task"
            )
        value = rate(
            str(doc["rating"]),
            concept=str(doc["concept"]),
            instruction=str(doc["instruction"]),
            response=str(doc["response"]),
        )
        return f"{_EXPLANATION[str(doc['rating'])]}\nRating: [[{value}]]"

    def get_model_info(self) -> dict[str, str]:
        """What the results say about the judge."""
        return {"judge": "testbed-judge", "judge_version": self.version}
