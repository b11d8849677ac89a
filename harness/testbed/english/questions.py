"""Multi-hop questions on documents of chains, in MuSiQue's form."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.testbed.english.chains import ENTITIES, KIND, Size, documents, paths, sentence, stated
from harness.testbed.english.facts import Fact
from harness.testbed.english.language import split_sentences

_BLANK = re.compile(rf"\b[Ww]hich ({'|'.join(ENTITIES)})\b")


def questions(n: int, seed: int, size: Size | None = None) -> Iterator[dict[str, Any]]:
    """Questions, each on a document that is cut into paragraphs.

    A question states a path of two to four facts but for one entity at its end, the answer. Each
    fact of the path is in a supporting paragraph of its own; there are up to as many others.

        Anna works at the bakery and the bakery is in which city?  Rome
    """
    rng = random.Random(f"questions {seed}")
    for number, document in enumerate(documents(n, seed, size)):
        facts = stated(document)
        every = [found for hops in (2, 3, 4) if (found := paths(facts, hops))]
        path = rng.choice(rng.choice(every))
        yield _asked(path, document, f"testbed-{seed}-{number}", rng)


def _asked(path: Sequence[Fact], document: str, name: str, rng: random.Random) -> dict[str, Any]:
    before, last = path[-2], path[-1]
    answer = last.value if last.name in (before.name, before.value) else last.name
    blank = Fact(*(f"which {KIND[answer]}" if part == answer else part for part in last))
    text = sentence(" and ".join(fact.text for fact in (*path[:-1], blank))).rstrip(".") + "?"
    own = [sentence(fact.text) for fact in path]
    groups: list[list[str]] = [[line] for line in own] + [[] for _ in own]
    for line in split_sentences(document):
        if line not in own:
            group = rng.choice(groups)
            group.insert(rng.randint(0, len(group)), line)
    paragraphs = [
        {"paragraph_text": " ".join(group), "is_supporting": place < len(own)}
        for place, group in enumerate(groups)
        if group
    ]
    rng.shuffle(paragraphs)
    return {"id": name, "question": text, "answer": answer, "paragraphs": paragraphs}


def answered(question: str, answer: str) -> str:
    """The claim that a question makes with its answer.

    >>> answered("Anna works at the bakery and the bakery is in which city?", "Rome")
    'Anna works at the bakery and the bakery is in Rome.'
    """
    return sentence(_BLANK.sub(answer, question).rstrip("?"))
