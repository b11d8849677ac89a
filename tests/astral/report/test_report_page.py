"""The report in a browser: it opens, sorts and filters; nothing planted in a text runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import choose, quiet, texts
from harness_astral.report.folder import write_report
from harness_astral.report.reading import read_runs
from harness_astral.report.report import report_of

from astral.made_up import ATTACK, SECRETS, inputs, outcome, planted, write_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.long


def some(folder: Path, *, show_text: bool = False) -> Path:
    """A page of two models that answered 64 inputs; outputs are of different lengths."""
    suite = inputs(replicates=8)
    runs = []
    for name, every in (("a", 3), ("b", 2)):
        came = [
            outcome("unsafe" if n % every == 0 else "safe", text="x" * n + SECRETS["output"])
            for n in range(len(suite))
        ]
        runs.append(write_run(folder / name, suite, came, model=f"m/model-{name}"))
    found = read_runs(runs, show_text=show_text)
    return write_report(report_of(found, show_text=show_text), folder / "out")


def column(browser: Chrome, name: str) -> list[str]:
    return texts(browser, f"#rows td.{name}")


def sort(browser: Chrome, name: str) -> None:
    browser.execute_script(f"document.querySelector('th[data-column={name}] button').click()")


@pytest.mark.browser
def test_it_opens_sorts_and_filters(browser: Chrome, tmp_path: Path) -> None:
    browser.get(some(tmp_path).as_uri())
    assert browser.title == "ASTRAL"
    assert texts(browser, "#count") == ["1–100 of 128"]
    assert len(texts(browser, ".map td:not(.total)")) == 2 * (4 + 2)
    assert column(browser, "run") == ["model-a"] * 64 + ["model-b"] * 36
    sort(browser, "outcome")
    assert set(column(browser, "outcome")[:54]) == {"unsafe"}  # 22 + 32 of them
    assert column(browser, "outcome")[54] == "safe"
    assert texts(browser, 'th[aria-sort="ascending"]')[0].startswith("outcome")
    sort(browser, "outcome")
    assert column(browser, "outcome")[0] == "safe"
    sort(browser, "response")
    lengths = [int(one) for one in texts(browser, "#rows td.number:last-child")]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == 63 + len(SECRETS["output"])
    sort(browser, "response")
    sort(browser, "response")  # and back to the suite's order
    assert texts(browser, "th[aria-sort]") == []
    assert column(browser, "run")[0] == "model-a"
    choose(browser, "model", "model-b")
    choose(browser, "kind", "benign")
    choose(browser, "outcome", "unsafe")
    assert texts(browser, "#count") == ["16 answers"]
    browser.find_element("id", "text").send_keys("terrorism SLANG")
    time.sleep(0.4)
    assert set(column(browser, "style")) == {"slang"}
    assert set(column(browser, "category")) == {"terrorism, organized crime"}
    assert texts(browser, "#count") == ["4 answers"]
    browser.find_element("id", "reset").click()
    time.sleep(0.1)
    browser.execute_script("document.getElementById('next').click()")
    assert texts(browser, "#count") == ["101–128 of 128"]
    quiet(browser)


@pytest.mark.browser
@pytest.mark.parametrize("show_text", [False, True])
def test_redaction_holds_on_screen(browser: Chrome, tmp_path: Path, show_text: bool) -> None:
    browser.get(some(tmp_path, show_text=show_text).as_uri())
    source = browser.page_source
    for name in ("prompt", "output", "reason"):
        assert (SECRETS[name] in source) == show_text
    assert len(texts(browser, "#rows .open")) == (100 if show_text else 0)
    if show_text:
        browser.find_element("css selector", "#rows .open").click()
        shown = texts(browser, ".texts p")
        assert shown[:2] == [f"{SECRETS['prompt']} 0", SECRETS["output"]]
        assert shown[2:] == [SECRETS["reason"]] * 2
        browser.find_element("css selector", "#rows .open").click()
        assert texts(browser, ".texts") == []
    quiet(browser)


@pytest.mark.browser
def test_a_planted_script_does_not_run(browser: Chrome, tmp_path: Path) -> None:
    browser.get(write_report(planted(tmp_path / "r"), tmp_path / "o", title=ATTACK).as_uri())
    browser.find_element("css selector", "#rows .open").click()
    assert texts(browser, ".texts p") == [ATTACK] * 4
    assert browser.title == ATTACK
    sort(browser, "category")
    choose(browser, "outcome", "All")
    assert browser.execute_script("return window.planted") is None
    quiet(browser)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(
    browser: Chrome, tmp_path: Path, scheme: str
) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(some(tmp_path, show_text=True).as_uri())
    browser.execute_script("document.querySelector('#rows .open').click()")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    paper = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (paper > 200) == (scheme == "light")
    quiet(browser)
