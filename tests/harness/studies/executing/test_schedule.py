"""What is run next: needs first, then a group of cells without a change of model in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.studies.executing.schedule import Schedule
from harness.studies.units import Artefact, Cell, Outcome, Unit


def cell(name: str, group: str = "", *needs: str) -> Cell:
    return Cell(name, name, Path(name), ("lm_eval",), needs, Path("log"), sharing=group)


def artefact(name: str, *needs: str) -> Artefact:
    return Artefact(name, name, Path(name), ("harness",), needs, Path("log"))


def order(*units: Unit, failing: tuple[str, ...] = ()) -> str:
    """Names in the order in which one worker gets them."""
    schedule, group, names = Schedule(units), "", []
    while (unit := schedule.next(group, ())) is not None:
        names.append(unit.name)
        group = unit.sharing if isinstance(unit, Cell) else ""
        schedule.ended(Outcome(unit.name, "no" if unit.name in failing else None, 0.0))
    return " ".join(names)


def test_artefacts_come_first_and_groups_stay_together():
    units = [cell("a1", "a"), cell("b1", "b"), cell("a2", "a"), cell("b2", "b", "v"), artefact("v")]
    assert order(*units) == "v a1 a2 b1 b2"


def test_a_group_that_can_be_run_whole_goes_before_one_that_cannot():
    units = [cell("a1", "a"), cell("a2", "a", "b1"), cell("b1", "b"), cell("b2", "b")]
    assert order(*units) == "b1 b2 a1 a2"


def test_what_needs_a_failed_unit_is_never_run():
    units = [artefact("v"), artefact("w", "v"), cell("a", "a", "w"), cell("b", "a")]
    assert order(*units, failing=("v",)) == "v b"


def test_a_group_is_not_dealt_to_two_workers():
    schedule = Schedule([cell("a1", "a"), cell("a2", "a"), cell("b1", "b"), cell("free")])
    assert schedule.next("", ()).name == "a1"
    assert schedule.next("", {"a"}).name == "b1"
    assert schedule.next("", {"a", "b"}).name == "free"
    assert schedule.next("", {"a", "b"}) is None
    assert schedule.next("a", {"b"}).name == "a2"


def test_needs_that_are_not_among_the_units_are_done():
    assert order(cell("a", "a", "long done")) == "a"


def test_a_folder_that_two_units_would_write_is_refused():
    other = Artefact("w", "w", Path("v"), ("harness",), (), Path("log"))
    with pytest.raises(HarnessError, match="have the folder w"):
        Schedule([artefact("v"), other])
