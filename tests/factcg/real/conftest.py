from __future__ import annotations

import pytest

from harness.testbed import resolve


@pytest.fixture(scope="package")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SmolLM2-135M-Instruct, unpacked once for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERHARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return resolve("testbed:smollm2")
