"""Which unit is to be run next: those that are needed first, a group of cells by one worker."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from harness.errors import HarnessError
from harness.studies.units import Cell, Outcome, Unit


class Schedule:
    """Deals out units, each once and after those that it needs.

    Args:
        units: What is to be run; what they need and is not among them is done.

    Raises:
        HarnessError: Two have one name or one folder.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        check(units)
        self._open = list(units)
        self._missing = {unit.name for unit in units}

    def next(self, group: str, elsewhere: Collection[str]) -> Unit | None:
        """A unit that can be run now, which is then under way.

        First a cell of the worker's own group, whose network it has; then artefacts, which others
        wait for; then a group of which all cells can be run; then any.

        Args:
            group: The worker's own group.
            elsewhere: Groups that other workers are at.
        """
        ready = [
            unit
            for unit in self._open
            if self._missing.isdisjoint(unit.needs) and group_of(unit) not in elsewhere
        ]
        blocked = {group_of(unit) for unit in self._open} - {""}
        blocked &= {group_of(u) for u in self._open if not self._missing.isdisjoint(u.needs)}

        def order(unit: Unit) -> int:
            own = group_of(unit)
            if own and own == group:
                return 0
            if not isinstance(unit, Cell):
                return 1
            return 3 if own in blocked else 2

        if not ready:
            return None
        chosen = min(ready, key=order)  # of equals the first
        self._open.remove(chosen)
        return chosen

    def ended(self, outcome: Outcome) -> None:
        """Take down how a unit ended; what needs a failed one is never run."""
        if outcome.error is None:
            self._missing.discard(outcome.unit)


def check(units: Sequence[Unit]) -> None:
    """See that no two units are one.

    Raises:
        HarnessError: Two have one name or one folder.
    """
    for what in ("name", "folder"):
        seen: set[object] = set()
        for unit in units:
            if getattr(unit, what) in seen:
                raise HarnessError(f"two units of the study have the {what} {unit.name}")
            seen.add(getattr(unit, what))


def group_of(unit: Unit) -> str:
    """The group that a unit is run in; empty for one by itself."""
    return unit.sharing if isinstance(unit, Cell) else ""
