"""What the writer is asked while CG2C data are made, and how its answers are read.

The five steps are those of Lei et al. 2025 (arXiv 2501.17144), §3; the wording is our own. Every
answer is one JSON object of a given form, alone or in one code fence: what does not have the form
exactly cannot be used and is asked for again. Names of entities are JSON strings, so a comma in one
("Paris, Texas") is a comma. Nothing is mended, and nothing added. A model's thoughts up to
``</think>`` are not read, nor is an answer of more than ``replies.LONGEST`` characters.

Worked example: a text's relations.

    >>> read('{"triples": [{"head": "Anna", "relation": "Anna works for Borealis, Inc.", '
    ...      '"tail": "Borealis, Inc."}]}', Triples).found()
    [Triple(head='Anna', relation='Anna works for Borealis, Inc.', tail='Borealis, Inc.')]
    >>> read("Anna works for Borealis, Inc.", Triples) is None
    True

What can only be judged beside the question (does the claim name every entity? is the relation
gone?) is the question's own ``check``. Each question also carries its facts, from which
``testbed-writer`` answers; real models do not see them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.asking.assistant import Question
from harness.asking.replies import fenced, spoken
from harness_factcg.generation.graphs import Path, Triple
from harness_factcg.generation.rewriting import Passage, names, trouble


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("nothing is said")
    return text.strip()


MOST = 500
"""Triples of an answer: a text of a chunk's size states far fewer."""
Words = Annotated[str, AfterValidator(_said)]

_GRAPH = """\
List every relation that the text below states between two things it names: people, places, \
organisations, works, events, dates, amounts. Give for each the two things, spelled as the text \
spells them, and one short sentence that says how they are related. Each sentence must be true by \
the text alone, must hold without its neighbours (write names, not "he" or "it"), and must contain \
both things. A text may state no relation at all.

Text:
{text}

Answer with JSON alone, of this form:
{{"triples": [{{"head": "FIRST THING", "relation": "SENTENCE", "tail": "SECOND THING"}}]}}"""

_SUBGRAPH = """\
Below are numbered statements and a claim. Which of the statements does the claim rest on? Choose \
those, and only those, without which the claim would not follow.

Statements:
{statements}

Claim: {claim}

Answer with JSON alone, of this form:
{{"triples": [NUMBER, NUMBER]}}"""

_CLAIM = """\
Write one short sentence that follows from the statements below taken together, and that names \
each of these: {entities}. Spell them as they are spelled here. Connect them; do not merely list \
the statements, and add nothing that they do not say.

Statements:
{statements}

Answer with JSON alone, of this form:
{{"claim": "SENTENCE"}}"""

_REMOVAL = """\
The numbered sentences below tell how two things are related: {head}; and: {tail}. The relation is \
this: {relation}

Rewrite what must be rewritten, and no more, so that a reader can no longer tell or guess that \
relation. Both things must still be named in every sentence that names them now. Do not deny the \
relation, and put no other fact in its place that a reader could check. A rewritten sentence stays \
one sentence of about the same length.

Sentences:
{sentences}

Answer with JSON alone, with the sentences that you changed and no others, of this form:
{{"sentences": [{{"number": NUMBER, "text": "THE WHOLE SENTENCE AS IT IS NOW"}}]}}"""

_ANSWER = """\
Turn the question and its answer into one declarative sentence that says the same: nothing of \
either left out, nothing added.

Question: {question}
Answer: {answer}

Answer with JSON alone, of this form:
{{"claim": "SENTENCE"}}"""


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Relation(_Form):
    head: Words
    relation: Words
    tail: Words


class Triples(_Form):
    """A context graph."""

    triples: tuple[_Relation, ...] = Field(strict=False, max_length=MOST)

    def found(self) -> list[Triple]:
        """The triples, as many and in the order that the answer has them."""
        return [Triple(own.head, own.relation, own.tail) for own in self.triples]


class Numbers(_Form):
    """Numbers of triples, from 1, each once."""

    triples: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        strict=False, min_length=1, max_length=MOST
    )


class Claim(_Form):
    """A claim."""

    claim: Words


class _Sentence(_Form):
    number: Annotated[int, Field(ge=1)]
    text: Words


class Sentences(_Form):
    """Rewritten sentences."""

    sentences: tuple[_Sentence, ...] = Field(strict=False, min_length=1, max_length=MOST)

    def changes(self) -> dict[int, str]:
        """New words by sentence number."""
        return {own.number: own.text for own in self.sentences}


F = TypeVar("F", bound=_Form)


def read(answer: str, form: type[F]) -> F | None:
    """An answer of a form, or None if it has another.

    Args:
        answer: JSON, bare or in one code fence, whatever stands around the fence.
        form: ``Triples``, ``Numbers``, ``Claim`` or ``Sentences``.
    """
    said = spoken(answer)
    blocks = fenced(said) or [said]
    if len(blocks) > 1:
        return None
    try:
        return form.model_validate_json(blocks[0])
    except (ValidationError, UnicodeEncodeError):
        return None


def wording() -> str:
    """A content hash of the questions: data made with another wording are other data."""
    parts = (_GRAPH, _SUBGRAPH, _CLAIM, _REMOVAL, _ANSWER)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _checked(form: type[F], rule: Callable[[F], bool]) -> Callable[[str], bool]:
    """Whether an answer has the form and keeps the rule."""

    def check(answer: str) -> bool:
        found = read(answer, form)
        return found is not None and rule(found)

    return check


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def ask_graph(text: str) -> Question:
    """The triples of a text."""
    facts = {"write": "context graph", "text": text}
    return Question(prompt=_GRAPH.format(text=text), facts=facts)


def ask_subgraph(triples: Sequence[Triple], claim: str) -> Question:
    """The triples that a claim rests on."""
    lines = [triple.relation for triple in triples]
    prompt = _SUBGRAPH.format(statements=_numbered(lines), claim=claim)

    def rule(found: Numbers) -> bool:
        numbers = found.triples
        return len(set(numbers)) == len(numbers) and max(numbers) <= len(triples)

    facts = {"write": "claim subgraph", "statements": lines, "claim": claim}
    return Question(prompt=prompt, facts=facts, check=_checked(Numbers, rule))


def ask_claim(path: Path) -> Question:
    """A sentence that names every entity on a path."""
    lines = [triple.relation for triple in path.triples]
    prompt = _CLAIM.format(statements=_numbered(lines), entities="; ".join(path.entities))

    def rule(found: Claim) -> bool:
        return "\n" not in found.claim and all(names(found.claim, own) for own in path.entities)

    facts = {"write": "claim from graph", "statements": lines}
    return Question(prompt=prompt, facts=facts, check=_checked(Claim, rule))


def ask_removal(passage: Passage, triple: Triple) -> Question:
    """The passage's sentences rewritten so that the triple's relation is gone."""
    prompt = _REMOVAL.format(
        head=triple.head,
        tail=triple.tail,
        relation=triple.relation,
        sentences=_numbered(passage.sentences),
    )

    def rule(found: Sentences) -> bool:
        changes = found.changes()
        doubled = len(changes) < len(found.sentences)
        reason = trouble(passage, changes, triple.head, triple.tail, triple.relation)
        return not doubled and not reason

    facts = {
        "write": "relation removal",
        "sentences": list(passage.sentences),
        "head": triple.head,
        "tail": triple.tail,
    }
    return Question(prompt=prompt, facts=facts, check=_checked(Sentences, rule))


def ask_statement(question: str, answer: str) -> Question:
    """A question and its answer as a declarative sentence."""
    prompt = _ANSWER.format(question=question, answer=answer)
    plain = answer.strip().casefold() in {"yes", "no"}

    def rule(found: Claim) -> bool:
        text = found.claim
        whole = "\n" not in text and not text.endswith("?")
        return whole and (plain or names(text, answer.rstrip(" .")))

    facts = {"write": "claim from answer", "question": question, "answer": answer}
    return Question(prompt=prompt, facts=facts, check=_checked(Claim, rule))
