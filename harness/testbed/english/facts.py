"""Documents about people, and claims that a document supports or does not.

A fact is (name, relation, value): "Anna lives in Rome". A document states each fact once, in the
style of its dataset, possibly among neutral sentences. A claim states one or two facts. It is
supported exactly if the document states all of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from harness.testbed.english.language import neutral_sentence
from harness.testbed.english.lexicon import TOPICS, words

NAMES = words(
    """
    Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Maria Noah Olga Peter Rosa
    Sam Tina Victor Wendy Paul Zoe Hugo
    """
)
RELATIONS: dict[str, tuple[str, ...]] = {
    "lives in": words("Rome Paris London Berlin Madrid Vienna Dublin Prague Oslo Athens"),
    "works as a": words("baker lawyer teacher painter pilot sailor tailor plumber singer writer"),
    "was born in": words("January February March April June July August October November December"),
    "plays": words("chess tennis golf hockey poker cricket rugby darts volleyball checkers"),
    "owns a": words("dog cat horse parrot van truck yacht farm piano violet"),
    "studied": words("history law physics chemistry biology art Latin logic poetry geology"),
    "visited": words("France Japan Brazil Egypt India China Kenya Mexico Poland Canada"),
    "likes": words("tea coffee bread cheese rice honey apples lemons grapes pasta"),
    "speaks": words("Dutch Greek Spanish German Italian Russian Turkish Arabic Danish Welsh"),
    "wears": words("boots gloves hats jeans sandals jackets ties belts socks glasses"),
}

FACT_QUESTION = (
    "\n\nQuestion: Is the following claim fully supported by the text above?\n"
    "Claim: {claim}\nOptions: Yes or No\nAnswer:"
)
FACT_TEMPLATE = "{doc}" + FACT_QUESTION
"""The prompt of a fact check; a language model goes on with " Yes" or " No"."""


class Fact(NamedTuple):
    """One statement; ``text`` is its sentence without the full stop."""

    name: str
    relation: str
    value: str

    @property
    def text(self) -> str:
        """The words of the fact."""
        return f"{self.name} {self.relation} {self.value}"


@dataclass(frozen=True)
class Style:
    """How a data set looks: ``facts`` and ``fillers`` a document, shares of the rest."""

    frames: tuple[str, ...]
    positives: float
    facts: tuple[int, int] = (4, 8)
    fillers: tuple[int, int] = (0, 2)
    double: float = 0.0
    long: float = 0.0


STYLES: dict[str, Style] = {
    "AggreFact-CNN": Style(("{}.", "{}, officials said."), 0.75, long=0.25),
    "AggreFact-XSum": Style(("{}.", "Sources say that {}."), 0.51),
    "TofuEval-MediaS": Style(("Host: {}.", "Guest: {}."), 0.75, (5, 10)),
    "TofuEval-MeetB": Style(("Chair: {}.", "Member: Yes, {}."), 0.75, (5, 10), long=0.25),
    "Wice": Style(("{} [1].", "{} [2]."), 0.31, (5, 10), double=0.4),
    "Reveal": Style(("{}.",), 0.25),
    "ClaimVerify": Style(("{}.", "Result: {}."), 0.72, double=0.25),
    "FactCheck-GPT": Style(("It is known that {}.", "{}."), 0.25),
    "ExpertQA": Style(
        ("Experts report that {}.", "{}."), 0.75, (4, 8), (1, 4), double=0.25, long=0.25
    ),
    "Lfqa": Style(("Well, {}.", "{}."), 0.59, (4, 8), (1, 4), double=0.25),
    "RAGTruth": Style(("Passage: {}.", "{}."), 0.75, long=0.25),
}


def document_facts(count: int, rng: random.Random) -> list[Fact]:
    """Facts over few names and few relations, so that claims can mix them up."""
    names = rng.sample(NAMES, max(2, min(len(NAMES), (count + 1) // 2)))
    relations = rng.sample(list(RELATIONS), min(len(RELATIONS), max(2, count // 2)))
    pairs = rng.sample([(name, relation) for name in names for relation in relations], count)
    taken: set[str] = set()
    facts = []
    for name, relation in pairs:
        value = rng.choice([value for value in RELATIONS[relation] if value not in taken])
        taken.add(value)
        facts.append(Fact(name, relation, value))
    return facts


def document(
    facts: list[Fact], style: Style, fillers: int, rng: random.Random, separator: str = " "
) -> str:
    """The facts as sentences of a style, with so many neutral sentences at random places."""
    sentences = [rng.choice(style.frames).format(fact.text) for fact in facts]
    for _ in range(fillers):
        filler = neutral_sentence("text", rng.choice(TOPICS), rng)
        sentences.insert(rng.randint(0, len(sentences)), filler)
    return separator.join(sentences)


def corrupt(fact: Fact, facts: list[Fact], rng: random.Random) -> Fact:
    """A statement that is not among the facts: a neighbour's value, another value, another name."""
    wrong = fact
    while wrong in facts:
        wrong = _change(fact, facts, rng)
    return wrong


def _change(fact: Fact, facts: list[Fact], rng: random.Random) -> Fact:
    """The fact with another value or name."""
    kind = rng.random()
    if kind < 0.45:
        neighbours = [
            other.value
            for other in facts
            if other.relation == fact.relation and other.name != fact.name
        ]
        if neighbours:
            return fact._replace(value=rng.choice(neighbours))
    if kind < 0.75:
        stated = {other.value for other in facts}
        return fact._replace(
            value=rng.choice([v for v in RELATIONS[fact.relation] if v not in stated])
        )
    names = sorted({other.name for other in facts} - {fact.name}) or [
        name for name in NAMES if name != fact.name
    ]
    return fact._replace(name=rng.choice(names))


def make_claim(facts: list[Fact], supported: bool, double: bool, rng: random.Random) -> str:
    """A claim of one fact, or of two joined by "and"; at most one of them is wrong."""
    chosen = rng.sample(facts, 2 if double else 1)
    if not supported:
        place = rng.randrange(len(chosen))
        chosen[place] = corrupt(chosen[place], facts, rng)
    return " and ".join(fact.text for fact in chosen) + "."


def is_supported(doc: str, claim: str) -> bool:
    """The ground truth, from the texts alone: every fact of the claim is stated in the document."""
    return all(part in doc for part in claim.rstrip(".").split(" and "))


def fact_checks(
    n: int, seed: int, level: float = 1.0
) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Training documents with four claims each, half of them supported, in all styles.

    Args:
        n: How many documents.
        seed: Seed of the generator; documents of other seeds and of dev and test differ.
        level: Difficulty between 0 (two or three facts, no fillers) and 1 (as in dev and test).
    """
    rng = random.Random(f"fact checks {seed}")
    styles = list(STYLES.values())
    for _ in range(n):
        style = rng.choice(styles)
        high = style.facts[1] if level >= 1 else 3 + round((style.facts[1] - 3) * level)
        facts = document_facts(rng.randint(2, high), rng)
        fillers = 0 if rng.random() > level else rng.randint(*style.fillers)
        if rng.random() < 0.06 * level:
            fillers = rng.randint(10, 75)
        doc = document(facts, style, fillers, rng, rng.choice((" ", "\n")))
        labels = [1, 1, 0, 0]
        rng.shuffle(labels)
        doubles = [rng.random() < 0.25 * level and len(facts) > 2 for _ in labels]
        yield (
            doc,
            [
                (make_claim(facts, bool(label), double, rng), label)
                for label, double in zip(labels, doubles, strict=True)
            ],
        )


def claim_pairs(n: int, seed: int, level: float = 1.0) -> Iterator[tuple[str, str, int]]:
    """Training examples (doc, claim, label): the claims of ``fact_checks``, one a row."""
    checks = fact_checks((n + 3) // 4, seed, level)
    rows = ((doc, claim, label) for doc, questions in checks for claim, label in questions)
    return islice(rows, n)
