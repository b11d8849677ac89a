"""What wrappers share: load errors in a line, ``--use_cache`` refused where it would be wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness import HarnessError, HFWrapper, Wrapper
from harness.testbed import model_path


class Stock:
    def __init__(self, pretrained: Any, fails: Exception | None = None) -> None:
        if fails:
            raise fails
        self.pretrained = pretrained
        self.model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[2, 5]))
        self.eot_token_id = 7

    def set_cache_hook(self, hook: Any) -> None:
        self.hook = hook


class Free(Wrapper, Stock):
    pass


class Local(HFWrapper, Stock):
    pass


class Bound(Wrapper, Stock):
    cannot_load = "the engine cannot run {}"
    no_use_cache = ": the factor is not in it"


def test_the_testbeds_names_are_places() -> None:
    assert Free("testbed:student").pretrained == model_path("student").__str__()
    loaded = object()
    assert Free(loaded).pretrained is loaded


def test_load_errors_are_one_line() -> None:
    with pytest.raises(HarnessError, match=r"^model m cannot be loaded: a b$"):
        Free("m", fails=OSError("a\n  b"))
    with pytest.raises(HarnessError, match=r"^the engine cannot run m: RuntimeError$"):
        Bound("m", fails=RuntimeError())
    with pytest.raises(KeyError):
        Free("m", fails=KeyError("a bug is not hidden"))


def test_use_cache_is_refused_where_it_would_be_wrong() -> None:
    cache, none = SimpleNamespace(dbdict={}), SimpleNamespace(dbdict=None)
    Free("m").set_cache_hook(cache)
    Bound("m").set_cache_hook(none)
    with pytest.raises(HarnessError, match=r"--use_cache .* alone: the factor is not in it"):
        Bound("m").set_cache_hook(cache)


def test_ends_are_the_models_and_the_tokenizers() -> None:
    assert Local("m").ends() == {2, 5, 7}
