"""A study killed at random moments and run again has the values of one that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import killed_study
import pytest
from small_study import Study, left_over, values

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
KILLS = 10


@dataclass(frozen=True)
class Undisturbed:
    values: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        here, given = Path(__file__).parent, os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", f"{here}:{given}")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module", params=["local", "ray"])
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "local":
        yield "local"
        return
    import ray

    found = ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False
    )
    yield found.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(where: str, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    began = time.monotonic()
    assert start(folder, where).wait() == 0
    return Undisturbed(found(folder), time.monotonic() - began)


@pytest.mark.parametrize("moment", range(KILLS))
def test_a_rerun_does_only_what_is_missing_and_ends_alike(
    where: str, undisturbed: Undisturbed, tmp_path: Path, moment: int
) -> None:
    folder = tmp_path / "study"
    share = (moment + random.Random(moment).random()) / KILLS  # one in each tenth of the time
    run = start(folder, where)
    time.sleep(share * undisturbed.seconds)
    run.send_signal(signal.SIGKILL)
    run.wait()
    before = done(folder)
    outcomes = killed_study.run(folder, where)
    assert [one.error for one in outcomes] == [None] * 5
    assert found(folder) == undisturbed.values
    after = done(folder)
    assert {name: after[name] for name in before} == before  # as it was, to the nanosecond
    again = {one.unit for one in outcomes if one.seconds > 0}
    assert again <= after.keys() - before.keys()
    assert left_over(folder) == []


def start(folder: Path, where: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, killed_study.__file__, str(folder), where])


def units(folder: Path) -> list[Any]:
    return killed_study.units(Study(folder))


def done(folder: Path) -> dict[str, int]:
    """The units that are done, with when their folders appeared."""
    return {one.name: one.folder.stat().st_mtime_ns for one in units(folder) if one.done}


def found(folder: Path) -> dict[str, Any]:
    return {
        one.name: values(one.folder) if (one.folder / "config.yaml").exists() else artefact(one)
        for one in units(folder)
    }


def artefact(unit: Any) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in unit.folder.iterdir() if path.suffix != ".json"
    }
