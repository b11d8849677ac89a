"""Batches: a group of cells is one task where that is possible, and none waits for itself."""

from __future__ import annotations

from dataclasses import replace

from test_schedule import artefact, cell

from harness.studies.executing.batches import batches, runnable
from harness.studies.units import Resources, Unit


def shown(*units: Unit) -> list[str]:
    return [
        " ".join(unit.name for unit in batch.units) + "".join(f" <{k}" for k in batch.after)
        for batch in batches(units)
    ]


def test_cells_of_a_group_are_one_batch_after_the_artefacts_they_need():
    units = [cell("a1", "a"), cell("a2", "a", "v"), cell("b", "b"), artefact("v"), cell("c")]
    assert shown(*units) == ["b", "v", "a1 a2 <1", "c"]


def test_within_a_batch_needs_come_first():
    assert shown(cell("a1", "a", "a2"), cell("a2", "a")) == ["a2 a1"]


def test_groups_that_wait_for_each_other_are_cut_into_layers():
    units = [cell("a1", "a"), cell("a2", "a", "b1"), cell("b1", "b", "a1"), cell("b2", "b")]
    assert shown(*units) == ["a1", "b1 <0", "a2 <1", "b2"]


def test_a_batch_needs_what_its_most_needing_unit_needs():
    large = replace(cell("a2", "a"), resources=Resources(cpus=4, gpus=0.5))
    (batch,) = batches([replace(cell("a1", "a"), resources=Resources(cpus=1, gpus=1)), large])
    assert batch.resources == Resources(cpus=4, gpus=1)


def test_what_needs_a_lost_unit_is_lost_too():
    units = [cell("c", "", "b"), cell("b", "", "a"), cell("a", "", "x"), cell("d", "", "y")]
    assert [unit.name for unit in runnable(units, ["x"])] == ["d"]
