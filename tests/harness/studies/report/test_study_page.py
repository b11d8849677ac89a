"""The study's page: what it says, and in a browser."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import quiet, texts
from study_results import Study, difference

from harness.comparing.difference import Uncompared
from harness.leaderboard import Table
from harness.leaderboard.parsing import rows_of
from harness.studies.report import Cost, Failure, View, costs_of, write_report

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.long

ATTACK = '</script><script>window.planted=1</script><img src=x onerror="window.planted=2"><!--'


def acc(value: float) -> dict[str, Any]:
    return {"acc,none": value, "acc_stderr,none": 0.05, "f1,none": 0.25}


def small(folder: Path, **more: Any) -> View:
    """Three runs on a task of gains, a general group of two, and a task of which none is done."""
    study = Study(folder)
    for run, gain, general in (("plain", 0.3, 0.7), ("good", 0.8, 0.6), ("poor", 0.4, 0.5)):
        study.done(run, "gain", acc(gain), metadata={"headline": "acc"})
        parts = {"part_one": acc(general - 0.1), "part_two": acc(general + 0.1)}
        study.written(run, "general", parts, group=acc(general), chance=0.25)
        study.planned(run, "late")
    pairs = [
        difference("good", "gain", 0.5, baseline_value=0.3, value=0.8),
        difference("poor", "gain", 0.1, half=0.2, baseline_value=0.3, value=0.4),
        difference("good", "general", -0.1, half=0.02),
        difference("poor", "general", -0.2, half=0.02),
    ]
    view = study.view(
        gain="gain",
        retained=["general"],
        differences=pairs,
        uncompared=[Uncompared(task="late", baseline="plain", run="good", reason="not done")],
        failed=[Failure(name="good/late", line="no memory left", log="logs/good.late.log")],
        missing=["plain/late", "poor/late"],
    )
    return replace(view, **({"costs": costs_of(view.cells, view.table)} | more))


def hostile(folder: Path) -> View:
    """Every text is an attack."""
    study = Study(folder)
    runs = {"plain": 0.5, ATTACK: 0.6}
    for run, value in runs.items():
        for task in (ATTACK, "general"):
            study.written(
                run,
                task,
                {task: {f"{ATTACK},{ATTACK}": value, f"{ATTACK}_stderr,{ATTACK}": 0.01}},
                metadata={"data_source": ATTACK, "split": ATTACK, "judge": {"model": ATTACK}},
                config={"method": ATTACK, "model_args": {"pretrained": ATTACK}},
            )
            study.cells[-1] = replace(study.cells[-1], command=ATTACK)
        study.planned(run, ATTACK + ATTACK)
    pair = difference(ATTACK, ATTACK, 0.1, metric=ATTACK, filter=ATTACK, test=ATTACK)
    return study.view(
        title=ATTACK,
        gain=ATTACK,
        retained=["general", ATTACK * 2],
        differences=[pair],
        uncompared=[Uncompared(task=ATTACK, baseline=ATTACK, run=ATTACK, reason=ATTACK)],
        failed=[Failure(name=study.cells[-1].name, line=ATTACK, log=ATTACK)],
        missing=[ATTACK],
    )


def page_of(view: View, folder: Path) -> str:
    write_report(folder / "report.html", view)
    return (folder / "report.html").read_text(encoding="utf-8")


def words_of(page: str) -> str:
    """The page's text without its script and style."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


def test_it_answers_what_a_reader_asks(tmp_path: Path) -> None:
    words = words_of(page_of(small(tmp_path), tmp_path))
    assert "3 runs of 1 model on 3 tasks, set against the baseline, plain" in words
    assert "6 of 9 cells are done. 1 failed, 2 missing ." in words
    assert "gain acc ↑ good 0.800 0.702 to 0.898 +0.500 +0.450 to +0.550 yes, p = 0.004" in words
    assert "general acc ↑ plain not told apart: good" not in words
    assert "the baseline; 2 of 2 worse" in words
    assert "late: not done good" in words
    assert "good/late failed no memory left logs/good.late.log" in words


def test_it_says_who_judged_and_what_is_of_a_part_of_the_data(tmp_path: Path) -> None:
    study = Study(tmp_path)
    judge = {"judge": {"model": "local-chat-completions", "model_args": {"model": "some-judge"}}}
    study.done("plain", "t", acc(0.5), metadata=judge, n=10)
    study.done("other", "t", acc(0.5), metadata=judge)
    view = study.view(failed=[Failure(name="a", line="b", log="c")])
    words = words_of(page_of(view, tmp_path))
    assert "done. Some values are of a part of the data (limit 10). 1 failed ." in words
    assert "acc ↑, judged by some-judge other 0.500" in words


def test_a_study_without_baseline_or_general_tasks_says_so(tmp_path: Path) -> None:
    view = small(tmp_path, baseline=None, gain=None, retained=(), differences=(), uncompared=())
    words = words_of(page_of(view, tmp_path))
    assert "The study names no baseline, so nothing is compared." in words
    assert "The study names no task of gains" in words


def test_too_few_units_are_said_to_be_so(tmp_path: Path) -> None:
    few = difference("good", "gain", 0.5, low=None, high=None, p=None, p_holm=None, units=1)
    words = words_of(page_of(small(tmp_path, differences=[few]), tmp_path))
    assert "+0.500 not tested, too few units" in words
    assert "— too few units" in words and "100 in 1 unit" in words


def test_a_study_of_which_all_failed_has_a_page(tmp_path: Path) -> None:
    study = Study(tmp_path)
    cell = study.planned("plain", "gain")
    failed = [Failure(name=cell.name, line="no memory left", log="a.log")]
    view = study.view(table=Table(rows=()), failed=failed)
    words = words_of(page_of(view, tmp_path))
    assert "1 run of 0 models on 1 task" in words
    assert "plain/gain failed no memory left" in words


def test_unknown_costs_are_dashes(tmp_path: Path) -> None:
    view = small(tmp_path, costs={"plain/gain": Cost(seconds=2.0)})
    page = page_of(view, tmp_path)
    (costs,) = re.findall(r'aria-labelledby="costs" tabindex.*?</table>', page, re.DOTALL)
    lines = [words_of(line) for line in re.findall(r"<tr>.*?</tr>", costs, re.DOTALL)[1:]]
    assert lines[0] == "plain baseline 0.300 100.0 — — 2 ≥ 2.00 1.00 — —"
    assert lines[1] == "good 0.800 77.8 1 of 2 1 of 2 2 — — — —"


def test_planted_markup_stays_text(tmp_path: Path) -> None:
    page = page_of(hostile(tmp_path), tmp_path)
    assert "<script>window.planted" not in page and "<img" not in page
    assert page.count("<script") == 2 and page.count("</script") == 2 and "<!--" not in page
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert [run["name"] for run in json.loads(found)["runs"]] == ["plain", ATTACK]


def test_half_a_surrogate_pair_does_not_stop_the_page(tmp_path: Path) -> None:
    assert "<title>a?b</title>" in page_of(small(tmp_path, title="a\ud800b"), tmp_path)


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = page_of(small(tmp_path), tmp_path)
    links = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)=\"([^\"]*)", page)
    assert links == ["data:,"]
    assert not re.findall(r"@import|fetch\(|XMLHttpRequest|style=\"", page)
    assert set(re.findall(r"https?://[^\"]*", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


# The page in a browser.


def opened(browser: Chrome, view: View, folder: Path) -> None:
    write_report(folder / "report.html", view)
    browser.get((folder / "report.html").as_uri())


def column(browser: Chrome, place: int) -> list[str]:
    """What a column of the matrix shows, from above."""
    return texts(browser, f"#body tr.run td:nth-of-type({place}) .value")


def order(browser: Chrome) -> list[str]:
    return texts(browser, "#body tr.run .name")


@pytest.mark.browser
def test_it_sorts_by_click_and_key(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, small(tmp_path), tmp_path)
    assert order(browser) == ["plain", "good", "poor"]
    gain = browser.find_element("css selector", '#head [data-column="0"] .sort')
    gain.click()
    assert column(browser, 1) == ["0.800", "0.400", "0.300"]
    states = 'return [...document.getElementById("head").children].map((n) => n.ariaSort)'
    assert browser.execute_script(states) == ["none", "descending", "none", "none"]
    gain.send_keys("\n")
    assert column(browser, 1) == ["0.300", "0.400", "0.800"]
    browser.find_element("css selector", '#head [data-column="run"] .sort').send_keys(" ")
    assert order(browser) == ["good", "plain", "poor"]
    quiet(browser)


@pytest.mark.browser
def test_a_group_unfolds_and_a_cell_opens(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, small(tmp_path), tmp_path)
    assert texts(browser, "#head .label") == ["Run", "gain", "general", "late"]
    browser.find_element("css selector", "#head .fold").send_keys("\n")
    assert texts(browser, "#head .label") == [
        *("Run", "gain", "general", "part_one", "part_two", "late")
    ]
    assert browser.execute_script("return document.activeElement.textContent") == "fold"
    browser.find_element("css selector", '[data-at="1-0"]').send_keys("\n")
    facts = dict(zip(texts(browser, ".sheet dt"), texts(browser, ".sheet dd"), strict=True))
    assert facts["acc"].startswith("0.800") and facts["f1"] == "0.250"
    assert facts["Over plain"] == "+0.500+0.450 to +0.550"
    assert (facts["Documents"], facts["Seconds"], facts["Cell"]) == ("100", "12.5", "good/gain")
    assert texts(browser, ".sheet pre") == ["lm_eval run --config good.gain.yaml"]
    browser.find_element("css selector", '[data-at="1-4"]').click()
    assert texts(browser, "#body .absent") == ["missing", "failed", "missing"]
    quiet(browser)


@pytest.mark.browser
def test_the_forest_s_scale_stands_under_its_lines(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, small(tmp_path), tmp_path)
    places = browser.execute_script(
        "return [...document.querySelectorAll('.grove:nth-of-type(1) :is(.zero, .ticks text)')]"
        ".filter((node) => node.classList.contains('zero') || node.textContent === '0')"
        ".map((node) => node.getBoundingClientRect()).map((box) => box.left + box.width / 2)"
    )
    assert len(places) == 3
    assert max(places) - min(places) < 1.5
    ticks = texts(browser, ".grove:nth-of-type(1) .ticks text")
    assert ticks[0] == "−0.5" and ticks[-1] == "+0.5"


@pytest.mark.browser
def test_marks_say_who_is_best_and_what_is_real(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, small(tmp_path), tmp_path)
    assert texts(browser, "#body .best .value") == ["0.700", "0.800"]
    assert texts(browser, "#body .change.good") == ["+0.500*"]
    assert texts(browser, "#body .change.bad") == ["−0.100*", "−0.200*"]
    assert texts(browser, "#body .change:not(.good):not(.bad)") == ["+0.100"]
    assert texts(browser, ".forest tr.good th") == ["good"]
    assert texts(browser, ".traded tr.front th") == ["goodon the front", "plainon the front"]
    drawn = browser.execute_script(
        "const svg = document.querySelector('[data-at=\"1-0\"] svg');"
        "const at = (tag, name) => parseFloat(svg.querySelector(tag).getAttribute(name));"
        "const [band, tick] = ['.whisker', '.base-tick'];"
        "return [at(band, 'x1'), at(band, 'x2'), at('.dot', 'cx'), at(tick, 'x1')]"
    )
    low, high, dot, base = drawn
    assert dot == pytest.approx((low + high) / 2, abs=0.02)
    assert base < low < dot < high == 97
    quiet(browser)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_sideways_and_nothing_planted_runs(
    browser: Chrome, tmp_path: Path, width: int, scheme: str
) -> None:
    device = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for name, view in (("small", small), ("hostile", hostile)):
        opened(browser, view(tmp_path / name), tmp_path)
        for _ in range(2):
            inside, outside = browser.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth]"
            )
            assert outside == width and inside <= outside
            browser.execute_script(
                "document.querySelector('#head .fold')?.click();"
                "document.querySelector('[data-at=\"1-0\"]').click();"
            )
        assert browser.execute_script("return window.planted") is None
        visible = browser.execute_script(
            "return ['wide', 'narrow'].map((name) =>"
            " getComputedStyle(document.querySelector(`.picture.${name}`)).display !== 'none')"
        )
        assert visible == ([False, True] if width < 500 else [True, False])
    red = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (red > 200) == (scheme == "light")
    quiet(browser)


@pytest.mark.browser
def test_a_thousand_cells_open_in_two_seconds(browser: Chrome, tmp_path: Path) -> None:
    study, rows, pairs = Study(tmp_path), [], []
    for number in range(1000):
        run, task = f"run-{number // 10}", f"task_{number % 10}"
        cell = study.planned(run, task)
        entry = acc(0.2 + number % 97 / 200)
        content = {
            "results": {task: entry},
            "configs": {task: {"metadata": {"chance": 0.1}}},
            "higher_is_better": {task: {"acc": True}},
            "config": {"model": "hf", "model_args": {"pretrained": run}},
        }
        file = cell.folder / "results_a.json"
        rows += rows_of(content, run_id=f"{number:012}", file=str(file))
        pairs += [difference(run, task, 0.001 * (number % 97 - 48), baseline="run-0")]
    view = study.view(
        table=Table(rows=tuple(rows)),
        baseline="run-0",
        differences=pairs[10:],
        gain="task_0",
        retained=["task_1", "task_2"],
    )
    write_report(tmp_path / "report.html", view)
    browser.get("about:blank")
    started = time.perf_counter()
    browser.get((tmp_path / "report.html").as_uri())
    cells = browser.execute_script(
        "document.body.offsetHeight;return document.querySelectorAll('#body td.cell .value').length"
    )
    took = time.perf_counter() - started
    assert cells == 1000
    assert took < 2
    browser.find_element("css selector", '#head [data-column="3"] .sort').click()
    shown = [float(value) for value in column(browser, 4)]
    assert shown == sorted(shown, reverse=True)
    quiet(browser)
