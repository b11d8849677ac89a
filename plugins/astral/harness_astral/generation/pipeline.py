"""The steps that fill a suite's cells; ``generate`` says what they are for.

Each step asks for all that is open in one batch, takes the answers in the inputs' order, however
they arrived, and asks again for what was refused or is a near duplicate of an earlier input: with
other material and another seed, ``retries`` times at most. What is open then is a hole. So the
inputs follow from the answers alone, and each answer is on disk before it is used.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import Question
from harness.asking.desk import Desk
from harness.asking.store import key_of
from harness_astral.generation import questions
from harness_astral.generation.duplicates import Index
from harness_astral.generation.questions import Material
from harness_astral.generation.retrieval import Retriever, drawn
from harness_astral.generation.web import Snippet
from harness_astral.requests import BENIGN, PROBE
from harness_astral.suites.coverage import Plan
from harness_astral.suites.factors import Factors, Level
from harness_astral.suites.messages import Message, read_message
from harness_astral.suites.suite import Input

REFUSED, DUPLICATE, UNANSWERED = "refused", "duplicate", "unanswered"
_VOTES = 1_000_000  # of all seeds


@dataclass(frozen=True)
class Slot:
    """A place for one input.

    Attributes:
        levels: Category, style, persuasion technique.
        replicate: Its number in the cell, from 0.
        kind: ``probe`` or ``benign``.
        twin_of: Of a benign input, its probe.
    """

    levels: tuple[Level, Level, Level]
    replicate: int
    kind: str = PROBE
    twin_of: Input | None = None

    @property
    def names(self) -> tuple[str, str, str]:
        """The cell."""
        category, style, persuasion = self.levels
        return category.name, style.name, persuasion.name


@dataclass(frozen=True)
class Hole:
    """A place that stayed empty, and why."""

    category: str
    style: str
    persuasion: str
    replicate: int
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all inputs of a suite have in common.

    Attributes:
        variant: ``rag``, ``rag_fs`` or ``rag_fs_ts``.
        factors: The factors.
        retriever: Of the seeds.
        snippets: From the web, by category.
        retrieved: Seeds that the generator sees.
        shown_snippets: Snippets that it sees.
        retries: How often a place is asked for again.
        seed: Of all draws.
        template: Hash of all that shapes a question.
        generator: The generator, for the rows.
        identity: What its answers depend on.
        created: The date.
    """

    variant: str
    factors: Factors
    retriever: Retriever
    snippets: dict[str, list[Snippet]]
    retrieved: int
    shown_snippets: int
    retries: int
    seed: int
    template: str
    generator: str
    identity: str
    created: str


class Pipeline:
    """Fills the cells, and holds what was left.

    Args:
        desk: The generator; leaves open what it does not answer.
        setting: What all inputs have in common.

    Attributes:
        outcomes: By kind: how many were ``written``, and how many answers were ``refused``,
            ``duplicate`` or ``unanswered``.
        holes: Places that stayed empty.
    """

    def __init__(self, desk: Desk, setting: Setting) -> None:
        self._desk, self._setting = desk, setting
        self.outcomes: dict[str, Counter[str]] = {}
        self.holes: list[Hole] = []

    def probes(self, plan: Plan) -> list[Input]:
        """The inputs of a plan's cells, in order."""
        factors = self._setting.factors
        slots = [
            Slot((factors.category[i], factors.style[j], factors.persuasion[k]), replicate)
            for i, j, k in plan.cells
            for replicate in range(plan.replicates)
        ]
        return self._fill(slots, self._asked)

    def twins(self, probes: Sequence[Input]) -> list[Input]:
        """A harmless counterpart of each probe."""
        factors = self._setting.factors
        slots = [
            Slot(
                (
                    factors.level("category", one.category),
                    factors.level("style", one.style),
                    factors.level("persuasion", one.persuasion),
                ),
                one.replicate,
                BENIGN,
                one,
            )
            for one in probes
        ]
        return self._fill(slots, self._asked_twin)

    def _fill(
        self, slots: Sequence[Slot], asked: Callable[[Slot, int], tuple[Question, Material]]
    ) -> list[Input]:
        """The inputs of the places that could be filled, in the places' order."""
        if not slots:
            return []
        kind = slots[0].kind
        outcomes = self.outcomes.setdefault(kind, Counter())
        filled: dict[int, Input] = {}
        seen = Index()
        left = dict.fromkeys(range(len(slots)), "")
        for attempt in range(1 + self._setting.retries):
            open_places = [place for place, why in left.items() if why != UNANSWERED]
            drafts = [asked(slots[place], attempt) for place in open_places]
            step = kind if attempt == 0 else f"{kind}, again"
            replies = self._desk.ask(step, [q for q, _ in drafts], read_message)
            for place, (_, material), reply in zip(open_places, drafts, replies, strict=True):
                left[place] = _trouble(reply, place, seen)
                outcomes[left[place] or "written"] += 1
                if reply is not None and not left[place]:
                    filled[place] = self._input(slots[place], reply.text, material)
                    del left[place]
        for place, why in left.items():
            category, style, persuasion = slots[place].names
            self.holes.append(Hole(category, style, persuasion, slots[place].replicate, kind, why))
        return [filled[place] for place in sorted(filled)]

    def _asked(self, slot: Slot, attempt: int) -> tuple[Question, Material]:
        setting = self._setting
        draw = random.Random(
            key_of(seed=setting.seed, cell=slot.names, n=[slot.replicate, attempt])
        )
        seeds = drawn(setting.retriever.rank(*slot.levels), setting.retrieved, draw)
        few_shot = setting.variant != questions.RAG
        snippets: list[Snippet] = []
        if setting.variant == questions.WEB:
            snippets = drawn(setting.snippets[slot.names[0]], setting.shown_snippets, draw)
        material = Material(seeds, snippets, few_shot)
        question = questions.ask_probe(slot.levels, material, _version(slot, attempt), self._vote)
        return question, material

    def _asked_twin(self, slot: Slot, attempt: int) -> tuple[Question, Material]:
        assert slot.twin_of is not None
        probe, version = slot.twin_of.prompt, _version(slot, attempt)
        return questions.ask_twin(slot.levels, probe, version, self._vote), Material(())

    @property
    def _vote(self) -> int:
        """The same for all: lm-eval asks together what has the same seed."""
        return self._setting.seed % _VOTES

    def _input(self, slot: Slot, text: str, material: Material) -> Input:
        setting = self._setting
        category, style, persuasion = slot.names
        return Input(
            id=key_of(
                cell=slot.names,
                replicate=slot.replicate,
                kind=slot.kind,
                seed=setting.seed,
                template=setting.template,
                generator=setting.identity,
            )[:16],
            category=category,
            style=style,
            persuasion=persuasion,
            replicate=slot.replicate,
            prompt=text,
            kind=slot.kind,
            twin_of=slot.twin_of.id if slot.twin_of else None,
            generator=setting.generator,
            retrieved=tuple(seed.id for seed in material.seeds),
            snippets=tuple(one.id for one in material.snippets),
            seed=setting.seed,
            created=setting.created,
        )

    def account(self) -> dict[str, Any]:
        """Outcomes and holes, for the manifest."""
        return {
            "outcomes": {kind: dict(counts) for kind, counts in self.outcomes.items()},
            "holes": [asdict(hole) for hole in self.holes],
        }


def _version(slot: Slot, attempt: int) -> str:
    """Tells a place's question from the others of its cell, and from those asked before.

    >>> _version(Slot((Level("a", ""),) * 3, 1), 0)
    '2.1'
    """
    return f"{slot.replicate + 1}.{attempt + 1}"


def _trouble(reply: Message | None, place: int, seen: Index) -> str:
    """Why an answer does not fill its place; empty if it does."""
    if reply is None:
        return UNANSWERED
    if reply.declined:
        return REFUSED
    return "" if seen.take(str(place), reply.text) is None else DUPLICATE
