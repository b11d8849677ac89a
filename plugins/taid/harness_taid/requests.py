"""What a row asks of ``hf-distilled``, and how the answer's trace names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALONG = "taid_along"
"""Key of a row: the texts along which both models are compared, a list of the names below."""
SEED = "taid_seed"
"""Key of such a row: seed of what is sampled."""
REFERENCE, STUDENT, TEACHER = "reference", "student", "teacher"
TEXTS = (REFERENCE, STUDENT, TEACHER)
"""The row's response, a sample of the student, a sample of the teacher."""

COMPARED = "taid_teacher_answer"
"""Key of a row whose answer is also asked of the teacher; its value is true."""

FIDELITY = "fidelity"
"""Of the trace: for each of the texts, the figures of each token."""
PIECES = "fidelity_tokens"
"""Of the trace: for each of the texts, what each token adds to it."""
TEACHER_ANSWER = "teacher_answer"
"""Of the trace: the teacher's answer to the same prompt."""


def is_measured(request: Any) -> bool:
    """Whether a request asks for fidelity."""
    return isinstance(request.doc, Mapping) and ALONG in request.doc


def is_compared(request: Any) -> bool:
    """Whether a request asks for the teacher's answer too."""
    return isinstance(request.doc, Mapping) and bool(request.doc.get(COMPARED))
