"""A hub with the papers' repositories, and commands that take it for huggingface.co."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from once import own_cache

from hub import content
from hub.server import Hub

Command = Callable[..., "Ended"]


@dataclass(frozen=True)
class Ended:
    """A command that has ended, and what it printed."""

    status: int
    output: str
    errors: str
    folder: Path

    @property
    def error(self) -> str:
        """Its one line, where it failed."""
        assert self.status != 0, self.output
        assert "Traceback" not in self.errors, self.errors
        told = [line for line in self.errors.splitlines() if line.startswith("error: ")]
        assert len(told) == 1, self.errors[-3000:]
        for token in (content.ACCEPTED, content.REFUSED):
            assert token not in self.output + self.errors
        return told[0]

    @property
    def results(self) -> dict[str, Any]:
        """lm-eval's results."""
        assert self.status == 0, self.errors[-3000:]
        (saved,) = (self.folder / "out").rglob("results_*.json")
        found: dict[str, Any] = json.loads(saved.read_text())
        return found


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub, filled."""
    made = Hub(content.ACCEPTED, content.REFUSED)
    content.fill_data(made)
    content.fill_suites(made, tmp_path_factory.mktemp("suite") / "suite")
    content.fill_models(made, tmp_path_factory.mktemp("models"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def forking(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    """Starts commands whose hub it is."""
    made = Forking(
        tmp_path_factory.mktemp("output"),
        "hub.preparing",
        HF_ENDPOINT=hub.address,
        HF_HUB_OFFLINE="0",
        HF_DATASETS_OFFLINE="0",
        HF_TOKEN="",
        HF_HUB_DISABLE_IMPLICIT_TOKEN="0",
        HF_HUB_DISABLE_XET="1",
    )
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of downloads for all that does not ask what is downloaded."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def run(forking: Forking, tmp_path: Path) -> Command:
    """Runs a command to its end: ``run("lm_eval …", home=…, token=…, offline=…)``."""
    count = 0

    def command(
        line: str, *, home: Path | None = None, token: str = "", offline: bool = False, **env: str
    ) -> Ended:
        nonlocal count
        count += 1
        folder = tmp_path / f"run {count}"
        folder.mkdir()
        started = forking.start(
            *line.split(),
            cwd=folder,
            HF_HOME=str(home or tmp_path / "home"),
            HF_TOKEN=token,
            HF_HUB_OFFLINE=str(int(offline)),
            HF_DATASETS_OFFLINE=str(int(offline)),
            PAPERHARNESS_CACHE=str(own_cache(tmp_path / "cache")),
            **env,
        )
        return Ended(started.wait(), started.output, started.errors, folder)

    return command


@pytest.fixture(scope="session")
def local(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data and models as files of a user's own."""
    return content.write_local(hub, tmp_path_factory.mktemp("local"))
