"""What CG2C data are made from: documents, or multi-hop questions with their paragraphs.

Documents (``--kind doc``): the hub's (MiniCheck's D2C documents, as in the paper), the testbed's
chains, a table with a column ``doc``, or a text file with a document a line.

Multi-hop questions (``--kind mhqa``): the hub's MuSiQue, the testbed's, or a table in the form of

- MuSiQue: ``{"id": "3hop1__…", "question": …, "answer": …, "paragraphs": [{"paragraph_text": …,
  "is_supporting": true}, …]}``;
- HotpotQA: ``{"_id": …, "question": …, "answer": …, "supporting_facts": [["title", 0], …],
  "context": [["title", ["sentence", …]], …]}``, or with lists by name as on the hub;
- one's own: ``{"id": …, "question": …, "answer": …, "paragraphs": [{"text": …, "supporting":
  true}, …]}``.

As in the paper MuSiQue's questions of two hops (their id says ``2hop``) are left out, and so are
its unanswerable ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import DataError, Row, read_table
from harness.artefacts.hub import reason
from harness.artefacts.reading import ENCODING, read_bytes
from harness.errors import one_line
from harness_factcg.generation.rewriting import Passage

Kind = Literal["doc", "mhqa"]
HUB: dict[str, tuple[str, str]] = {
    "doc": ("lytang/C2D-and-D2C-MiniCheck", "d2c"),
    "mhqa": ("dgslibisey/MuSiQue", "train"),
}
"""The hub's data set and split of each kind."""

TESTBED_SIZE = 500


@dataclass(frozen=True)
class Item:
    """One document, or one question with its paragraphs."""

    id: str
    passage: Passage
    question: str = ""
    answer: str = ""


def read(source: str, kind: Kind, most: int | None, seed: int) -> list[Item]:
    """The items of a source, each id and each text once.

    Args:
        source: ``hub``, ``testbed`` or a file.
        kind: What it holds.
        most: How many are kept, drawn by ``seed``; None keeps all (of the testbed 500).
        seed: Of the draw, and of the testbed's texts.

    Raises:
        DataError: The source cannot be read, a row is broken, or nothing can be used.
    """
    if source == "testbed":
        return _testbed(kind, TESTBED_SIZE if most is None else most, seed)
    rows, place = (_hub(kind), HUB[kind][0]) if source == "hub" else (_file(source, kind), source)
    make = _document if kind == "doc" else _question
    stem = Path(place).stem
    items: dict[str, Item] = {}
    texts: set[tuple[str, str]] = set()
    for number, row in enumerate(rows, start=1):
        item = make(row, f"{stem}-{number}", f"{place}, row {number}")
        if item is None or (item.passage.text, item.question) in texts:
            continue
        if item.id in items:
            raise DataError(f"{place}, row {number}: the id {item.id!r} is there before")
        texts.add((item.passage.text, item.question))
        items[item.id] = item
    if not items:
        raise DataError(f"{place} has nothing that can be used for --kind {kind}")
    found = list(items.values())
    if most is None or most >= len(found):
        return found
    chosen = random.Random(f"items {seed}").sample(range(len(found)), most)
    return [found[place] for place in sorted(chosen)]


def _testbed(kind: Kind, count: int, seed: int) -> list[Item]:
    from harness.testbed.english import chains
    from harness.testbed.english.questions import questions

    if kind == "doc":
        texts = chains.documents(count, seed)
        return [Item(f"testbed-{seed}-{k}", Passage.of(text)) for k, text in enumerate(texts)]
    rows = questions(count, seed)
    made = [_question(row, f"testbed-{seed}-{k}", "testbed") for k, row in enumerate(rows)]
    return [item for item in made if item is not None]


def _hub(kind: Kind) -> Iterable[Row]:
    import datasets

    name, split = HUB[kind]
    try:
        found: Iterable[Row] = datasets.load_dataset(name, split=split).to_list()
    except Exception as cause:  # the hub's clients raise dozens of types
        said = reason(cause, name, kind="dataset")
        raise DataError(
            f"cannot read {name}, split {split}, from the hub: {said}. Or pass --source FILE, or "
            "--source testbed"
        ) from cause
    return found


def _file(source: str, kind: Kind) -> Iterable[Row]:
    path = Path(source).expanduser()
    if not path.is_file():
        raise DataError(f"--source {source}: no such file; pass hub, testbed, or a file")
    if kind == "doc" and path.suffix == ".txt":
        try:
            lines = read_bytes(path).decode(ENCODING).splitlines()
        except (OSError, UnicodeDecodeError) as cause:
            raise DataError(f"{path} cannot be read: {one_line(cause, 200)}") from cause
        return [{"doc": line} for line in lines if line.strip()]
    return read_table(path)


def _document(row: Mapping[str, Any], name: str, place: str) -> Item:
    text = _text(row, "doc", place)
    return Item(_id(row, name), Passage.of(text.strip()))


def _question(row: Mapping[str, Any], name: str, place: str) -> Item | None:
    """A question with its paragraphs, in whichever form; None if the paper leaves it out."""
    name = _id(row, name)
    if name.startswith("2hop") or row.get("answerable") is False:
        return None
    paragraphs = _hotpot(row, place) if "context" in row else _flagged(row, place)
    kept = [(" ".join(text.split()), own) for text, own in paragraphs if text.strip()]
    if not any(own for _, own in kept):
        raise DataError(f"{place}: no paragraph is marked as supporting")
    texts, flags = zip(*kept, strict=True)
    question, answer = _text(row, "question", place), _text(row, "answer", place)
    return Item(name, Passage(texts, flags), question.strip(), answer.strip())


def _flagged(row: Mapping[str, Any], place: str) -> list[tuple[str, bool]]:
    """Paragraphs that say themselves whether they support the answer."""
    given = row.get("paragraphs")
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise DataError(f"{place}: paragraphs is no list of paragraphs")
    found = []
    for own in given:
        if not isinstance(own, Mapping):
            raise DataError(f"{place}: a paragraph is no object")
        text = own.get("paragraph_text", own.get("text"))
        flag = own.get("is_supporting", own.get("supporting"))
        if not isinstance(text, str) or not isinstance(flag, bool):
            raise DataError(
                f"{place}: a paragraph needs a text and a flag: paragraph_text and is_supporting, "
                "or text and supporting"
            )
        found.append((text, flag))
    return found


def _hotpot(row: Mapping[str, Any], place: str) -> list[tuple[str, bool]]:
    """HotpotQA's paragraphs; those that hold a supporting fact support the answer."""
    try:
        facts, context = row["supporting_facts"], row["context"]
        titles = facts["title"] if isinstance(facts, Mapping) else [title for title, _ in facts]
        if isinstance(context, Mapping):
            context = list(zip(context["title"], context["sentences"], strict=True))
        return [(" ".join(s.strip() for s in texts), title in titles) for title, texts in context]
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise DataError(
            f"{place}: supporting_facts or context is not as HotpotQA has it "
            f"({one_line(repr(cause), 200)})"
        ) from cause


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {name} is missing, empty or no text")
    return value


def _id(row: Mapping[str, Any], otherwise: str) -> str:
    given = row.get("id", row.get("_id"))
    return otherwise if given in (None, "") else str(given)
