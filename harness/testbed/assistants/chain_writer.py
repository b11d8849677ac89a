"""What the testbed's writer answers to the steps of CG2C: chains of facts, by rule, as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.testbed.english import chains
from harness.testbed.english.facts import Fact
from harness.testbed.english.questions import answered

Facts = Mapping[str, Any]


def _read(lines: Sequence[str]) -> list[Fact]:
    """The facts that statements make.

    Raises:
        HarnessError: One is not in the testbed's English.
    """
    found = [chains.parse(line) for line in lines]
    for line, fact in zip(lines, found, strict=True):
        if fact is None:
            raise HarnessError(
                f"testbed writer: {line!r} is no fact of the testbed; it only knows the testbed's "
                "documents, so name another writer model"
            )
    return [fact for fact in found if fact is not None]


def context_graph(facts: Facts) -> str:
    """Every fact that the text states, as a triple."""
    triples = [
        {"head": fact.name, "relation": chains.sentence(fact.text), "tail": fact.value}
        for fact in chains.stated(str(facts["text"]))
    ]
    return json.dumps({"triples": triples})


def claim_subgraph(facts: Facts) -> str:
    """The numbers of the statements that the claim repeats."""
    claimed = chains.claimed(str(facts["claim"]))
    numbers = [k for k, fact in enumerate(_read(facts["statements"]), start=1) if fact in claimed]
    return json.dumps({"triples": numbers})


def claim_from_graph(facts: Facts) -> str:
    """The statements in one sentence."""
    return json.dumps({"claim": chains.claim(_read(facts["statements"]))})


def relation_removal(facts: Facts) -> str:
    """Each sentence that states a fact about the pair, without its relation."""
    pair = {str(facts["head"]).casefold(), str(facts["tail"]).casefold()}
    lines = list(facts["sentences"])
    rng = random.Random(json.dumps([sorted(pair), lines]))
    changed = []
    for number, line in enumerate(lines, start=1):
        fact = chains.parse(line)
        if fact is not None and {fact.name.casefold(), fact.value.casefold()} == pair:
            changed.append({"number": number, "text": chains.neutral(fact, rng)})
    return json.dumps({"sentences": changed})


def claim_from_answer(facts: Facts) -> str:
    """The question with the answer in its place."""
    text = answered(str(facts["question"]), str(facts["answer"]))
    _read(text.removesuffix(".").split(" and "))
    return json.dumps({"claim": text})
