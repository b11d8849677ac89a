"""Units on a real local Ray: in order, told as they end, tried again where a process was killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_study import Study, left_over, values

from harness.errors import HarnessError
from harness.studies.executing import RayExecutor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("OMP_NUM_THREADS", "1")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield ray
        ray.shutdown()


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    with pytest.raises(HarnessError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: "):
        list(RayExecutor("127.0.0.1:1").run([study.artefact("words")], keep_going=True))


def test_a_study_on_ray(ray: Any, tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    units = [
        study.cell("after", "fails"),
        study.cell("first", "words"),
        study.cell("fails", act="fail", sharing="two"),
        study.cell("dies", act="SIGKILL"),
        study.cell("last"),
        study.artefact("words"),
    ]
    ended = {one.unit: one.error for one in RayExecutor().run(units, keep_going=True)}
    assert {name for name, error in ended.items() if error is None} == {"words", "first", "last"}
    assert ended["fails"] == "ValueError: no rows\\x1b[2J today"
    assert "killed by SIGKILL" in ended["dies"]
    assert "after" not in ended
    assert values(study.folder / "cells" / "last")[0]["obedient"]["exact_match,none"] == 1.0
    assert left_over(study.folder) == []


def test_a_killed_ray_worker_is_tried_again_and_does_only_what_is_missing(
    ray: Any, tmp_path: Path
) -> None:
    study = Study(tmp_path / "study")
    begun = tmp_path / "begun"
    units = [
        study.cell("first"),
        study.cell("second", act="once", begun=str(begun)),
        study.cell("third"),
    ]
    outcomes: list[Any] = []
    run = threading.Thread(
        target=lambda: outcomes.extend(RayExecutor(retries=2).run(units, keep_going=True))
    )
    run.start()
    _until(begun.exists)
    (worker,) = _ray_workers_at("run_batch")
    first = (study.folder / "cells" / "first").stat().st_mtime_ns
    os.kill(worker, signal.SIGKILL)
    run.join(600)
    assert [(one.unit, one.error) for one in outcomes] == [
        ("first", None), ("second", None), ("third", None),
    ]  # fmt: skip
    assert (study.folder / "cells" / "first").stat().st_mtime_ns == first
    assert left_over(study.folder) == []


def _ray_workers_at(task: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if title.startswith("ray::") and task in title:
            found.append(int(folder.name))
    return found


def _until(there: Any, seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
