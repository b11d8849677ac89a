from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from browsing import choose, quiet, texts
from leaderboard_samples import document, save, task

from harness.leaderboard import read_results, write_html

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver import Chrome

pytestmark = pytest.mark.long

ATTACK = '</script><script>window.planted=1</script><img src=x onerror="window.planted=2"><!--'


def embedded(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(found)


def planted() -> dict[str, Any]:
    return document(
        {ATTACK: task({f"{ATTACK},none": 0.5}, metadata={"data_source": ATTACK})},
        model_args={"pretrained": ATTACK},
        method=ATTACK,
        method_args={ATTACK: ATTACK},
    )


def test_planted_markup_stays_text(tmp_path: Path) -> None:
    write_html(read_results([save(tmp_path, planted())]), tmp_path / "a.html", title=ATTACK)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script>window.planted" not in page and "<img" not in page
    assert page.count("<script") == 2 and page.count("</script") == 2 and "<!--" not in page
    data = embedded(page)
    assert dict(zip(data["runFields"], data["runs"][0], strict=True))["model"] == ATTACK


def test_nothing_is_loaded_from_elsewhere(many: Path, tmp_path: Path) -> None:
    write_html(read_results([many]), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    links = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)=\"([^\"]*)", page)
    assert links == ["data:,"]
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttpRequest", page)
    assert set(re.findall(r"https?://[^\"]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


def test_infinity_is_not_json(tmp_path: Path) -> None:
    content = document({"t": task({"ppl,none": float("inf")})})
    write_html(read_results([save(tmp_path, content)]), tmp_path / "a.html")
    data = embedded((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert data["rows"][0][data["rowFields"].index("value")] is None


# The page in a browser.


def opened(browser: Chrome, table: Path, page: Path) -> None:
    write_html(read_results([table]), page)
    browser.get(page.as_uri())


@pytest.mark.browser
def test_it_opens_ranks_and_sorts(browser: Chrome, many: Path, tmp_path: Path) -> None:
    opened(browser, many, tmp_path / "a.html")
    assert browser.title == "Leaderboard"
    assert len(texts(browser, "#body tr.entry")) == 50
    assert texts(browser, "#count") == ["1–50 of 123"]
    head = browser.find_element("css selector", "th[data-column=score] button")
    head.click()
    states = browser.execute_script(
        "return [...document.querySelectorAll('#head th')]"
        ".map((node) => node.getAttribute('aria-sort'))"
    )
    assert states == ["none", "none", "none", "none", "descending", "none", "none"]
    scores = [float(text) for text in texts(browser, "#body .value")]
    assert scores == sorted(scores, reverse=True)
    head.send_keys("\n")
    assert browser.execute_script(
        "return document.querySelector('th[data-column=score]').getAttribute('aria-sort')"
    ) == ("ascending")
    scores = [float(text) for text in texts(browser, "#body .value")]
    assert scores == sorted(scores)
    quiet(browser)


@pytest.mark.browser
def test_limited_runs_stay_last_however_it_is_sorted(
    browser: Chrome, many: Path, tmp_path: Path
) -> None:
    opened(browser, many, tmp_path / "a.html")
    choose(browser, "task", "steer")
    for column in ("rank", "model", "score", "date"):
        for _ in range(2):
            browser.find_element("css selector", f"th[data-column={column}] button").click()
            browser.execute_script("document.getElementById('next').click()")
            faded = browser.execute_script(
                "return [...document.querySelectorAll('tbody tr.entry')]"
                ".map((node) => node.classList.contains('faded'))"
            )
            assert faded == [False] * 5 + [True] * 5
            assert set(texts(browser, "tr.faded .rank")) == {"–"}
            assert set(texts(browser, "tr.faded .badge")) == {"limit 10"}
    browser.find_element("id", "limited").click()
    time.sleep(0.1)
    assert texts(browser, "#count") == ["1–50 of 55"]
    quiet(browser)


@pytest.mark.browser
def test_filters_and_details(browser: Chrome, many: Path, tmp_path: Path) -> None:
    opened(browser, many, tmp_path / "a.html")
    choose(browser, "task", "steer")
    assert set(texts(browser, "td.task .lead")) == {"steer"}
    browser.find_element("id", "text").send_keys("DIFFMEAN model-0")
    time.sleep(0.4)
    assert texts(browser, "td.model .lead") == [f"org/model-0{n}" for n in (9, 6, 3, 0)]
    choose(browser, "model", "org/model-06")
    choose(browser, "metric", "fluency")
    assert texts(browser, "#body .value") == ["1.000"]
    assert len(texts(browser, ".figure")) == 1
    browser.find_element("css selector", ".entry .open").click()
    shown = dict(zip(texts(browser, ".details dt"), texts(browser, ".details dd"), strict=True))
    assert shown["Method arguments"] == "factor\u00a06" and shown["Hardware"] == "AMD EPYC (2 CPUs)"
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert texts(browser, "#body .value") == ["1.000"]
    browser.find_element("id", "reset").click()
    time.sleep(0.1)
    assert texts(browser, "#count") == ["1–50 of 123"]
    browser.find_element("id", "text").send_keys("no such model")
    time.sleep(0.4)
    assert texts(browser, "td.empty") == ["Nothing matches. Clear a filter to see more."]
    quiet(browser)


@pytest.mark.browser
def test_the_comparison(browser: Chrome, many: Path, tmp_path: Path) -> None:
    opened(browser, many, tmp_path / "a.html")
    choose(browser, "task", "steer")
    assert texts(browser, ".figure h3") == ["steer overall ↑"]
    assert texts(browser, ".bars .name")[:2] == ["model-54", "model-53"]
    x1, x2, cx = browser.execute_script(
        "const [bar] = document.querySelectorAll('.bars svg');"
        "const at = (tag, name) => parseFloat(bar.querySelector(tag).getAttribute(name));"
        "return [at('.whisker', 'x1'), at('.whisker', 'x2'), at('.dot', 'cx')]"
    )
    assert cx == pytest.approx((x1 + x2) / 2, abs=0.01) and x1 < x2
    browser.find_element("css selector", ".figure button").click()
    assert len(texts(browser, ".bars li")) == 60
    limited = browser.execute_script(
        "return [...document.querySelectorAll('.bars li')]"
        ".map((node) => node.classList.contains('limited'))"
    )
    assert limited == [False] * 55 + [True] * 5
    quiet(browser)


@pytest.mark.browser
def test_a_planted_script_does_not_run(browser: Chrome, tmp_path: Path) -> None:
    save(tmp_path / "r", planted())
    opened(browser, tmp_path / "r", tmp_path / "a.html")
    browser.find_element("css selector", ".entry .open").click()
    assert browser.execute_script("return window.planted") is None
    assert texts(browser, "td.model .lead") == [ATTACK]
    assert texts(browser, ".figure h3 span") == [f"{ATTACK} ↑"]
    quiet(browser)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(
    browser: Chrome, many: Path, tmp_path: Path, scheme: str
) -> None:
    save(many, planted(), "planted")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    opened(browser, many, tmp_path / "a.html")
    width, inner = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert inner == 390 and width <= inner
    browser.execute_script("document.querySelector('.entry .open').click()")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    choose(browser, "order", "Score")
    scores = [float(text) for text in texts(browser, "#body .value")]
    assert scores == sorted(scores, reverse=True)
    red = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (red > 200) == (scheme == "light")
    quiet(browser)


@pytest.mark.browser
def test_five_thousand_runs_open(browser: Chrome, tmp_path: Path) -> None:
    from harness.leaderboard import Table
    from harness.leaderboard.parsing import rows_of

    part = {"acc,none": 0.5, "acc_stderr,none": 0.01, "f1,none": 0.6, "f1_stderr,none": 0.01}
    content = document({f"task_{n}": task(part) for n in range(4)})
    rows = []
    for number in range(5000):
        content["config"]["model_args"] = {"pretrained": f"org/model-{number}"}
        rows += rows_of(content, run_id=f"{number:012}", file=f"results_{number}.json")
    write_html(Table(rows=tuple(rows)), tmp_path / "a.html")
    started = time.perf_counter()
    browser.get((tmp_path / "a.html").as_uri())
    assert texts(browser, "#count") == ["1–50 of 20,000"]
    assert time.perf_counter() - started < 15
    quiet(browser)
