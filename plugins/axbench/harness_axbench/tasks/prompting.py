r"""The prompting baselines: a concept asked for in words, and recognised by being asked about.

**Prompt steering** (Wu et al. 2025, §4). A writer model turns each concept into one prompt, which
is put in front of every instruction; the model under test is otherwise left alone. The user turn is

    " {prompt}\n\nQuestion: {instruction}"

with the leading space, as in the reference. Suppression has the same user turn.

**Prompt detection.** The model under test rates a text for a concept, 0, 1 or 2, in the form that
judges use; an answer without a rating counts as −1.

The wording of both requests is our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness import Assistant, AssistantSpec, HarnessError, Question, Row
from harness.judging.ratings import parse_rating
from harness_axbench.data.concepts import Concept
from harness_axbench.metrics import ratings
from harness_axbench.options import TEMPLATE, WRITER, RunOptions

UNPARSED = -1.0

_REQUEST = """Write a prompt that makes a language model bring a concept into its answers.

Concept: {concept}

Your prompt will stand in front of a question that you do not know. The model should answer that \
question, fluently and to the point, and the concept should show clearly in what it says. Tell it \
so in one to three sentences, and name the concept in concrete terms.

Reply with the prompt alone: no heading, no quotation marks, no explanation."""

_WITHOUT_WRITER = "Make this clearly part of what you say, throughout your answer: {concept}."

_DETECT = f"""Rate how far a concept is present in a text. The text is an instruction and a \
response to it.

Concept: {{concept}}

Text, between the marks:
<<<
Instruction: {{input}}

Response: {{output}}
>>>

0: the concept is absent.
1: the concept is there, but faintly, in passing, or only by a word in another sense.
2: the concept is clearly there and part of what the text says.

{ratings.FORM}"""


def yes_no_turn(doc: Row) -> str:
    """The question to a generative model that is asked for P(" Yes") against P(" No")."""
    return (
        f"Here is an instruction and a response to it.\n\nInstruction: {doc['input']}\n\n"
        f"Response: {doc['output']}\n\nDoes the response contain this concept: "
        f"{doc['concept']}?\nAnswer Yes or No.\nAnswer:"
    )


def steered_turn(doc: Row) -> str:
    """The user turn of a row: its steering prompt, then its instruction."""
    return f" {doc['steering_prompt']}\n\nQuestion: {doc['instruction']}"


def detection_turn(doc: Row) -> str:
    """The question whether a row's text has its concept."""
    texts = {name: str(doc[name]) for name in ("concept", "input", "output")}
    return ratings.filled(_DETECT, texts)


def detection_score(answer: str) -> float:
    """The rating in an answer, 0 … 2; −1 where there is none."""
    rating = parse_rating(answer, 0, 2)
    return UNPARSED if rating is None else rating


def refuse_steering(run: RunOptions, task: str) -> None:
    """Prompting is compared with steering, so it is for models that are not steered.

    Raises:
        HarnessError: The run has ``steering=``.
    """
    if run.steering:
        raise HarnessError(
            f"{task} prompts an unsteered model; run it with a stock model (--model hf, say) and "
            f"without steering="
        )


def steering_prompts(writer: AssistantSpec | None, concepts: Sequence[Concept]) -> list[str]:
    """One steering prompt a concept, in order.

    Args:
        writer: Who writes them; None for a fixed sentence instead.
        concepts: The concepts.

    Raises:
        HarnessError: The writer cannot be made, or leaves concepts without a prompt.
    """
    if writer is None:
        return [_WITHOUT_WRITER.format(concept=concept.text) for concept in concepts]
    assistant = Assistant(writer)
    questions = [Question(prompt=_REQUEST.format(concept=c.text)) for c in concepts]
    assistant.ask(questions, _is_prompt)
    answers = assistant.ask(questions, _is_prompt)  # from its store: equal in all processes
    found = [bare(answer) for answer in answers if answer is not None]
    if len(found) < len(concepts):
        missing = concepts[answers.index(None)]
        raise HarnessError(
            f"{WRITER} '{writer.model}' left {len(concepts) - len(found)} of {len(concepts)} "
            f"concepts without a prompt, such as {missing.text!r}; {assistant.trouble}. "
            f"{assistant.kept} Try again: only what is missing is asked"
        )
    return found


def writer_info(writer: AssistantSpec | None) -> dict[str, Any]:
    """What the results say of the writer; no secrets."""
    return {"model": TEMPLATE} if writer is None else Assistant(writer).info()


def bare(answer: str) -> str:
    """An answer without white space and one pair of quotation marks around it."""
    text = answer.strip()
    for left, right in ('""', "''", "“”", "``"):
        inner = text[1:-1]
        if text == f"{left}{inner}{right}" and left not in inner and right not in inner:
            return inner.strip()
    return text


def _is_prompt(answer: str) -> bool:
    return bool(bare(answer))
