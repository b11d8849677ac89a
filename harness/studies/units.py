"""What a study is made of: units of work, each a command that a person could type.

    artefact   harness axbench train … --out ARTEFACT       a folder that appears by one rename
    cell       lm_eval run --config CONFIG.yaml             one model, one task (or group of tasks)

Units form a graph: a cell needs the artefacts that its configuration names. Each has a key, the
hash of all that determines what it makes: its configuration, the keys of what it needs, the content
of the local files that it names, the versions of the packages that matter. Where and how it runs
(``--out``, device, batch size, processes) is no part of the key.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Resources:
    """What a unit needs of a machine, in Ray's terms."""

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Unit:
    """A node of the study's graph.

    Args:
        name: As the study's file and messages call it; unique in the study.
        key: 16 hexadecimal digits.
        folder: Where its result is: there once it is done, and only then.
        words: The command as a person can type it: ``("harness", "axbench", "train", …)``,
            ``("lm_eval", "run", "--config", …)``; of a cell without where it writes.
        needs: Names of the units that must be done before.
        log: The file that gets all that the command prints.
        resources: What it needs of a machine.
    """

    name: str
    key: str
    folder: Path
    words: tuple[str, ...]
    needs: tuple[str, ...]
    log: Path
    resources: Resources = Resources()

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return self.folder.is_dir()


@dataclass(frozen=True)
class Artefact(Unit):
    """A folder that a ``harness`` command writes; it stops and goes on as that command does."""


@dataclass(frozen=True)
class Cell(Unit):
    """One lm-eval run, or the judging of its saved samples by ``harness score``.

    Args:
        target: The option that says where it writes. Whoever runs the cell appends it and a draft
            folder, which becomes ``folder`` by one rename when the command has ended well.
        run: The name of its run, with the values that tell its variant apart: ``steered-diffmean``.
        task: Its task, or group of tasks.
        config: lm-eval's own run configuration, without ``output_path``.
        sharing: Cells of equal ``sharing`` load the same model and are run one after another by one
            process, which loads it once.
        unjudged: The key without the judge: a finished cell with the same one has the responses.
    """

    target: str = "--output_path"
    run: str = ""
    task: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    sharing: str = ""
    unjudged: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a unit ended.

    Args:
        unit: Its name.
        error: The last line that it said; None where it was done.
        seconds: How long it took.
    """

    unit: str
    error: str | None
    seconds: float


class Executor(Protocol):
    """Runs units: each once, after those that it needs; one whose needs failed is not run."""

    def run(self, units: Sequence[Unit], *, keep_going: bool) -> Generator[Outcome, None, None]:
        """Yield how each unit ended, as it ends; at the first failure stop unless ``keep_going``.

        Units whose needs are done, or fail, or are not among ``units`` are the caller's care: what
        is in ``units`` is to be run, and what is needed and not in ``units`` is done.
        """
        ...
