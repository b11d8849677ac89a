"""A dtype that is none is told before a model is loaded."""

from __future__ import annotations

import pytest

from harness import HarnessError
from harness.models.checkpoints import open_causal


@pytest.mark.parametrize(
    ("dtype", "said"),
    [("float3", r"did you mean float32\?"), ("half-ish", "use one of auto, float32, bfloat16")],
)
def test_a_dtype_that_there_is_not(dtype: str, said: str) -> None:
    with pytest.raises(HarnessError, match=f"^dtype {dtype}: {said}"):
        open_causal("model", "testbed:student", dtype=dtype)
