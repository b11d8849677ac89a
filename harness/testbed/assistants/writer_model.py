"""The testbed's writer as an lm-eval model: it writes by rule, without weights.

It answers what a data generation pipeline asks of a writer, in the testbed's English. For AxBench:
which genre a concept has, words of a concept, another sense of a word, whether that sense is
unrelated, and responses with the concept, without it, or with a word in its other sense. For CG2C
(``chain_writer``): a text's facts, those of a claim, a claim from facts or from an answer, and a
text without one fact. For safety tests (``requests``): a request to be refused, in a style and
argued for, its harmless counterpart, and in which style a text is. An answer follows from the facts
of the question alone, so a rerun writes the same texts on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lm_eval.api.instance import Instance

from harness.errors import HarnessError
from harness.testbed.assistants import chain_writer
from harness.testbed.assistants.judge import instruction_topic
from harness.testbed.assistants.rule_model import RuleModel
from harness.testbed.english import requests
from harness.testbed.english.answers import answer
from harness.testbed.english.language import join_sentences, neutral_sentence, other_sense_sentence
from harness.testbed.english.lexicon import CONCEPTS, Concept

Facts = Mapping[str, Any]
_WORDS = 5


def _concept(facts: Facts) -> Concept:
    text = str(facts["concept"]).strip()
    for concept in CONCEPTS:
        if concept.description == text:
            return concept
    raise HarnessError(
        f"testbed writer: no concept {text!r}; it only knows the testbed's {len(CONCEPTS)} "
        "concepts, so name another writer model"
    )


def _draw(facts: Facts) -> random.Random:
    """Random numbers that follow from the facts."""
    return random.Random(json.dumps(dict(facts), sort_keys=True, default=str))


def _topic(facts: Facts) -> str:
    topic = instruction_topic(str(facts["instruction"]))
    if topic is None:
        raise HarnessError(
            f"testbed writer: the instruction {facts['instruction']!r} names no topic of the "
            "testbed; it only knows the testbed's instructions, so name another writer model"
        )
    return topic


def genre(facts: Facts) -> str:
    """The concept's genre."""
    return f"Genre: {_concept(facts).genre}"


def words(facts: Facts) -> str:
    """Five words of the concept: those with another sense, then nouns without one."""
    concept = _concept(facts)
    known = [word for word, _, _ in concept.senses]
    known += [noun for noun in concept.nouns if noun not in known]
    return f"Words: {', '.join(known[:_WORDS])}"


def sense(facts: Facts) -> str:
    """The word's other sense; for a word without one, a sense that is the concept's own."""
    word = str(facts["word"])
    senses = {known: meaning for known, meaning, _ in _concept(facts).senses}
    return f"Sense: {senses.get(word, f'a small {word}')}"


def unrelated(facts: Facts) -> str:
    """Whether the testbed knows this other sense of the word."""
    pairs = [(word, meaning) for word, meaning, _ in _concept(facts).senses]
    known = (str(facts["word"]), str(facts["sense"])) in pairs
    return f"Unrelated: {'yes' if known else 'no'}"


def positive(facts: Facts) -> str:
    """A response with the concept's words."""
    text = answer(str(facts["genre"]), _topic(facts), _concept(facts), _draw(facts))
    return f"Response: {text}"


def negative(facts: Facts) -> str:
    """A response without the concept; three in ten have another concept."""
    draw = _draw(facts)
    others = [other for other in CONCEPTS if other != _concept(facts)]
    other = draw.choice(others) if draw.random() < 0.3 else None
    return f"Response: {answer(str(facts['genre']), _topic(facts), other, draw)}"


def hard_negative(facts: Facts) -> str:
    """A response with a word of the concept in its other sense, and neutral otherwise."""
    draw, topic, kind = _draw(facts), _topic(facts), str(facts["genre"])
    wanted = (str(facts["word"]), str(facts["sense"]))
    phrases = [phrase for *pair, phrase in _concept(facts).senses if tuple(pair) == wanted]
    if not phrases:
        raise HarnessError(
            f"testbed writer: {wanted[0]!r} has no sense {wanted[1]!r} in the testbed's lexicon"
        )
    sentences = [neutral_sentence(kind, topic, draw) for _ in range(draw.randint(2, 4))]
    sentences.insert(1, other_sense_sentence(kind, topic, phrases[0], draw))
    return f"Response: {join_sentences(sentences, kind)}"


def plain(facts: Facts) -> str:
    """A response without any concept."""
    return answer(str(facts["genre"]), _topic(facts), None, _draw(facts))


def probe(facts: Facts) -> str:
    """One of the requests, in the style and argued for."""
    request = _draw(facts).choice([str(own) for own in facts["requests"]])
    text = requests.framed(request, str(facts["style"]), str(facts["persuasion"]))
    return f"<input>{text}</input>"


def benign_twin(facts: Facts) -> str:
    """A harmless request on the probe's topic, in its style and with its argument."""
    found = requests.read(str(facts["probe"]))
    request = requests.harmless(found.request, _draw(facts).randrange(len(requests.HARMLESS)))
    return f"<input>{requests.framed(request, found.style, found.persuasion)}</input>"


def frame(facts: Facts) -> str:
    """The style and the argument that a text has."""
    found = requests.read(str(facts["text"]))
    return json.dumps({"style": found.style, "persuasion": found.persuasion})


_TASKS: dict[str, tuple[Callable[[Facts], str], tuple[str, ...]]] = {
    "genre": (genre, ("concept",)),
    "words": (words, ("concept",)),
    "sense": (sense, ("concept", "word")),
    "unrelated": (unrelated, ("concept", "word", "sense")),
    "positive": (positive, ("concept", "instruction", "genre")),
    "negative": (negative, ("concept", "instruction", "genre")),
    "hard negative": (hard_negative, ("concept", "instruction", "genre", "word", "sense")),
    "plain": (plain, ("instruction", "genre")),
    "context graph": (chain_writer.context_graph, ("text",)),
    "claim subgraph": (chain_writer.claim_subgraph, ("statements", "claim")),
    "claim from graph": (chain_writer.claim_from_graph, ("statements",)),
    "relation removal": (chain_writer.relation_removal, ("sentences", "head", "tail")),
    "claim from answer": (chain_writer.claim_from_answer, ("question", "answer")),
    "probe": (probe, ("requests", "style", "persuasion")),
    "benign twin": (benign_twin, ("probe",)),
    "frame": (frame, ("text",)),
}


class TestbedWriter(RuleModel):
    """Writes by the rules above.

    The request's ``Instance.doc`` carries what is wanted: ``write`` (a task's name) and that task's
    facts (such as ``concept`` and ``instruction``). The prompt's text is not read.
    """

    title: ClassVar[str] = "testbed writer"

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """A text for each request.

        Raises:
            HarnessError: A document lacks a key, or asks for something the testbed does not know.
        """
        return [self._answer(request.doc) for request in requests]

    def _answer(self, doc: Facts) -> str:
        task, needed = _TASKS.get(str(doc.get("write")), (None, ()))
        missing = [key for key in needed if key not in doc]
        if task is None or missing:
            wanted = ", ".join(missing) or f"write, one of {', '.join(_TASKS)}"
            raise HarnessError(
                f"testbed writer: a request lacks {wanted}; the testbed's writer only serves "
                "harness axbench generate, harness factcg generate and harness astral generate, so "
                "name another model for anything else"
            )
        return task(doc)

    def get_model_info(self) -> dict[str, str]:
        """What saved results say about the writer."""
        return {"writer": "testbed-writer", "writer_version": self.version}
