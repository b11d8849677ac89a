"""The judge's three questions about a steered response (Wu et al. 2025, §3.2 and appendix).

Independent calls ask for the presence of the concept, the relation to the instruction, and fluency.
Each asks for a short explanation and then ``Rating: [[0, 1 or 2]]``. The wording is our own.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.asking.assistant import Question
from harness.asking.marks import widened

CONCEPT, RELATEDNESS, FLUENCY = "concept", "relatedness", "fluency"
NAMES = (CONCEPT, RELATEDNESS, FLUENCY)

FORM = """First explain your verdict in one or two sentences. Then end with one line of exactly \
this form, with 0, 1 or 2 as the score:
Rating: [[score]]"""

_CONCEPT = f"""Judge how far a concept is present in a text written by a language model.

Concept: {{concept}}

Text, between the marks:
<<<
{{response}}
>>>

Look only at whether the concept shows in what the text says or how it says it. Leave aside \
whether the text is well written or useful.
0: the concept is absent.
1: the concept is there, but faintly, in passing, or out of place.
2: the concept is clearly there and part of what the text says.

{FORM}"""

_RELATEDNESS = f"""Judge how far a text written by a language model has to do with the instruction \
it was given.

Instruction, between the marks:
<<<
{{instruction}}
>>>

Text, between the marks:
<<<
{{response}}
>>>

Look only at the topic. The text need not be complete, correct or well written.
0: the text has nothing to do with the instruction.
1: the text touches on the instruction, but is mostly about something else.
2: the text is about what the instruction asks for.

{FORM}"""

_FLUENCY = f"""Judge how fluent a text written by a language model is.

Text, between the marks:
<<<
{{response}}
>>>

Look only at the language. Leave aside what the text is about; it may break off at the end.
0: the text is not fluent: garbled, broken, or endlessly repeating itself.
1: the text can be read, but has clear faults: errors, repetitions, or strange wording.
2: the text is fluent.

{FORM}"""

PROMPTS = {CONCEPT: _CONCEPT, RELATEDNESS: _RELATEDNESS, FLUENCY: _FLUENCY}


def questions(*, concept: str, instruction: str, response: str) -> dict[str, Question]:
    """The three questions about one response, by rating name."""
    texts = {"concept": concept, "instruction": instruction, "response": response}
    return {
        name: Question(prompt=filled(PROMPTS[name], texts), facts={"rating": name, **texts})
        for name in NAMES
    }


def filled(prompt: str, texts: Mapping[str, str]) -> str:
    """A prompt with its ``{slots}`` filled in one pass, between marks that no text closes.

    Braces in a text are never slots.
    """
    head, *parts = widened(prompt, texts.values()).split("{")
    pieces = [head]
    for part in parts:
        slot, _, rest = part.partition("}")
        pieces += [texts[slot], rest]
    return "".join(pieces)
