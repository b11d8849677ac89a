"""The steps of the generation pipeline; ``generation`` says what they are for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import HarnessError, Row
from harness.asking.assistant import Question
from harness.asking.desk import Desk
from harness_axbench.generation import questions as writing
from harness_axbench.generation.folder import EVAL, TRAIN, row_of, sae_columns
from harness_axbench.generation.seeds import ConceptSeed, Instructions, draw
from harness_axbench.generation.writers import Cutter

SHARES = {"code": 0.15, "math": 0.15}  # of detection negatives; the rest is text
CONCEPTS_AT_ONCE = 256  # bounds the memory that questions take
POSITIVE, NEGATIVE, HARD = "positive", "negative", "hard negative"
NO_CONCEPT = ("EEEEE", -1)  # output_concept and concept_id of rows that all concepts share


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many rows, and how long; the defaults are the paper's.

    Attributes:
        train_per_concept: Training positives of a concept.
        negatives_per_genre: Training negatives of a genre.
        eval_per_concept: Detection positives of a concept, and as many negatives.
        hard_per_concept: Hard negatives of a concept, at most.
        kept_tokens: What is kept of a writer's response, in the target model's tokens.
        target_tokens: The longest answer of the target model.
    """

    train_per_concept: int = 72
    negatives_per_genre: int = 72
    eval_per_concept: int = 36
    hard_per_concept: int = 9
    kept_tokens: int = 128
    target_tokens: int = 192


@dataclass(frozen=True)
class Draft:
    """A row to be written: all but its output."""

    concept: ConceptSeed
    table: str
    category: str
    genre: str
    instruction: str
    label: str
    question: Question
    word: str = ""


def negatives_by_genre(count: int, genres: Sequence[str]) -> dict[str, int]:
    """How many of a concept's detection negatives have each genre.

    >>> negatives_by_genre(36, ("text", "code", "math"))
    {'text': 26, 'code': 5, 'math': 5}
    """
    main = genres[0] if "text" not in genres else "text"
    few = {genre: int(count * SHARES[genre]) for genre in genres if genre != main}
    rest = count - sum(few.values())
    return {genre: few.get(genre, rest) for genre in genres}


class Pipeline:
    """Runs the steps over all concepts, and holds what they leave.

    Args:
        writer: The model that writes.
        target: The model whose answers are the training negatives.
        pools: Seed instructions.
        cutter: Cuts the writer's responses.
        sizes: How many rows, and how long.
        genres: The genres that concepts may have.
        seed: Seed of all draws.
        max_missing: The largest share of a concept's rows, and of concepts, that may be missing.

    Attributes:
        rows: The rows of each table.
        concepts: The concepts that have their rows.
        dropped: Those that have not, each with a reason.
        missing: Rows whose question stayed unanswered.
        counts: How many responses were cut, and how many hard negatives lack their word.
    """

    def __init__(
        self,
        writer: Desk,
        target: Desk,
        pools: Instructions,
        cutter: Cutter,
        sizes: Sizes,
        *,
        genres: Sequence[str],
        seed: int,
        max_missing: float,
    ) -> None:
        self._writer, self._target = writer, target
        self._pools, self._cutter, self._sizes = pools, cutter, sizes
        self._genres, self._seed, self._max_missing = tuple(genres), seed, max_missing
        self.rows: dict[str, list[Row]] = {TRAIN: [], EVAL: []}
        self.concepts: list[ConceptSeed] = []
        self.dropped: list[dict[str, Any]] = []
        self.missing: list[dict[str, Any]] = []
        self.counts = {"cut": 0, "hard_negatives_without_their_word": 0}

    def run(self, concepts: Sequence[ConceptSeed]) -> None:
        """All steps; first the cheap one of each model, so that one that fails does so early.

        Raises:
            HarnessError: A model refuses, or too much stays unanswered.
        """
        labelled = self._labelled(concepts)
        self._negatives()
        for start in range(0, len(labelled), CONCEPTS_AT_ONCE):
            part = labelled[start : start + CONCEPTS_AT_ONCE]
            senses = self._other_senses(part)
            self._respond([d for c in part for d in self._drafts(c, senses.get(c.id, []))])
            self._check_dropped(len(concepts))

    def _check_dropped(self, total: int) -> None:
        if len(self.dropped) <= self._max_missing * total:
            return
        first = self.dropped[0]
        raise HarnessError(
            f"{len(self.dropped)} of {total} concepts miss too many rows, more than --max-missing "
            f"{self._max_missing}: the first is {first['concept_id']} ({first['reason']}). "
            f"{self._writer.assistant.kept} A rerun asks only what is missing"
        )

    def _negatives(self) -> None:
        """Training negatives of every genre."""
        pairs = [
            (genre, instruction)
            for genre in self._genres
            for instruction in draw(
                *(self._pools.train[genre], self._sizes.negatives_per_genre),
                *(self._seed, "training negatives", genre),
            )
        ]
        questions = [writing.ask_plain(instruction, genre) for genre, instruction in pairs]
        outputs = self._target.ask("negatives", questions, writing.parse_plain)
        for (genre, instruction), output in zip(pairs, outputs, strict=True):
            if output is None:
                self._note_missing(NO_CONCEPT[1], NEGATIVE, instruction)
            else:
                row = row_of(instruction, output, NO_CONCEPT, genre, NEGATIVE)
                self.rows[TRAIN].append(row)
        self._target.dismiss()

    def _labelled(self, concepts: Sequence[ConceptSeed]) -> list[ConceptSeed]:
        """The concepts with a genre each; those that get none are dropped."""
        genres = self._genres
        if len(genres) == 1:
            return [replace(concept, genre=genres[0]) for concept in concepts]
        asked = [concept for concept in concepts if concept.genre is None]
        questions = [writing.ask_genre(concept.text, concept.id, genres) for concept in asked]
        labels = self._writer.ask("genre", questions, lambda a: writing.parse_genre(a, genres))
        found = {concept.id: label for concept, label in zip(asked, labels, strict=True)}
        labelled = [replace(c, genre=c.genre or found[c.id]) for c in concepts]
        for concept in labelled:
            if concept.genre is None:
                self._drop(concept, "no genre")
        return [concept for concept in labelled if concept.genre is not None]

    def _other_senses(self, concepts: Sequence[ConceptSeed]) -> dict[int, list[tuple[str, str]]]:
        """Words of each concept with another sense that is unrelated to it."""
        most = self._sizes.hard_per_concept
        if not most:
            return {}
        ask = self._writer.ask
        asked = [writing.ask_words(concept.text, concept.id) for concept in concepts]
        named = ask("words", asked, writing.parse_words)
        pairs = [
            (c, word) for c, words in zip(concepts, named, strict=True) for word in words or ()
        ]
        asked = [writing.ask_sense(concept.text, concept.id, word) for concept, word in pairs]
        senses = ask("senses", asked, writing.parse_sense)
        known = [(*pair, sense) for pair, sense in zip(pairs, senses, strict=True) if sense]
        asked = [writing.ask_unrelated(c.text, c.id, word, sense) for c, word, sense in known]
        verdicts = ask("unrelated", asked, writing.parse_unrelated)
        found: dict[int, list[tuple[str, str]]] = {}
        for (concept, word, sense), verdict in zip(known, verdicts, strict=True):
            own = found.setdefault(concept.id, [])
            if verdict and len(own) < most:
                own.append((word, sense))
        return found

    def _drafts(self, concept: ConceptSeed, senses: Sequence[tuple[str, str]]) -> Iterator[Draft]:
        """A concept's rows in their order: positives, negatives, hard negatives."""
        sizes, seed = self._sizes, self._seed
        own = str(concept.genre)
        purpose = (seed, "training positives", concept.id)
        for text in draw(self._pools.train[own], sizes.train_per_concept, *purpose):
            yield self._draft(concept, TRAIN, POSITIVE, genre=own, instruction=text)
        share = negatives_by_genre(sizes.eval_per_concept, self._genres)
        drawn: dict[str, Iterator[str]] = {}
        for genre in self._genres:
            count = share[genre]
            if genre == own:
                count += sizes.eval_per_concept + sizes.hard_per_concept
            purpose = (seed, f"evaluation {genre}", concept.id)
            drawn[genre] = iter(draw(self._pools.evaluation[genre], count, *purpose))
        for text in itertools.islice(drawn[own], sizes.eval_per_concept):
            yield self._draft(concept, EVAL, POSITIVE, genre=own, instruction=text)
        for genre in self._genres:
            for text in itertools.islice(drawn[genre], share[genre]):
                yield self._draft(concept, EVAL, NEGATIVE, genre=genre, instruction=text)
        for (word, sense), text in zip(senses, drawn[own], strict=False):
            yield self._draft(
                *(concept, EVAL, HARD), genre=own, instruction=text, word=word, sense=sense
            )

    def _draft(
        self,
        concept: ConceptSeed,
        table: str,
        category: str,
        *,
        genre: str,
        instruction: str,
        word: str = "",
        sense: str = "",
    ) -> Draft:
        question = writing.ask_response(
            *(concept.text, concept.id, instruction),
            genre=genre,
            category=category,
            tokens=self._sizes.kept_tokens,
            word=word,
            sense=sense,
        )
        label = f"{word}//{sense}" if word else concept.text
        return Draft(concept, table, category, genre, instruction, label, question, word)

    def _respond(self, drafts: Sequence[Draft]) -> None:
        """Have the drafts' outputs written, and take in the concepts that miss few of them."""
        questions = [draft.question for draft in drafts]
        outputs = self._writer.ask("responses", questions, writing.parse_response)
        pairs = zip(drafts, outputs, strict=True)
        for _, own in itertools.groupby(pairs, key=lambda pair: pair[0].concept.id):
            self._take(list(own))

    def _take(self, pairs: Sequence[tuple[Draft, str | None]]) -> None:
        """One concept's rows, unless it misses too many."""
        concept = pairs[0][0].concept
        groups = {(draft.table, draft.category) for draft, output in pairs if output}
        whole = {(TRAIN, POSITIVE), (EVAL, POSITIVE), (EVAL, NEGATIVE)} <= groups
        missing = sum(output is None for _, output in pairs)
        if not whole or missing > self._max_missing * len(pairs):
            self._drop(concept, f"{missing} of {len(pairs)} responses missing")
            return
        self.concepts.append(concept)
        for draft, output in pairs:
            if output is None:
                self._note_missing(concept.id, draft.category, draft.instruction)
            else:
                self.rows[draft.table].append(self._finished(draft, output))

    def _finished(self, draft: Draft, output: str) -> Row:
        text = self._cutter.cut(output, self._sizes.kept_tokens)
        self.counts["cut"] += text != output
        if draft.word.casefold() not in text.casefold():
            self.counts["hard_negatives_without_their_word"] += 1
        label = (draft.label, draft.concept.id)
        row = row_of(draft.instruction, text, label, draft.genre, draft.category)
        return row if draft.table == TRAIN else row | sae_columns(draft.concept.ref)

    def _note_missing(self, number: int, category: str, instruction: str) -> None:
        place = {"concept_id": number, "category": category, "instruction": instruction}
        self.missing.append(place)

    def _drop(self, concept: ConceptSeed, reason: str) -> None:
        place = {"concept_id": concept.id, "concept": concept.text, "reason": reason}
        self.dropped.append(place)
