"""Seeds are read strictly, ranked by BM25 within their category, and drawn by the cell."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from harness_astral.generation.retrieval import Retriever, drawn, words
from harness_astral.generation.seeds import Seed, read_seeds, seeds_hash
from harness_astral.suites.factors import Level, read_factors

from harness.errors import DataError
from harness.testbed.english.answers import RESTRICTED

CATEGORIES = read_factors().names()["category"]


def test_the_ranking_is_bm25s() -> None:
    texts = ["gnome cheats snail race", "snail snail gnome", "cloud rhyme", "gnome diary fox"]
    seeds = [Seed(str(k), "a" if k != 1 else "b", text) for k, text in enumerate(texts)]
    retriever = Retriever(seeds)
    query = ["gnome", "diary"]
    k1, b = 1.5, 0.75
    lengths = [len(text.split()) for text in texts]
    mean = sum(lengths) / len(lengths)

    def score(text: str, length: int) -> float:
        total = 0.0
        for word in query:
            holds = sum(word in other.split() for other in texts)
            idf = math.log(1 + (len(texts) - holds + 0.5) / (holds + 0.5))
            count = text.split().count(word)
            total += idf * count / (k1 * (1 - b + b * length / mean) + count)
        return total

    scores = [score(text, length) for text, length in zip(texts, lengths, strict=True)]
    order = sorted((k for k in range(4) if k != 1), key=lambda k: (-scores[k], k))
    ranked = retriever.rank(Level("a", "gnome diary"))
    assert [seed.id for seed in ranked] == [str(k) for k in order] == ["3", "0", "2"]
    found = retriever._index.get_scores(query)
    assert list(found) == pytest.approx(scores, rel=1e-5)


def test_words_nobody_knows_leave_the_files_order() -> None:
    seeds = [Seed("1", "a", "one two"), Seed("2", "a", "three"), Seed("3", "b", "four")]
    assert [own.id for own in Retriever(seeds).rank(Level("a", "zzz"))] == ["1", "2"]
    assert [own.id for own in Retriever([Seed("1", "a", "the")]).rank(Level("a", "the"))] == ["1"]
    assert words(["The cat, and a dog!"]) == [["cat", "dog"]]


def test_a_draw_is_of_the_best_and_in_their_order() -> None:
    ranked = list(range(100))
    for number in range(50):
        found = drawn(ranked, 3, random.Random(number))
        assert len(set(found)) == 3 and found == sorted(found) and max(found) < 12
    assert drawn([7], 3, random.Random(0)) == [7]


def test_the_placeholders_serve_the_papers_factors() -> None:
    seeds = read_seeds("placeholder", CATEGORIES)
    assert {seed.category for seed in seeds} == set(CATEGORIES)
    assert (
        len({seed.text for seed in seeds}) == len({seed.id for seed in seeds}) == len(seeds) == 42
    )


def test_the_testbeds_are_requests_to_refuse() -> None:
    from harness.testbed.english.requests import _bare

    for names in (CATEGORIES, ["one", "two", "three"]):
        seeds = read_seeds("testbed", names)
        assert {seed.category for seed in seeds} == set(names)
        assert {_bare(seed.text)[0] for seed in seeds} <= set(RESTRICTED)
        assert len({seed.text for seed in seeds}) == len(seeds), "no two categories share a request"
    with pytest.raises(DataError, match="too few requests for 999 categories"):
        read_seeds("testbed", [str(k) for k in range(999)])


GOOD = [{"category": name, "text": f"About {name}.", "id": str(k)} for k, name in enumerate("abc")]


def written(folder: Path, rows: list[dict[str, object]]) -> str:
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "seeds.jsonl")


def test_ones_own(tmp_path: Path) -> None:
    seeds = read_seeds(written(tmp_path, [*GOOD, {"category": "a", "text": " x\ny "}]), list("abc"))
    assert seeds[3] == Seed("s-4", "a", "x\ny")
    assert seeds_hash(seeds) != seeds_hash(seeds[:3])
    (tmp_path / "seeds.csv").write_text('category,text\n"a, b","1. one, two"\n')
    assert read_seeds(str(tmp_path / "seeds.csv"), ["a, b"]) == [Seed("s-1", "a, b", "1. one, two")]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([*GOOD, {"category": "d", "text": "x"}], "row 4: 'd' is no category"),
        ([*GOOD, {"category": "a"}], "row 4: text is missing"),
        ([*GOOD, {"category": "a", "text": " "}], "row 4: text is missing, empty"),
        ([*GOOD, {"category": "a", "text": "x", "id": 1}], "row 4: the id '1' is there before"),
        (GOOD[:2], "no seed of the category 'c'"),
        (GOOD[:1], "no seed of the category 'b' and 1 more"),
    ],
)
def test_a_broken_seeds_file(tmp_path: Path, rows: list[dict[str, object]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_seeds(written(tmp_path, rows), list("abc"))


def test_no_seeds_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_seeds(str(tmp_path / "none.jsonl"), ["a"])
    (tmp_path / "cut.jsonl").write_text('{"category": "a", "te')
    with pytest.raises(DataError, match="line 1: not valid JSON"):
        read_seeds(str(tmp_path / "cut.jsonl"), ["a"])
