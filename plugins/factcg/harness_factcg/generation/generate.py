"""CG2C: training pairs of a claim with a document that supports it and one that does not.

Lei et al. 2025, *FactCG: Enhancing Fact Checkers with Graph-Based Multi-Hop Data*, arXiv
2501.17144, §3. Any lm-eval model writes, step by step (``questions``); each answer is checked.

``doc`` (CG2C-Doc): a document's context graph; a path of n connected triples in it; a claim that
names all entities on the path; the document rewritten so that one random relation of the path is
gone. Pairs (document, claim, 1) and (rewritten document, claim, 0).

``mhqa`` (CG2C-MHQA): a multi-hop question and its answer as a claim; the context graph of the
supporting paragraphs; the triples that the claim rests on; the paragraphs rewritten so that one
random relation of these is gone. The positive has all paragraphs, the negative the rewritten ones
in their places.

Example: "Anna works for Borealis. Borealis is in Rome." has a path of two hops, Anna – Borealis –
Rome, and the claim "Anna works for a firm, Borealis, in Rome". Without the first relation the
document reads "Anna has heard of Borealis. Borealis is in Rome.", and does not support the claim.

Every step is one batch over all items, and each accepted answer is on disk at once
(``harness.asking``), so a run that is stopped goes on where it was. Every draw is seeded by the
item's id: another document changes no pair of the others.

Deviations: a relation is removed by rewriting numbered sentences, so that all else stays as it is,
no sentence is dropped and each keeps about its length; the released pairs tell by their length
(95 % of the negatives are shorter), and the gap is measured here. A pair whose number of sentences
would change is asked for again, not discarded at once. Triples must name entities of the text.
The optional hard filter takes any fact checker in place of an NLI model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import AssistantSpec, DataError, HarnessError
from harness.artefacts.checksums import fingerprint
from harness.artefacts.making import making
from harness.artefacts.writing import check_writable
from harness.asking.desk import Desk, answers_kept
from harness.asking.store import key_of
from harness.errors import meant
from harness.testbed import resolve
from harness_factcg.generation import folder, questions, sources
from harness_factcg.generation.folder import Generated
from harness_factcg.generation.pipeline import Pipeline, Scores, hard
from harness_factcg.generation.sources import Item, Kind

TOKENS = 2048
"""Tokens a writer's answer may have, where its specification does not say."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make, from what, and who writes it.

    Attributes:
        out: The folder of the pairs; appears when they are whole.
        writer: The model that writes.
        kind: ``doc`` or ``mhqa``.
        source: ``hub``, ``testbed`` or a file.
        items: How many documents or questions of the source are used; None: all.
        hops: Lengths of the paths that claims are made of (``doc``).
        per_document: Claims of a document, at most (``doc``).
        seed: Seed of all draws.
        max_missing: The largest share of unanswered questions in a step.
        hard_filter: A fact checker (hub name, folder, ``testbed:checker``); only the pairs that it
            gets wrong are kept.
    """

    out: Path
    writer: AssistantSpec
    kind: Kind = "doc"
    source: str = "hub"
    items: int | None = None
    hops: Sequence[int] = (2, 3)
    per_document: int = 1
    seed: int = 42
    max_missing: float = 0.1
    hard_filter: str | None = None


def generate(
    options: Options,
    say: Callable[[str], None] = lambda text: None,
    scores: Scores | None = None,
) -> Generated:
    """Make the pairs, or return the equal ones that are already there.

    Args:
        options: What to make.
        say: Told at the beginning of each step.
        scores: The classifier of the hard filter, in place of the one that ``options`` names.

    Raises:
        HarnessError: An option or the source is wrong, the writer refuses or leaves too much
            unanswered, no pair is left, or the folder holds something else.
    """
    _check(options)
    items = sources.read(options.source, options.kind, options.items, options.seed)
    writer = Desk("writer", options.writer, options.max_missing, say)
    recipe = _recipe(options, items, writer)
    present = folder.kept(options.out, recipe) if scores is None else None
    if present is not None:
        return present
    with making(options.out, "generation", lambda: answers_kept(writer)):
        return _made(options, items, writer, recipe=recipe, say=say, scores=scores)


def _made(
    options: Options,
    items: Sequence[Item],
    writer: Desk,
    *,
    recipe: dict[str, Any],
    say: Callable[[str], None],
    scores: Scores | None,
) -> Generated:
    """The pairs, written anew."""
    writer.prepare()
    begin = time.monotonic()
    made = Pipeline(
        writer,
        kind=options.kind,
        hops=options.hops,
        per_document=options.per_document,
        seed=options.seed,
    )
    rows = made.run(items)
    writer.dismiss()
    left_out = +made.left_out
    if scores is not None or options.hard_filter:
        say(f"hard filter: {len(rows)} documents with their claims")
        wrong = hard(rows, scores or checker(str(options.hard_filter)))
        left_out["that the hard filter got right"] += (len(rows) - len(wrong)) // 2
        rows = wrong
    if not rows:
        told = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise DataError(f"{options.source}: no pair is left of {len(items)} items ({told})")
    facts = {
        "items": len(items),
        "left_out": dict(+left_out),
        "ungrounded_triples": made.ungrounded,
        "revisions": {writer.role: writer.revision},
        "costs": {writer.role: {step: dict(spent) for step, spent in writer.costs.items()}},
        "seconds": round(time.monotonic() - begin, 1),
    }
    return folder.write(options.out, recipe=recipe, rows=rows, facts=facts)


def kind_of(value: str) -> Kind:
    """What ``--kind`` names.

    Raises:
        HarnessError: It is no kind.
    """
    if value not in ("doc", "mhqa"):
        raise HarnessError(f"--kind {value}: {meant(value, ('doc', 'mhqa'))}")
    return "doc" if value == "doc" else "mhqa"


def numbers(value: str) -> list[int]:
    """The numbers of an option, between commas.

    Raises:
        HarnessError: A part is no number.
    """
    try:
        return [int(part) for part in value.split(",")]
    except ValueError:
        raise HarnessError(f"--hops are numbers such as 2,3, not {value!r}") from None


def _check(options: Options) -> None:
    if not options.hops or min(options.hops) < 1 or len(set(options.hops)) < len(options.hops):
        raise HarnessError("--hops are numbers from 1, each once, such as 2,3")
    for name, value in (("per-document", options.per_document), ("items", options.items)):
        if value is not None and value < 1:
            raise HarnessError(f"--{name} is at least 1, not {value}")
    if not 0 <= options.max_missing < 1:
        raise HarnessError(f"--max-missing is a share from 0 to 1, not {options.max_missing}")
    check_writable(options.out)


def _recipe(options: Options, items: Sequence[Item], writer: Desk) -> dict[str, Any]:
    """What the pairs follow from: equal recipes, equal pairs, as far as the model repeats its."""
    chosen: dict[str, Any] = {"kind": options.kind, "seed": options.seed}
    if options.kind == "doc":
        chosen |= {"hops": sorted(options.hops), "per_document": options.per_document}
    if options.hard_filter:
        path = resolve(options.hard_filter)
        name = Path(path).name if fingerprint(path) else options.hard_filter
        chosen["hard_filter"] = {"model": name, "sha256": fingerprint(path)}
    return chosen | {
        "source": Path(options.source).name,
        "items": key_of(items=[asdict(item) for item in items]),
        "writer": writer.identity(),
        "wording": questions.wording(),
        "max_missing": options.max_missing,
    }


def checker(pretrained: str) -> Scores:
    """P(supported) by a fact checker, as ``--model hf-fact-checker`` gives it."""

    def scores(pairs: Sequence[tuple[str, str]]) -> list[float]:
        from harness_factcg.checking.verdicts import Pair
        from harness_factcg.models.hf import FactCheckerHF

        model = FactCheckerHF(pretrained=pretrained)
        wanted = [Pair(document, claim) for document, claim in pairs]
        verdicts = model.checker.verdicts(dict.fromkeys(wanted), progress=True)
        return [verdicts[pair].score for pair in wanted]

    return scores
