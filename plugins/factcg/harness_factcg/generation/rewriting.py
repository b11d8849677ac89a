r"""Texts whose sentences are rewritten one by one, so that all else stays as it is.

A passage is one or more paragraphs, of which some are evidence. The evidence's sentences are
numbered; a writer names the numbers of those to change and their new words. Every other character
of the passage stays, so a relation cannot be removed by dropping the text around it.

Worked example: a document of one paragraph.

    >>> text = Passage.of("Anna works for Borealis. Borealis is in Rome.")
    >>> text.sentences
    ('Anna works for Borealis.', 'Borealis is in Rome.')
    >>> text.rewritten({1: "Anna has heard of Borealis."})
    'Anna has heard of Borealis. Borealis is in Rome.'
    >>> trouble(text, {1: "Anna has a job."}, "Anna", "Borealis", "Anna works for Borealis.")
    "sentence 1 no longer names 'Borealis'"

A removal counts if it changes the words of a sentence that names both entities (if one does), keeps
both of them in it, keeps it one sentence of about its length, and leaves the relation's own
sentence nowhere.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness_factcg.checking.chunking import split_sentences
from harness_factcg.generation.graphs import entity

SHORTEST, LONGEST, SLACK = 0.5, 2.0, 3
"""A rewritten sentence has half to twice the words, give or take three."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Passage:
    """Paragraphs, joined by line breaks; those whose ``evidence`` is true may be rewritten."""

    paragraphs: tuple[str, ...]
    evidence: tuple[bool, ...]

    @classmethod
    def of(cls, text: str) -> Passage:
        """A document of one paragraph, all of it evidence."""
        return cls((text,), (True,))

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.paragraphs)

    @property
    def shown(self) -> str:
        """The evidence alone."""
        return "\n".join(
            text for text, own in zip(self.paragraphs, self.evidence, strict=True) if own
        )

    @functools.cached_property
    def sentences(self) -> tuple[str, ...]:
        """The evidence's sentences in order; the first has number 1."""
        return tuple(split_sentences(self.shown))

    def rewritten(self, changes: Mapping[int, str]) -> str:
        """All of it, with the sentences of these numbers replaced.

        Raises:
            KeyError: There is no such sentence.
        """
        unknown = set(changes) - set(range(1, len(self.sentences) + 1))
        if unknown:
            raise KeyError(f"no sentence {min(unknown)}")
        number, found = 0, []
        for text, own in zip(self.paragraphs, self.evidence, strict=True):
            parts, start = [], 0
            for sentence in split_sentences(text) if own else ():
                number += 1
                place = text.index(sentence, start)
                parts += [text[start:place], changes.get(number, sentence)]
                start = place + len(sentence)
            found.append("".join([*parts, text[start:]]))
        return "\n".join(found)


def names(text: str, name: str) -> bool:
    """Whether a text has an entity's name, as whole words; case and white space do not matter.

    >>> names("The  Bakery is in Rome.", "the bakery"), names("Annabel works.", "Anna")
    (True, False)
    """
    wanted = entity(name)
    return bool(wanted) and bool(
        re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", entity(text), re.UNICODE)
    )


def bare(text: str) -> list[str]:
    """A text's words alone: what two sentences differ in if they differ in more than signs."""
    return _WORD.findall(text.casefold())


def trouble(
    passage: Passage, changes: Mapping[int, str], head: str, tail: str, relation: str
) -> str:
    """Why a rewriting does not remove the relation of a pair; empty if nothing speaks against it.

    Args:
        passage: The original.
        changes: New words by sentence number.
        head: One entity.
        tail: The other.
        relation: The sentence that states how they are related.
    """
    return next(_reasons(passage, changes, head, tail, relation), "")


def _reasons(
    passage: Passage, changes: Mapping[int, str], head: str, tail: str, relation: str
) -> Iterator[str]:
    """What speaks against a rewriting, the plainest first."""
    sentences = dict(enumerate(passage.sentences, start=1))
    if not changes:
        yield "no sentence is changed"
    if unknown := sorted(set(changes) - set(sentences)):
        yield f"there is no sentence {unknown[0]}"
    both = {k for k, text in sentences.items() if names(text, head) and names(text, tail)}
    if both and not both & set(changes):
        yield f"no sentence is changed that names {head!r} and {tail!r}"
    for number, new in changes.items():
        if reason := _unfit(sentences[number], new, (head, tail)):
            yield f"sentence {number} {reason}"
    corrupted = passage.rewritten(changes)
    for name in (head, tail):
        if not names(corrupted, name):
            yield f"{name!r} is gone"
    if len(split_sentences(corrupted)) != len(split_sentences(passage.text)):
        yield "the number of sentences has changed"
    if names(corrupted, relation.rstrip(" .!?")):
        yield "the relation's sentence is still there"


def _unfit(old: str, new: str, entities: tuple[str, str]) -> str:
    """What is wrong with one new sentence."""
    if "\n" in new or len(split_sentences(new)) != 1:
        return "is not one sentence any more"
    if bare(old) == bare(new):
        return "has the same words as before"
    before, after = len(old.split()), len(new.split())
    if not before * SHORTEST - SLACK <= after <= before * LONGEST + SLACK:
        return f"has {after} words, not about {before}"
    for name in entities:
        if names(old, name) and not names(new, name):
            return f"no longer names {name!r}"
    return ""
