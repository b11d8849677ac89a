"""The plan of a study: its units, with keys, folders and commands.

    OUT/artefacts/NAME-KEY8           what a command of ``make`` wrote
    OUT/cells/RUN.TASK-KEY8           results and samples of one lm-eval run
    OUT/configs/RUN.TASK-KEY8.yaml    its configuration, to run it by hand
    OUT/logs/…-KEY8.log               what a command printed
    OUT/cells.json                    which cells differ in their judge alone

Planning runs nothing: the same file always gives the same plan, and what of it is there is done.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.artefacts.reading import read_bytes
from harness.artefacts.writing import write_text
from harness.studies.reading.file import Study
from harness.studies.reading.settings import StudyError, misnamed
from harness.studies.units import Cell, Unit


@dataclass(frozen=True)
class Plan:
    """What a study consists of.

    Args:
        study: Its file.
        units: Artefacts and cells; what is needed comes first, cells that share a model together.
        names: By which names each can be asked for: its own, its run's, its variant's, its task's.
        referred: Names of artefacts and cells that others refer to.
        variants: Names of all variants of runs, in the order of the file.
    """

    study: Study
    units: Sequence[Unit]
    names: Mapping[str, frozenset[str]]
    referred: frozenset[str]
    variants: Sequence[str]

    @property
    def cells(self) -> list[Cell]:
        """The cells alone."""
        return [unit for unit in self.units if isinstance(unit, Cell)]

    def to_do(self, only: Sequence[str] = ()) -> list[Unit]:
        """What is missing, in order; an artefact that only finished cells need is not.

        Args:
            only: Names of runs, variants, tasks, artefacts or units; none for all.

        Raises:
            StudyError: Nothing has such a name.
        """
        known = sorted(frozenset().union(*self.names.values()))
        if unknown := next((name for name in only if name not in known), None):
            raise StudyError(f"--only: {misnamed(unknown, known, 'run, task or artefact')}")
        by_name = {unit.name: unit for unit in self.units}
        chosen: set[str] = set()
        waiting = [unit.name for unit in self.units if self._asked(unit, only)]
        while waiting:
            unit = by_name[waiting.pop()]
            if not unit.done and unit.name not in chosen:
                chosen.add(unit.name)
                waiting += unit.needs
        return [unit for unit in self.units if unit.name in chosen]

    def _asked(self, unit: Unit, only: Iterable[str]) -> bool:
        if only:
            return not self.names[unit.name].isdisjoint(only)
        return isinstance(unit, Cell) or unit.name not in self.referred

    def config_file(self, cell: Cell) -> Path:
        """Where a cell's configuration is, for running it by hand."""
        return self.study.out / "configs" / f"{cell.folder.name}.yaml"

    def write_configs(self) -> None:
        """Write the cells' configurations.

        Raises:
            HarnessError: One cannot be written.
        """
        for cell in self.cells:
            file = self.config_file(cell)
            text = yaml.safe_dump(dict(cell.config), sort_keys=False, allow_unicode=True)
            if not file.is_file() or read_bytes(file) != text.encode():
                write_text(file, text)


def by_hand(unit: Unit) -> str:
    """The command that does a unit, for a shell; a cell's writes into ``results``."""
    return shlex.join([*unit.words, *((unit.target, "results") if isinstance(unit, Cell) else ())])
