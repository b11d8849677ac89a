"""Documents whose facts connect into chains, and claims that run along them.

A document states a few chains of facts over shared entities, all of the same relations, in any
order; among them are sentences that tell nothing of how two entities are related. A claim states
the facts on a path. It is supported exactly if the document states all of them (``supports``).

    >>> text = "Anna works at the bakery. Ben works at the park. The bakery is in Rome."
    >>> [fact.text for fact in stated(text)]
    ['Anna works at the bakery', 'Ben works at the park', 'the bakery is in Rome']
    >>> path = [stated(text)[0], stated(text)[2]]
    >>> claim(path)
    'Anna works at the bakery and the bakery is in Rome.'
    >>> corrupted = removed(text, path[0])
    >>> corrupted
    'Anna asks about the bakery. Ben works at the park. The bakery is in Rome.'
    >>> supports(text, claim(path)), supports(corrupted, claim(path))
    (True, False)

What a claim's label cannot be told from: the words (the other chain has the same relations), the
entities (a removal keeps both), the length (a removal keeps the number of words). Sentences without
a relation tell little: originals have one to six of them, half of these about a pair that another
sentence relates, and zero to five facts beside the chains'.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.errors import HarnessError
from harness.testbed.english.facts import NAMES, RELATIONS, Fact
from harness.testbed.english.language import neutral_sentence, split_sentences
from harness.testbed.english.lexicon import TOPICS, words

SITES = words(
    """
    library castle market museum park school hotel tower station cottage theater bakery factory
    workshop palace shop office cabin bridge garden fountain statue
    """
)
ENTITIES: dict[str, tuple[str, ...]] = {
    "person": NAMES,
    "site": tuple(f"the {site}" for site in SITES),
    "city": RELATIONS["lives in"],
    "country": RELATIONS["visited"],
}
LINKS: dict[str, tuple[str, str]] = {
    "taught": ("person", "person"),
    "hired": ("person", "person"),
    "works at": ("person", "site"),
    "owns": ("person", "site"),
    "painted": ("person", "site"),
    "lives in": ("person", "city"),
    "was born in": ("person", "city"),
    "visited": ("person", "country"),
    "is in": ("site", "city"),
    "lies in": ("city", "country"),
}
"""The kinds of entity that a relation holds between."""

NEUTRAL: dict[tuple[bool, int], tuple[str, ...]] = {
    (True, 1): ("mentions", "remembers", "praises"),
    (True, 2): ("talks about", "thinks of", "asks about"),
    (True, 3): ("has heard of", "has read about", "likes talking about"),
    (False, 2): ("looks like", "feels like", "sounds like"),
}
"""Phrases that tell no relation, by whether their subject is a person and their number of words."""

KIND = {entity: kind for kind, names in ENTITIES.items() for entity in names}
_PATIENCE = 100
_ECHO = 0.5  # share of the sentences without a relation whose pair is related elsewhere


def _one_of(phrases: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, phrases), key=len, reverse=True))


_STATEMENT = re.compile(rf"({_one_of(KIND)}) ({_one_of(LINKS)}) ({_one_of(KIND)})")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a document holds: least and most of each; the default has 40 to 90 words or so.

    Attributes:
        chains: Chains of the same relations over different entities.
        hops: Facts of a chain.
        extras: Facts that hang on a chain's entity besides.
        neutral: Sentences about two entities without a relation.
        fillers: Sentences about none of the entities.
    """

    chains: tuple[int, int] = (2, 2)
    hops: tuple[int, int] = (3, 4)
    extras: tuple[int, int] = (0, 5)
    neutral: tuple[int, int] = (1, 6)
    fillers: tuple[int, int] = (0, 2)


def sentence(text: str) -> str:
    """A statement's words as a sentence."""
    return f"{text[0].upper()}{text[1:]}."


def parse(text: str) -> Fact | None:
    """The fact that a sentence states, with or without its full stop; None if it states none."""
    bare = text.strip().removesuffix(".")
    if bare.startswith("The "):
        bare = "t" + bare[1:]
    found = _STATEMENT.fullmatch(bare)
    if found is None:
        return None
    first, relation, second = found.groups()
    fits = LINKS[relation] == (KIND[first], KIND[second])
    return Fact(first, relation, second) if fits else None


@lru_cache(maxsize=4096)
def _stated(document: str) -> tuple[Fact, ...]:
    found = (parse(text) for text in split_sentences(document))
    return tuple(fact for fact in found if fact is not None)


def stated(document: str) -> list[Fact]:
    """The facts that a document states, in its order: the triples of its context graph."""
    return list(_stated(document))


def paths(facts: Sequence[Fact], hops: int) -> list[list[Fact]]:
    """Every connected path of so many facts that meets no entity twice, each once.

    Facts are edges without direction. A path's facts are in the order in which it runs; of its two
    directions the one is given that begins with the fact stated earlier.
    """
    found: dict[frozenset[Fact], list[Fact]] = {}

    def extend(path: list[Fact], seen: list[str]) -> None:
        if len(path) == hops:
            found.setdefault(frozenset(path), path)
            return
        for fact in facts:
            ends = (fact.name, fact.value)
            if seen[-1] in ends and not (fact in path or set(ends) <= set(seen)):
                extend([*path, fact], [*seen, ends[ends[0] == seen[-1]]])

    for fact in facts:
        extend([fact], [fact.name, fact.value])
        extend([fact], [fact.value, fact.name])
    return list(found.values())


def claim(path: Sequence[Fact]) -> str:
    """One sentence that states every fact of a path, and so names all its entities."""
    return sentence(" and ".join(fact.text for fact in path))


def claimed(text: str) -> list[Fact]:
    """The facts that a claim states.

    Raises:
        ValueError: The text is no claim of this testbed.
    """
    found = [parse(part) for part in text.strip().removesuffix(".").split(" and ")]
    facts = [fact for fact in found if fact is not None]
    if len(facts) < len(found):
        raise ValueError(f"{text!r} is no claim of the testbed's chains")
    return facts


def supports(document: str, text: str) -> bool:
    """The ground truth, from the texts alone: the document states every fact of the claim."""
    return set(claimed(text)) <= set(_stated(document))


def neutral(fact: Fact, rng: random.Random) -> str:
    """A sentence of as many words about the fact's two entities, without any relation."""
    phrases = NEUTRAL[KIND[fact.name] == "person", len(fact.relation.split())]
    return sentence(fact._replace(relation=rng.choice(phrases)).text)


def removed(document: str, fact: Fact) -> str:
    """The document with the one sentence rewritten that states the fact; entities and length stay.

    Raises:
        ValueError: The document does not state the fact.
    """
    if fact not in _stated(document):
        raise ValueError(f"the document does not state {fact.text!r}")
    rewritten = neutral(fact, random.Random(f"{fact.text} in {document}"))
    whole = rf"(?<!\S){re.escape(sentence(fact.text))}(?!\S)"
    return re.sub(whole, lambda found: rewritten, document)


def documents(n: int, seed: int, size: Size | None = None) -> Iterator[str]:
    """So many documents; those of other seeds differ.

    Raises:
        HarnessError: The testbed has too few entities for documents of this size.
    """
    rng = random.Random(f"chains {seed}")
    for _ in range(n):
        yield _document(size or Size(), rng)


def _document(size: Size, rng: random.Random) -> str:
    """Chains, facts that hang on them, sentences without a relation and fillers, shuffled."""
    facts = _facts(size, rng)
    lines = [sentence(fact.text) for fact in facts]
    lines += [_unrelated(facts, rng) for _ in range(rng.randint(*size.neutral))]
    topics = [topic for topic in TOPICS if topic not in SITES]
    for _ in range(rng.randint(*size.fillers)):
        lines.append(neutral_sentence("text", rng.choice(topics), rng))
    unique = list(dict.fromkeys(lines))
    rng.shuffle(unique)
    return " ".join(unique)


def _facts(size: Size, rng: random.Random) -> list[Fact]:
    for _ in range(_PATIENCE):
        pools = {kind: rng.sample(names, len(names)) for kind, names in ENTITIES.items()}
        facts: list[Fact] = []
        try:
            pattern = _pattern(rng.randint(*size.hops), rng)
            for _ in range(rng.randint(*size.chains)):
                facts += _chain(pattern, pools)
            for _ in range(rng.randint(*size.extras)):
                facts.append(_extra(facts, pools, rng))
        except IndexError:  # a pool is empty
            continue
        return facts
    raise HarnessError(f"the testbed has too few entities for documents of {size}")


def _pattern(hops: int, rng: random.Random) -> list[tuple[str, bool]]:
    """Relations that can follow each other, none twice, with their direction (True: forwards).

    Raises:
        IndexError: A draw of them came to an end before so many.
    """
    kind = rng.choice(list(ENTITIES))
    steps: list[tuple[str, bool]] = []
    while len(steps) < hops:
        used = {relation for relation, _ in steps}
        open_ = [
            (relation, forwards, ends[forwards])
            for relation, ends in LINKS.items()
            for forwards in (True, False)
            if ends[not forwards] == kind and relation not in used
        ]
        relation, forwards, kind = rng.choice(open_)
        steps.append((relation, forwards))
    return steps


def _chain(pattern: Sequence[tuple[str, bool]], pools: dict[str, list[str]]) -> list[Fact]:
    """Facts of these relations, each sharing an entity with the next; the entities are used up.

    Raises:
        IndexError: A kind of entity has run out.
    """
    relation, forwards = pattern[0]
    current = pools[LINKS[relation][not forwards]].pop()
    facts = []
    for relation, forwards in pattern:
        other = pools[LINKS[relation][forwards]].pop()
        ends = (current, other) if forwards else (other, current)
        facts.append(Fact(ends[0], relation, ends[1]))
        current = other
    return facts


def _extra(facts: Sequence[Fact], pools: dict[str, list[str]], rng: random.Random) -> Fact:
    """One more fact about an entity of a fact, of a relation that the document has already.

    Raises:
        IndexError: A kind of entity has run out.
    """
    relation = rng.choice(facts).relation
    place = rng.randrange(2)
    own, other = LINKS[relation][place], LINKS[relation][1 - place]
    known = {name for fact in facts for name in (fact.name, fact.value) if KIND[name] == own}
    ends = [rng.choice(sorted(known)), pools[other].pop()]
    return Fact(ends[place], relation, ends[1 - place])


def _unrelated(facts: Sequence[Fact], rng: random.Random) -> str:
    """A sentence without a relation, about two entities that a fact relates or that none does."""
    pairs = {frozenset((fact.name, fact.value)) for fact in facts}
    mixed = [
        Fact(one.name, one.relation, other.value)
        for one in facts
        for other in facts
        if LINKS[one.relation][1] == KIND[other.value]
        and one.name != other.value
        and frozenset((one.name, other.value)) not in pairs
    ]
    return neutral(rng.choice(facts if rng.random() < _ECHO or not mixed else mixed), rng)
