"""Context graphs by hand, and what holds for every one."""

from __future__ import annotations

import doctest
import itertools

import pytest
from harness_factcg.generation import graphs
from harness_factcg.generation.graphs import Triple
from hypothesis import given
from hypothesis import strategies as st

from harness.testbed.english import chains


def triple(pair: str) -> Triple:
    """``AB`` → (A, "A meets B.", B)."""
    return Triple(pair[0], f"{pair[0]} meets {pair[1]}.", pair[1])


def text(*pairs: str) -> list[Triple]:
    return [triple(pair) for pair in pairs]


def found(triples: list[Triple], length: int) -> set[str]:
    """Paths as words of their entities, from the lower end."""
    words = ("".join(path.entities) for path in graphs.paths(triples, length))
    return {min(word, word[::-1]) for word in words}


def test_the_modules_example() -> None:
    assert doctest.testmod(graphs).failed == 0


def test_a_chain_a_star_and_a_circle() -> None:
    chain = text("AB", "BC", "CD")
    assert found(chain, 1) == {"AB", "BC", "CD"}
    assert found(chain, 2) == {"ABC", "BCD"}
    assert found(chain, 3) == {"ABCD"}
    assert found(chain, 4) == set()
    star = text("BA", "CA", "DA")
    assert found(star, 2) == {"BAC", "BAD", "CAD"} and found(star, 3) == set()
    circle = text("AB", "BC", "CA")
    assert found(circle, 2) == {"ABC", "BCA"[::-1], "BAC"}
    assert found(circle, 3) == set(), "no entity twice"


def test_two_relations_of_one_pair_are_two_paths() -> None:
    double = [triple("AB"), Triple("b", "B owns A.", "a"), triple("BC")]
    assert [path.triples for path in graphs.paths(double, 2)] == [
        (double[0], double[2]),
        (double[1], double[2]),
    ]
    assert all(path.entities == ("A", "B", "C") for path in graphs.paths(double, 2))
    assert graphs.hops(double) == 3


def test_entities_differ_by_more_than_case_and_space() -> None:
    triples = [Triple("New  York", "…", "A"), Triple("B", "…", "new york"), triple("CD")]
    assert graphs.largest_component(triples) == triples[:2]
    with_comma = [Triple("Paris, Texas", "…", "A"), Triple("Paris", "…", "B")]
    assert graphs.hops(with_comma) == 1, "a comma is part of a name"


def test_the_largest_part_and_the_first_of_equals() -> None:
    triples = text("AB", "XY", "YZ", "BC", "ZW")
    assert graphs.largest_component(triples) == text("XY", "YZ", "ZW")
    assert graphs.largest_component(text("XY", "AB", "BC", "YZ")) == text("XY", "YZ")
    assert graphs.largest_component([]) == [] and graphs.hops([]) == 0


def test_a_triple_of_one_entity_is_part_of_no_path() -> None:
    triples = [Triple("A", "A meets itself.", "a"), triple("AB")]
    assert graphs.hops(triples) == 2
    assert found(triples, 1) == {"AB"} and found(triples, 2) == set()


def test_no_path_has_no_triple() -> None:
    with pytest.raises(ValueError, match="a path of 0 triples"):
        graphs.paths(text("AB"), 0)


def test_dense_graphs_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = ["".join(pair) for pair in itertools.combinations("ABCDEFGH", 2)]
    assert len(graphs.paths(text(*pairs), 3)) == 8 * 7 * 6 * 5 // 2
    monkeypatch.setattr(graphs, "MOST_PATHS", 100)
    assert len(graphs.paths(text(*pairs), 3)) == 100


@given(st.lists(st.tuples(*[st.sampled_from("ABCDEFG")] * 2), max_size=12), st.integers(1, 4))
def test_what_holds_for_every_path(pairs: list[tuple[str, str]], length: int) -> None:
    triples = [Triple(a, f"Sentence {k}.", b) for k, (a, b) in enumerate(pairs)]
    every = graphs.paths(triples, length)
    for path in every:
        assert len(path.triples) == length and set(path.triples) <= set(triples)
        assert len(set(path.entities)) == length + 1
        for place, own in enumerate(path.triples):
            assert own.pair == set(map(graphs.entity, path.entities[place : place + 2]))
    assert len({frozenset(path.triples) for path in every}) == len(every), "each once"
    brute = {
        frozenset(chosen)
        for chosen in itertools.permutations(triples, length)
        if _is_path([(own.head, own.tail) for own in chosen])
    } if len(triples) <= 7 else {frozenset(path.triples) for path in every}  # fmt: skip
    assert {frozenset(path.triples) for path in every} == brute


def _is_path(pairs: list[tuple[str, str]]) -> bool:
    for first in pairs[0]:
        seen = [first]
        for pair in pairs:
            if seen[-1] not in pair or len(set(pair)) < 2:
                break
            seen.append(pair[pair[0] == seen[-1]])
        if len(seen) == len(pairs) + 1 == len(set(seen)):
            return True
    return False


@given(st.integers(0, 500), st.integers(1, 4))
def test_the_testbeds_own_paths_are_the_same(seed: int, length: int) -> None:
    (document,) = chains.documents(1, seed)
    facts = chains.stated(document)
    triples = [Triple(fact.name, chains.sentence(fact.text), fact.value) for fact in facts]
    ours = {
        frozenset(own.relation for own in path.triples) for path in graphs.paths(triples, length)
    }
    theirs = {
        frozenset(chains.sentence(fact.text) for fact in path)
        for path in chains.paths(facts, length)
    }
    assert ours == theirs
