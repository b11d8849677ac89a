"""The installed lm-eval, inside: what we touch of it is there and does what we need."""

from __future__ import annotations

import logging
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.cli import doctor
from harness.host import discovery, joining, lm_eval_seams, seam_checks

pytestmark = pytest.mark.long

PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())


@pytest.mark.parametrize("seam", seam_checks.SEAMS, ids=lambda seam: seam.what)
def test_lm_eval_is_inside_as_we_need_it(seam: seam_checks.Seam) -> None:
    moved = seam.moved()
    assert moved is None, moved


def test_a_seam_that_has_moved_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = seam_checks.Seam(
        "how moons rise", seam_checks._members("json.decoder:JSONDecoder", "up")
    )
    line = gone.moved()
    assert line is not None and "\n" not in line
    assert line.startswith(f"lm-eval {lm_eval_seams.version()} has changed how moons rise: ")
    assert "json.decoder:JSONDecoder has no up" in line
    monkeypatch.setattr(seam_checks, "SEAMS", (gone,))
    finding = doctor._lm_eval()
    assert (
        finding.level == "fail" and line in finding.state and lm_eval_seams.KNOWN in finding.advice
    )


def test_the_known_range_is_the_one_we_depend_on() -> None:
    assert f"lm-eval[api,hf]{lm_eval_seams.KNOWN}" in PYPROJECT["project"]["dependencies"]


@pytest.mark.parametrize("version", ["0.4.13", "0.4.13.dev0", "0.4.14", "0.4.20"])
def test_versions_we_know(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(lm_eval_seams, "version", lambda: version)
    assert lm_eval_seams.unknown_version() is None


@pytest.mark.parametrize("version", ["0.5", "0.5.0.dev0", "1.0", "0.4.12", "unknown"])
def test_another_lm_eval_is_told_in_one_line_and_joined_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    monkeypatch.setattr(lm_eval_seams, "version", lambda: version)
    joining._known_lm_eval.cache_clear()

    @joining._carefully
    def join_moons(module: ModuleType) -> None:
        raise AttributeError("no moons here")

    try:
        with caplog.at_level(logging.WARNING):
            join_moons(joining)
            join_moons(joining)
    finally:
        joining._known_lm_eval.cache_clear()
    first, *others = [record.getMessage() for record in caplog.records]
    assert f"does not know lm-eval {version}" in first and "\n" not in first
    assert "pip install 'lm-eval>=0.4.13,<0.5'" in first
    assert others == ["join_moons: plugins stay out: AttributeError: no moons here"] * 2
    finding = doctor._lm_eval()
    assert finding.level == "fail" and f"does not know lm-eval {version}" in finding.state


def test_a_failure_with_an_lm_eval_we_know_is_not_hidden() -> None:
    @joining._carefully
    def join_moons(module: ModuleType) -> None:
        raise AttributeError("no moons here")

    with pytest.raises(AttributeError, match="no moons here"):
        join_moons(joining)


TARGET = "json.decoder:JSONDecoder"


def entry_point(value: str, dist: Any = None) -> EntryPoint:
    point = EntryPoint("m", value, "lm_eval.models")
    return point._for(dist) if dist else point


def kept_forms() -> dict[str, Any]:
    from json.decoder import JSONDecoder

    return {
        "text": TARGET,
        "text with a space": "json.decoder: JSONDecoder",
        "class": JSONDecoder,
        "entry point": entry_point(TARGET),
        "entry point with extras": entry_point(f"{TARGET} [fast]"),
        "entry point of another module": entry_point("json:JSONDecoder"),
        "text of another module": "json:JSONDecoder",
        "placeholder": SimpleNamespace(value=TARGET),
    }


@pytest.mark.parametrize("form", sorted(kept_forms()))
def test_a_name_that_stands_for_the_same_thing_is_left_alone(form: str) -> None:
    from lm_eval.api.registry import Registry

    registry: Registry[Any] = Registry("model")
    registry.register("m", target=kept_forms()[form])
    plugin = discovery.Plugin("p", "p", "1", {("model", "m"): TARGET})
    joining._enter(registry, "model", plugin, "m", TARGET)
    assert plugin.error is None


def test_a_model_of_parts_that_was_built_before_is_the_same() -> None:
    """lm-eval keeps the class that a target gave; the same parts give another one of that name."""
    from lm_eval.api.registry import Registry

    from harness.models import composing

    target = "harness.models.composing:hf_steered"
    registry: Registry[Any] = Registry("model")
    registry.register("m", target=composing.hf_steered)
    composing._composed.cache_clear()
    assert composing.hf_steered is not lm_eval_seams.held(registry, "m")
    plugin = discovery.Plugin("p", "p", "1", {("model", "m"): target})
    joining._enter(registry, "model", plugin, "m", target)
    assert plugin.error is None


def other_forms() -> dict[str, Any]:
    from json.encoder import JSONEncoder

    return {
        "text": "json.encoder:JSONEncoder",
        "class": JSONEncoder,
        "entry point": entry_point("json.encoder:JSONEncoder"),
        "missing": "json.no_such_module:JSONDecoder",
        "elsewhere": "no_such_package:JSONDecoder",
        "placeholder": SimpleNamespace(value="json.encoder:JSONEncoder"),
    }


@pytest.mark.parametrize("form", sorted(other_forms()))
def test_a_name_that_stands_for_something_else_is_refused(form: str) -> None:
    from lm_eval.api.registry import Registry

    registry: Registry[Any] = Registry("model")
    registry.register("m", target=other_forms()[form])
    plugin = discovery.Plugin("p", "p-dist", "1", {("model", "m"): TARGET, ("model", "n"): TARGET})
    joining._enter(registry, "model", plugin, "n", TARGET)
    joining._enter(registry, "model", plugin, "m", TARGET)
    assert plugin.error is not None and plugin.names == {}
    assert f"model 'm' is lm-eval's own (lm-eval {lm_eval_seams.version()}: " in plugin.error
    assert "'p' (p-dist 1)" in plugin.error
    assert "n" not in registry and "m" in registry


def test_an_entry_point_of_another_distribution_is_named_as_the_owner() -> None:
    from lm_eval.api.registry import Registry

    registry: Registry[Any] = Registry("model")
    dist = SimpleNamespace(name="other-dist", version="3")
    registry.register("m", target=entry_point("json.encoder:JSONEncoder", dist))
    plugin = discovery.Plugin("p", "p-dist", "1", {("model", "m"): TARGET})
    joining._enter(registry, "model", plugin, "m", TARGET)
    assert plugin.error is not None
    assert "an entry point of another package (other-dist 3: json.encoder:JSONEnc" in plugin.error


def test_a_plugins_registration_goes_before_its_own_packages_entry_point() -> None:
    from lm_eval.api.registry import Registry

    registry: Registry[Any] = Registry("model")
    dist = SimpleNamespace(name="P_dist", version="1")
    registry.register("m", target=entry_point("json.where_it_was:JSONDecoder", dist))
    plugin = discovery.Plugin("p", "p-dist", "1", {("model", "m"): TARGET})
    joining._enter(registry, "model", plugin, "m", TARGET)
    assert plugin.error is None and lm_eval_seams.held(registry, "m") == TARGET


class Manager:
    """A TaskManager of a later lm-eval, with an argument that we do not know."""

    def __init__(
        self,
        brand_new: str = "",
        include_path: list[Path] | None = None,
        include_defaults: bool = True,
        *,
        newer: str = "",
    ) -> None:
        entry = SimpleNamespace(yaml_path=Path("x.yaml"), tags=set())
        names = [f"{Path(p).name}_task" for p in include_path or []]
        names += ["stock"] * include_defaults
        self._index = dict.fromkeys(names, entry)
        self._all_tasks = self._all_subtasks = sorted(names)
        self._all_groups: list[str] = []
        self._all_tags: list[str] = []
        self.given = (brand_new, newer)


def test_arguments_that_we_do_not_know_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = Manager.__init__
    plugins = (discovery.Plugin("p", "p", "1", folders=[Path("ours")]),)
    monkeypatch.setattr(discovery, "plugins", lambda: plugins)
    try:
        joining._complete_index(Manager)
        full = Manager("a", newer="b")
        bare = Manager("a", [Path("theirs")], False, newer="b")
    finally:
        Manager.__init__ = stock  # type: ignore[method-assign]
    assert full.given == bare.given == ("a", "b")
    assert full._all_tasks == ["ours_task", "stock"]
    assert bare._all_tasks == ["theirs_task"]


@pytest.mark.parametrize("kind", ["model", "filter", "metric", "aggregation"])
def test_entry_points_that_lm_eval_reads_itself_are_what_we_register(kind: str) -> None:
    discovery.plugins.cache_clear()
    declared = PYPROJECT["project"]["entry-points"].get(f"lm_eval.{kind}s", {})
    assert declared == discovery.entry_points_of(kind, "paperharness")
