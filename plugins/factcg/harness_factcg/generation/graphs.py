"""Context graphs: triples that share an entity are connected.

Lei et al. 2025, arXiv 2501.17144, §3. A triple is (entity, a sentence that states the relation,
entity). Triples are edges without direction between entities; the number of hops of a text is the
number of its connected triples, and only the largest connected part is used. A claim is made of a
path: so many triples, each sharing an entity with the next, that meet no entity twice.

Worked example:

    >>> anna = Triple("Anna", "Anna works for Borealis.", "Borealis")
    >>> seat = Triple("Borealis", "Borealis is based in Rome.", "Rome")
    >>> ben = Triple("Ben", "Ben plays chess.", "chess")
    >>> hops([anna, seat, ben])
    2
    >>> [path.entities for path in paths([anna, seat, ben], 2)]
    [('Anna', 'Borealis', 'Rome')]

Entities are the same if they differ in letter case or white space alone. Two triples may have the
same two entities; a triple whose two entities are the same one is part of no path.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import networkx as nx

MOST_PATHS = 10_000


class Triple(NamedTuple):
    """Two entities, and the sentence that states how they are related."""

    head: str
    relation: str
    tail: str

    @property
    def pair(self) -> frozenset[str]:
        """Its entities, as the graph knows them."""
        return frozenset((entity(self.head), entity(self.tail)))


class Path(NamedTuple):
    """Connected triples in the order of the path, and its entities: one more than triples."""

    triples: tuple[Triple, ...]
    entities: tuple[str, ...]


def entity(name: str) -> str:
    """What identifies an entity.

    >>> entity("The  Bakery") == entity("the bakery")
    True
    """
    return " ".join(name.split()).casefold()


def context_graph(triples: Iterable[Triple]) -> nx.MultiGraph:
    """Entities as nodes, with their first spelling as ``name``; triples as edges.

    An edge's key is the number of its triple, and ``triple`` is the triple.
    """
    graph = nx.MultiGraph()
    for number, triple in enumerate(triples):
        for name in (triple.head, triple.tail):
            if entity(name) not in graph:
                graph.add_node(entity(name), name=name)
        graph.add_edge(entity(triple.head), entity(triple.tail), key=number, triple=triple)
    return graph


def largest_component(triples: Sequence[Triple]) -> list[Triple]:
    """The connected triples that are the most, in their order; of equal ones the first."""
    graph = context_graph(triples)
    parts = [
        sorted(number for _, _, number in graph.edges(nodes, keys=True))
        for nodes in nx.connected_components(graph)
    ]
    most = min(parts, key=lambda numbers: (-len(numbers), numbers[0]), default=[])
    return [triples[number] for number in most]


def hops(triples: Sequence[Triple]) -> int:
    """The number of connected triples: those of the largest connected part."""
    return len(largest_component(triples))


def paths(triples: Sequence[Triple], length: int) -> list[Path]:
    """Every path of so many triples, each in one of its two directions; ``MOST_PATHS`` at most.

    Raises:
        ValueError: ``length`` is less than 1.
    """
    if length < 1:
        raise ValueError(f"a path of {length} triples is none")
    return list(itertools.islice(_paths(context_graph(triples), length), MOST_PATHS))


def _paths(graph: nx.MultiGraph, length: int) -> Iterator[Path]:
    place = {node: number for number, node in enumerate(graph)}
    for source in graph:
        others = [node for node in graph if place[node] > place[source]]
        if not others:
            continue
        for edges in nx.all_simple_edge_paths(graph, source, others, cutoff=length):
            if len(edges) == length:
                nodes = [source, *(node for _, node, _ in edges)]
                yield Path(
                    tuple(graph.edges[edge]["triple"] for edge in edges),
                    tuple(graph.nodes[node]["name"] for node in nodes),
                )
