"""One unit, run to its end in this process: its folder appears whole, or not at all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import yaml

from harness.artefacts.locks import alone, shared_file
from harness.artefacts.writing import appearing, write_text
from harness.errors import HarnessError, one_line
from harness.host.lm_eval_seams import networks_loaded_by, own_tasks_read_by
from harness.studies.executing.commands import INTERRUPTED, LM_EVAL, Ended, run
from harness.studies.executing.networks import free
from harness.studies.executing.sharing import Shared
from harness.studies.units import Cell, Outcome, Unit

CONFIG = "config.yaml"
_RESULTS = "results_*.json"


def execute(unit: Unit, shared: Shared) -> Outcome:
    """Run a unit; one that another process is at is waited for, and one that is done stays.

    Args:
        unit: The unit.
        shared: What units of this process share.

    Raises:
        KeyboardInterrupt: The process was told to stop; nothing half-written is left.
    """
    began = time.monotonic()
    error: str | None = None
    try:
        unit.folder.parent.mkdir(parents=True, exist_ok=True)
        with shared_file(_place_of_lock(unit.folder)):
            if unit.done:
                return Outcome(unit.name, None, 0.0)
            if isinstance(unit, Cell):
                _run_cell(unit, shared)
            else:
                _run_artefact(unit, shared)
    except HarnessError as cause:
        error = str(cause)
    except OSError as cause:
        error = one_line(f"{unit.folder} cannot be written: {cause}")
    finally:
        free()
    return Outcome(unit.name, error, time.monotonic() - began)


def sweep(units: Iterable[Unit]) -> None:
    """Remove drafts and locks that killed runs have left beside the units' folders."""
    for folder in {unit.folder.parent for unit in units}:
        for draft in folder.glob(".*.draft"):
            with suppress(HarnessError), alone(draft, "run"):  # nobody writes it
                if draft.is_dir() and not draft.is_symlink():
                    shutil.rmtree(draft)
        for lock in folder.glob(".*.lock"):
            with suppress(HarnessError), alone(lock.with_name(lock.name[1:-5]), "run"):
                pass  # who opens a lock takes it away


def _place_of_lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unit")


def _run_artefact(unit: Unit, shared: Shared) -> None:
    shared.networks.begin("")
    _succeeded(run(unit.words, unit.log))
    if not unit.done:
        raise HarnessError(f"the command has ended well, and there is no {unit.folder}")


def _run_cell(cell: Cell, shared: Shared) -> None:
    """Run a cell into a draft, which becomes its folder."""
    shared.networks.begin(cell.sharing)
    with appearing(cell.folder) as draft:
        if cell.config:
            text = yaml.safe_dump(dict(cell.config), sort_keys=False, allow_unicode=True)
            write_text(draft / CONFIG, text)
        words = (*cell.words, cell.target, str(draft))
        if cell.words[0] == LM_EVAL:
            with networks_loaded_by(shared.networks.load), own_tasks_read_by(shared.tasks):
                ended = run(words, cell.log)
        else:
            ended = run(words, cell.log)
        _succeeded(ended)
        _flatten(draft)
        if not any(draft.glob(_RESULTS)):
            raise HarnessError(f"it has ended well and written no results; see {cell.log}")


def _succeeded(ended: Ended) -> None:
    if ended.status in INTERRUPTED:
        raise KeyboardInterrupt
    if ended.status:
        raise HarnessError(ended.said)


def _flatten(draft: Path) -> None:
    """Take results and samples out of the folder that lm-eval names by the model."""
    for results in list(draft.glob(f"*/{_RESULTS}")):
        inner = results.parent
        for path in list(inner.iterdir()):
            path.rename(draft / path.name)
        inner.rmdir()
