"""Claims assessed: a verdict on each, on each of its sentences, and what the verdicts rest on.

    rows = read_rows(Path("claims.jsonl"))
    found = assess(open_checker("testbed:checker"), rows, threshold=0.5)

A claim of several sentences is assessed as its checker's family does it; its sentences are assessed
besides, each alone, so that a reader sees which of them fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import DataError, HarnessError, read_table
from harness_factcg.assessing.explanation import (
    Explanation,
    Passage,
    Question,
    explain,
    locate,
    log_odds_of,
)
from harness_factcg.checking.chunking import split_sentences
from harness_factcg.checking.planning import LEAST_ROOM, no_room
from harness_factcg.checking.verdicts import Pair, Sentence, Verdict, score_of
from harness_factcg.data import rows

if TYPE_CHECKING:
    from harness_factcg.checking.checker import Checker


@dataclass(frozen=True, slots=True)
class Claim:
    """A row: a claim about a document; ``label`` is 1 (supported), 0 (not) or unknown."""

    document: str
    text: str
    label: int | None = None
    dataset: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A sentence of a claim, or all of it.

    ``margin`` is its log-odds (nats), ``supported`` the verdict, ``chunk`` the text of the chunk
    that decided, ``explanation`` what the verdict rests on; None for a part that did not decide.
    """

    text: str
    margin: float
    supported: bool
    chunk: str
    explanation: Explanation | None = None

    @property
    def score(self) -> float:
        """P(supported)."""
        return score_of(self.margin)

    @property
    def reasons(self) -> list[Passage]:
        """What the verdict rests on, in the document's order."""
        if self.explanation is None:
            return []
        places = self.explanation.rests_on(self.supported)
        return [self.explanation.passages[place] for place in places]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A claim with its verdict.

    Attributes:
        claim: The claim.
        verdict: The checker's verdict on it.
        supported: Whether its score is above the threshold.
        deciding: What the verdict was made of: the claim, or its sentences where the checker judges
            these.
        sentences: The claim's sentences, each on its own, where it has several.
    """

    claim: Claim
    verdict: Verdict
    supported: bool
    deciding: tuple[Part, ...]
    sentences: tuple[Part, ...]


def read_rows(path: Path) -> list[Claim]:
    """Claims from a table: columns doc and claim, and label, dataset and id where it has them.

    Args:
        path: A .jsonl, .json, .csv or .parquet file. A row may have no label, or an empty one.

    Raises:
        DataError: The file cannot be read, has no rows, or a row that cannot be assessed.
    """
    table = read_table(path, ("doc", "claim"))
    if not table:
        raise DataError(f"{path} has no rows")
    documents: dict[str, str] = {}
    found = []
    for number, row in enumerate(table, start=1):
        claim = _claim(row, f"{path}, row {number}", str(number))
        document = documents.setdefault(claim.document, claim.document)  # many claims share one
        found.append(Claim(document, claim.text, claim.label, claim.dataset, claim.id))
    return found


def _claim(row: Mapping[str, Any], at: str, number: str) -> Claim:
    labelled = row.get("label") is not None and str(row["label"]).strip() != ""
    named = {name: str(row[name]) for name in ("dataset", "id") if row.get(name) not in (None, "")}
    known = rows.checked_row(row if labelled else {**row, "label": 0}, at)
    return Claim(
        known["doc"], known["claim"], known["label"] if labelled else None, **{"id": number} | named
    )


def assess(
    checker: Checker,
    claims: Sequence[Claim],
    *,
    threshold: float = 0.5,
    explained: bool = True,
    progress: bool = False,
) -> list[Assessment]:
    """Assess claims.

    Args:
        checker: What judges.
        claims: The claims.
        threshold: Score above which a claim is supported.
        explained: Whether to find the sentences that each verdict rests on; this takes about one
            prompt more for each sentence of the deciding chunk.
        progress: Whether to show bars.

    Raises:
        HarnessError: A document or a claim is empty, or a claim leaves no room for a document.
    """
    _check_room(checker, claims)
    texts = {claim.text: split_sentences(claim.text) for claim in claims}
    pairs = [Pair(claim.document, claim.text) for claim in claims]
    if not checker.family.splits_claims:
        pairs += [
            Pair(claim.document, text)
            for claim in claims
            if len(texts[claim.text]) > 1
            for text in texts[claim.text]
        ]
    verdicts = checker.verdicts(pairs, progress=progress)
    bar = log_odds_of(threshold)
    drafts = [_draft(claim, texts[claim.text], verdicts, bar) for claim in claims]
    return _explained(checker, drafts, threshold if explained else None, progress)


def _draft(
    claim: Claim, texts: Sequence[str], verdicts: Mapping[Pair, Verdict], bar: float
) -> Assessment:
    """A claim's assessment, not yet explained."""
    verdict = verdicts[Pair(claim.document, claim.text)]
    judged: list[tuple[str, Verdict | Sentence]] = [(one.text, one) for one in verdict.sentences]
    if not judged and len(texts) > 1:
        judged = [(text, verdicts[Pair(claim.document, text)]) for text in texts]
    parts = tuple(_part(text, one, bar) for text, one in judged)
    deciding = parts if verdict.sentences else (_part(claim.text, verdict, bar),)
    sentences = parts if len(parts) > 1 else ()
    return Assessment(claim, verdict, verdict.margin > bar, deciding, sentences)


def _part(text: str, found: Verdict | Sentence, bar: float) -> Part:
    return Part(text, found.margin, found.margin > bar, found.deciding_text)


def _check_room(checker: Checker, claims: Sequence[Claim]) -> None:
    distinct = {claim.text: claim for claim in claims}
    for room, claim in zip(checker.room(list(distinct)), distinct.values(), strict=True):
        if room < LEAST_ROOM:
            taken = checker.max_length - room
            raise HarnessError(
                no_room(f"claim {claim.id or repr(claim.text[:80])}", taken, checker.max_length)
            )


def _explained(
    checker: Checker, drafts: Sequence[Assessment], threshold: float | None, progress: bool
) -> list[Assessment]:
    """The assessments with an explanation of each part that decided; without occlusions if None."""
    questions = [
        Question(draft.claim.document, part.text, part.margin, part.chunk)
        for draft in drafts
        for part in draft.deciding
    ]
    reasons = iter(
        locate(checker, questions)
        if threshold is None
        else explain(checker, questions, threshold=threshold, progress=progress)
    )
    found = []
    for draft in drafts:
        deciding = tuple(replace(part, explanation=next(reasons)) for part in draft.deciding)
        sentences = deciding if draft.sentences and draft.verdict.sentences else draft.sentences
        found.append(replace(draft, deciding=deciding, sentences=sentences))
    return found
