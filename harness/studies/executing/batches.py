"""Units in batches that a cluster runs as one task each: a group of cells, or one artefact."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import networkx as nx

from harness.studies.executing.schedule import group_of
from harness.studies.units import Resources, Unit


@dataclass(frozen=True)
class Batch:
    """Units that one task runs.

    Args:
        units: In an order in which each comes after those that it needs.
        after: Numbers of the batches whose units they need.
    """

    units: tuple[Unit, ...]
    after: tuple[int, ...]

    @property
    def resources(self) -> Resources:
        """What its unit of the greatest needs needs."""
        return Resources(
            cpus=max(unit.resources.cpus for unit in self.units),
            gpus=max(unit.resources.gpus for unit in self.units),
        )


def batches(units: Sequence[Unit]) -> list[Batch]:
    """All units in batches, each of which needs earlier ones only.

    Cells of equal ``sharing`` are one batch. Where such batches would wait for each other, they are
    cut into layers of cells that need nothing of their own layer.
    """
    named = {unit.name: unit for unit in units}
    graph = nx.DiGraph()
    graph.add_nodes_from(named)
    graph.add_edges_from((need, u.name) for u in units for need in u.needs if need in named)
    layer = {name: k for k, names in enumerate(nx.topological_generations(graph)) for name in names}

    def whole(name: str) -> Hashable:
        return ("group", group_of(named[name])) if group_of(named[name]) else ("unit", name)

    of: dict[str, Hashable] = {name: whole(name) for name in named}
    circles = nx.strongly_connected_components(_between(graph, of))
    circling = {one for circle in circles if len(circle) > 1 for one in circle}
    of = {name: (of[name], layer[name]) if of[name] in circling else of[name] for name in named}
    place = {name: k for k, name in enumerate(named)}
    first = {of[name]: place[name] for name in reversed(named)}
    between = _between(graph, of)
    order = list(nx.lexicographical_topological_sort(between, key=first.__getitem__))
    number = {batch: k for k, batch in enumerate(order)}
    within = sorted(named, key=lambda name: (number[of[name]], layer[name], place[name]))
    return [
        Batch(
            tuple(named[name] for name in within if of[name] == batch),
            tuple(sorted(number[one] for one in between.predecessors(batch))),
        )
        for batch in order
    ]


def _between(graph: nx.DiGraph, of: dict[str, Hashable]) -> nx.DiGraph:
    """Which batch needs which, of the graph of units."""
    found = nx.DiGraph()
    found.add_nodes_from(of.values())
    found.add_edges_from((of[a], of[b]) for a, b in graph.edges if of[a] != of[b])
    return found


def runnable(units: Sequence[Unit], lost: Collection[str]) -> list[Unit]:
    """Units that need, directly or not, none of those that are lost."""
    named = {unit.name: unit for unit in units}
    gone = set(lost)
    sorter = TopologicalSorter({unit.name: set(unit.needs) for unit in units})
    for name in sorter.static_order():
        if name in named and not gone.isdisjoint(named[name].needs):
            gone.add(name)
    return [unit for unit in units if unit.name not in gone]
