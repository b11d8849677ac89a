"""What tests of studies share: a study's file, its plan, and somebody who runs units in no time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.app import build
from harness.studies.planning.make import make_plan
from harness.studies.planning.plan import Plan
from harness.studies.reading.file import Study, read_study
from harness.studies.units import Outcome, Unit

STEERING = """\
study: steering
defaults:
  device: cpu
  batch_size: 8
  metadata: {data: testbed}
make:
  vectors: {command: axbench train, model: "testbed:teacher", layer: 2, methods: [diffmean, random]}
  unused: {command: axbench train, model: "testbed:student", layer: 1}
runs:
  - {name: plain, model: hf, model_args: {pretrained: "testbed:teacher"}}
  - name: steered
    model: hf-steered
    model_args: {pretrained: "testbed:teacher", steering: "{vectors}", method: [diffmean, random]}
tasks: [axbench_steer, llm_aggrefact]
compare: {baseline: plain}
"""


def written(folder: Path, text: str = STEERING) -> Study:
    """A study's file, read."""
    (folder / "study.yaml").write_text(text)
    return read_study(folder / "study.yaml", folder / "out")


def planned(folder: Path, text: str = STEERING) -> Plan:
    """A study's plan."""
    return make_plan(written(folder, text), build())


class Instant:
    """Runs a unit by making its folder; some fail, as their command says it."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.failing = failing
        self.ran: list[str] = []

    def run(self, units: Sequence[Unit], *, keep_going: bool) -> Iterator[Outcome]:
        missing = {unit.name for unit in units}
        for unit in units:
            if not missing.isdisjoint(unit.needs):
                continue
            self.ran.append(unit.name)
            if unit.name in self.failing:
                yield Outcome(unit.name, "out of memory", 1.0)
                if not keep_going:
                    return
                continue
            unit.folder.mkdir(parents=True)
            missing.discard(unit.name)
            yield Outcome(unit.name, None, 1.0)
