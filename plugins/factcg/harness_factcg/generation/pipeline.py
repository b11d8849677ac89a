"""The steps of CG2C generation; ``generation`` says what they are for."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness import Row
from harness.artefacts.writing import whole
from harness.asking.desk import Desk
from harness_factcg.generation import graphs
from harness_factcg.generation import questions as writing
from harness_factcg.generation.graphs import Path, Triple
from harness_factcg.generation.questions import Claim, Numbers, Sentences, Triples
from harness_factcg.generation.rewriting import names
from harness_factcg.generation.sources import Item, Kind

Scores = Callable[[Sequence[tuple[str, str]]], Sequence[float]]
"""P(supported) of each (document, claim)."""


@dataclass(frozen=True)
class Draft:
    """A pair to be made: all but the text without the relation."""

    id: str
    item: Item
    claim: str
    hops: int
    removed: Triple


class Pipeline:
    """Runs the steps over all items, and holds what they leave.

    Args:
        writer: The model that writes.
        kind: What the items are.
        hops: Lengths of paths that claims are made of (``doc``).
        per_document: Claims of a document, at most (``doc``).
        seed: Seed of all draws.

    Attributes:
        left_out: How many items or pairs were left out, by reason.
        ungrounded: Triples left out since the text does not name their entities.
    """

    def __init__(
        self, writer: Desk, *, kind: Kind, hops: Sequence[int], per_document: int, seed: int
    ) -> None:
        self._writer, self._kind = writer, kind
        self._hops, self._per_document, self._seed = tuple(hops), per_document, seed
        self.left_out: Counter[str] = Counter()
        self.ungrounded = 0

    def run(self, items: Sequence[Item]) -> list[Row]:
        """The rows: a positive and its negative, pair by pair.

        Raises:
            HarnessError: The writer refuses, or leaves too much unanswered.
        """
        drafts = self._documents(items) if self._kind == "doc" else self._questions(items)
        questions = [writing.ask_removal(own.item.passage, own.removed) for own in drafts]
        answers = self._writer.ask("removal", questions, _reader(Sentences))
        rows: list[Row] = []
        for draft, answer in zip(drafts, answers, strict=True):
            if answer is None:
                self.left_out["no text without the relation"] += 1
                continue
            passage = draft.item.passage
            for label, text in ((1, passage.text), (0, passage.rewritten(answer.changes()))):
                rows.append(
                    {
                        "doc": whole(text),
                        "claim": whole(draft.claim),
                        "label": label,
                        "hops": draft.hops,
                        "pair_id": draft.id,
                        "source": self._kind,
                        "removed": [whole(part) for part in draft.removed],
                    }
                )
        return rows

    def _graphs(self, items: Sequence[Item]) -> list[list[Triple]]:
        """Each item's triples whose two entities its evidence names; empty without an answer."""
        questions = [writing.ask_graph(item.passage.shown) for item in items]
        answers = self._writer.ask("graph", questions, _reader(Triples))
        found = []
        for item, answer in zip(items, answers, strict=True):
            triples = answer.found() if answer else []
            kept = [own for own in triples if _grounded(own, item.passage.shown)]
            self.ungrounded += len(triples) - len(kept)
            found.append(kept)
        return found

    def _documents(self, items: Sequence[Item]) -> list[Draft]:
        """CG2C-Doc: claims from paths."""
        chosen: list[tuple[Item, int, Path, Triple]] = []
        for item, triples in zip(items, self._graphs(items), strict=True):
            drawn = list(self._drawn(item, triples))
            self.left_out["no path of the wanted hops" if triples else "no triples"] += not drawn
            chosen += [(item, number, *own) for number, own in enumerate(drawn)]
        questions = [writing.ask_claim(path) for _, _, path, _ in chosen]
        answers = self._writer.ask("claim", questions, _reader(Claim))
        drafts = []
        for (item, number, path, triple), answer in zip(chosen, answers, strict=True):
            if answer is None:
                self.left_out["no claim"] += 1
                continue
            drafts.append(
                Draft(f"{item.id}-{number}", item, answer.claim, len(path.triples), triple)
            )
        return drafts

    def _drawn(self, item: Item, triples: Sequence[Triple]) -> Iterator[tuple[Path, Triple]]:
        """Different paths of the largest connected part, and a triple of each to be removed."""
        rng = random.Random(f"paths {self._seed} {item.id}")
        connected = graphs.largest_component(triples)
        open_ = {hops: graphs.paths(connected, hops) for hops in self._hops}
        for _ in range(self._per_document):
            lengths = [hops for hops, paths in open_.items() if paths]
            if not lengths:
                return
            paths = open_[rng.choice(lengths)]
            path = paths.pop(rng.randrange(len(paths)))
            yield path, rng.choice(path.triples)

    def _questions(self, items: Sequence[Item]) -> list[Draft]:
        """CG2C-MHQA: claims from questions and their answers."""
        asked = [writing.ask_statement(item.question, item.answer) for item in items]
        claims = self._writer.ask("statement", asked, _reader(Claim))
        told = [(item, own.claim) for item, own in zip(items, claims, strict=True) if own]
        self.left_out["no claim"] += len(items) - len(told)
        found = self._graphs([item for item, _ in told])
        grown = [(*own, triples) for own, triples in zip(told, found, strict=True) if triples]
        self.left_out["no triples"] += len(told) - len(grown)
        asked = [writing.ask_subgraph(triples, claim) for _, claim, triples in grown]
        answers = self._writer.ask("subgraph", asked, _reader(Numbers))
        drafts = []
        for (item, claim, triples), answer in zip(grown, answers, strict=True):
            rest = [triples[number - 1] for number in answer.triples] if answer else []
            pairs = [triple for triple in rest if len(triple.pair) == 2]
            if not pairs:
                self.left_out["no triples that the claim rests on"] += 1
                continue
            triple = random.Random(f"triple {self._seed} {item.id}").choice(pairs)
            drafts.append(Draft(f"{item.id}-0", item, claim, graphs.hops(rest), triple))
        return drafts


def _reader(form: type[writing.F]) -> Callable[[str], writing.F | None]:
    return lambda answer: writing.read(answer, form)


def _grounded(triple: Triple, text: str) -> bool:
    return names(text, triple.head) and names(text, triple.tail)


def hard(rows: Sequence[Row], scores: Scores) -> list[Row]:
    """The rows of the pairs that a classifier gets wrong: either of the two at 0.5.

    Args:
        rows: A positive and its negative, pair by pair.
        scores: P(supported) of (document, claim) pairs.
    """
    found = scores([(row["doc"], row["claim"]) for row in rows])
    right = [(score > 0.5) == bool(row["label"]) for row, score in zip(rows, found, strict=True)]
    wrong = [not (right[k] and right[k + 1]) for k in range(0, len(rows), 2)]
    return [row for place, row in enumerate(rows) if wrong[place // 2]]
