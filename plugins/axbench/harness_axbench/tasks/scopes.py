"""Which generations a judge has to see: ``--metadata judge_scope=all|score|race``.

Of F factors × (S selection + T test instructions) of a concept the score needs F × S, which choose
the factor, and T, which are averaged there. With AxBench's 14 factors and 5 + 5 instructions:

    all     every response                                                140 a concept
    score   all selection responses, then the test ones at the factor      75, 54 %
    race    successive halving over the factors, then the same        38 to 75, from 27 %

**score** is the score of ``all``: the factor is the one that the metric chooses. Where a rating is
missing, the test responses are judged at each factor that it could have chosen, so that the bounds
are those of ``all`` too.

**race** (Karnin, Koren & Somekh 2013; Jamieson & Talwalkar 2016, arXiv 1502.07943) judges the first
selection instruction at every factor, the second at the better half, the others at the better half
of these, and chooses among the last as the metric does. Where all factors are equal, as where none
has shown the concept yet, all go on. Equals at the edge of a half go by the mean over their
neighbours on the scale of factors too, then the weaker goes on; a missing rating counts as the
highest until its factor is out. That the best factor survives is a heuristic: with five
responses a factor, bounds that hold for any distribution (Hoeffding–Serfling, 95 % over 14 factors:
± 2.2 of a range of 2 after two of five) eliminate nothing. So the error is measured instead: one
concept in ten (``AUDITED``; by a hash of its number) has all its selection responses judged after
the race. Its factor is then that of ``all``; how many of these races had chosen it is in the
results, with Wilson's 95 % interval, which holds for the other concepts as far as concepts are
exchangeable. It costs some 3 % of ``all``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness import Row, wilson
from harness_axbench.metrics import SELECT, TEST, chosen_factor, factors_in
from harness_axbench.metrics.concept_mean import Item
from harness_axbench.metrics.steering import HIGHEST, possible_factors, score

ROUNDS = (1, 2)
"""Selection instructions behind each halving; all of them behind the choice."""
AUDITED = 0.1

Plan = Iterator[Sequence[int]]
"""Places to judge next; the items at them are replaced before the next are asked for."""


def score_plan(items: Sequence[Item]) -> Plan:
    """The selection half, then the test half at the factors that can be the chosen one.

    Args:
        items: What the metrics know of each generation, brought up to date between rounds.
    """
    yield [place for place, item in enumerate(items) if item["split"] == SELECT]
    yield _tests(items)


def _tests(items: Sequence[Item]) -> list[int]:
    found = []
    for places in _concepts(items).values():
        possible = set(possible_factors([items[place] for place in places]))
        found += [p for p in places if items[p]["split"] == TEST and items[p]["factor"] in possible]
    return found


def _concepts(items: Sequence[Item]) -> dict[int, list[int]]:
    """Places of each concept's items."""
    found: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        found.setdefault(item["concept_id"], []).append(place)
    return found


@dataclass
class Race:
    """Successive halving over each concept's factors.

    Attributes:
        docs: The rows.
        items: What the metrics know of each generation, brought up to date between rounds.
        agreed: Of each audited concept, whether its race chose the factor of a full selection.
    """

    docs: Sequence[Row]
    items: Sequence[Item]
    agreed: dict[int, bool] = field(default_factory=dict)

    def plan(self) -> Plan:
        """The rounds of the race, the audit, and the test half at the factors chosen."""
        lanes = [_Lane(self.docs, self.items, places) for places in _concepts(self.items).values()]
        for seen in ROUNDS:
            yield [place for lane in lanes for place in lane.next(seen)]
            for lane in lanes:
                lane.halve()
        yield [place for lane in lanes for place in lane.next(None)]
        audited = [lane for lane in lanes if lane.concept in _audited(lanes)]
        raced = [lane.chosen() for lane in audited]
        yield [place for lane in audited for place in lane.rest()]
        self.agreed = {
            lane.concept: lane.chosen() == before
            for lane, before in zip(audited, raced, strict=True)
        }
        yield _tests(self.items)

    def note(self) -> Row:
        """What the results say of its error."""
        agreed, audited = sum(self.agreed.values()), len(self.agreed)
        interval = list(wilson(agreed, audited)) if audited else None
        return {"audited": audited, "agreed": agreed, "agreement_ci95": interval}


def _audited(lanes: Sequence[_Lane]) -> set[int]:
    """A tenth of the concepts, the same in every run on the same concepts."""
    ids = sorted(lane.concept for lane in lanes)
    ids.sort(key=lambda number: hashlib.sha256(str(number).encode()).digest())
    return set(ids[: math.ceil(AUDITED * len(ids))])


class _Lane:
    """One concept's selection responses.

    Args:
        docs: All rows.
        items: All items, which change.
        places: The concept's places among them.
    """

    def __init__(self, docs: Sequence[Row], items: Sequence[Item], places: Sequence[int]) -> None:
        self._items = items
        self._places = [place for place in places if items[place]["split"] == SELECT]
        texts = dict.fromkeys(docs[place]["instruction"] for place in self._places)
        order = {text: number for number, text in enumerate(texts)}
        self._rank = {place: order[docs[place]["instruction"]] for place in self._places}
        self._asked: set[int] = set()
        self.concept: int = items[places[0]]["concept_id"]
        self.factors = factors_in([items[place] for place in self._places])

    def next(self, seen: int | None) -> list[int]:
        """What is not yet asked of the first so many instructions, at the factors in the race."""
        wanted = [
            place
            for place in self.rest()
            if self._items[place]["factor"] in self.factors
            and (seen is None or self._rank[place] < seen)
        ]
        self._asked.update(wanted)
        return wanted

    def rest(self) -> list[int]:
        """What is not yet asked at any factor."""
        return [place for place in self._places if place not in self._asked]

    def chosen(self) -> float | None:
        """The factor that the metric would choose now."""
        return chosen_factor([self._items[place] for place in self._places])

    def halve(self) -> None:
        """Let the better half of the factors go on, of an odd number the larger part.

        Where all are equal nothing is known of them, and all go on.
        """
        means = [self._mean(factor) for factor in self.factors]
        if len(set(means)) < 2:
            return

        def standing(place: int) -> tuple[float, float]:
            near = means[max(place - 1, 0) : place + 2]
            return means[place], sum(near) / len(near)

        order = sorted(range(len(means)), key=standing, reverse=True)  # of equals the first, weaker
        kept = set(order[: math.ceil(len(order) / 2)])
        self.factors = [factor for place, factor in enumerate(self.factors) if place in kept]

    def _mean(self, factor: float) -> float:
        own = [score(self._items[p], HIGHEST) for p in self._asked
               if self._items[p]["factor"] == factor]  # fmt: skip
        return sum(own) / len(own) if own else 0.0
