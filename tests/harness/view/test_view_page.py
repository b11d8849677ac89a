from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import choose, texts
from seen_runs import judged, line, run

from harness.view import write_view

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser
TAKE = "document.title='taken'"
HOSTILE = f'</script><script>{TAKE}</script><img src=x onerror="{TAKE}">\u2028\'"`${{1}}'


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    concepts = ["the sea", "gold"]

    def steered(number: int) -> dict[str, object]:
        row = {"concept": concepts[number % 2], "instruction": f"Say {number}.", "factor": 1.0}
        return judged(
            number, f"I say {number}.", {"fluency": None if number == 3 else 2.0}, doc=row
        )

    quiz = [
        line(0),
        line(1, "No."),
        line(2, HOSTILE, doc={"question": HOSTILE, "__proto__": HOSTILE}),
    ]
    marks = [["An ", "accepted"], ["bad", "rejected"], ["answer.", "written"]]
    other = [line(0, traces=[{"marks": marks}]), line(1), line(2)]
    run(folder / "a", {"quiz": quiz, "steer": [steered(i) for i in range(6)]}, model="org/first")
    run(folder / "b", {"quiz": other}, model="org/<b>second</b>")
    run(folder / "c", {"astral_safety": [line(0, "HIDDEN", prompt="HIDDEN")]}, model="org/third")
    write_view([folder], folder / "view")
    return folder / "view"


@pytest.fixture
def page(view: Path, browser: Chrome) -> Iterator[Chrome]:
    opened(browser, view)
    yield browser
    assert browser.get_log("browser") == []
    assert browser.title == "Samples"


def opened(browser: Chrome, view: Path, address: str = "") -> None:
    browser.get("about:blank")
    browser.get(f"{(view / 'index.html').as_uri()}{address}")
    settled(browser)


def settled(browser: Chrome) -> None:
    until(browser, "document.querySelector('.document .card, .document .empty')")
    time.sleep(0.15)


def until(browser: Chrome, script: str) -> None:
    for _ in range(200):
        if browser.execute_script(f"return Boolean({script})"):
            return
        time.sleep(0.02)
    raise AssertionError(f"never: {script}")


def press(browser: Chrome, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()
    time.sleep(0.15)


def listed(browser: Chrome) -> list[str]:
    return texts(browser, ".row > .under")


def test_runs_stand_side_by_side_with_drafts_drawn(page: Chrome) -> None:
    assert texts(page, ".card h3") == ["org/first", "org/<b>second</b>"]
    assert texts(page, ".card .piece.rejected")[0] == "bad"
    assert texts(page, ".asked-for h4") == ["Prompt", "Target"]


def test_filters(page: Chrome) -> None:
    assert len(listed(page)) == 10
    choose(page, "show", "scores differ between runs")
    assert listed(page) == ["quiz 1", "quiz 2"]
    choose(page, "show", "unscored")
    assert listed(page) == ["steer 3"]
    choose(page, "show", "wrong")
    choose(page, "run", "org/first")
    assert listed(page) == ["quiz 1", "quiz 2"]
    page.find_element("id", "reset").click()
    page.find_element("css selector", "#more summary").click()
    choose(page, "facet-0", "gold")
    assert listed(page) == ["steer 1", "steer 3", "steer 5"]
    page.find_element("id", "reset").click()
    page.find_element("id", "low").send_keys("1.5\t")
    assert listed(page) == ["steer 0", "steer 1", "steer 2", "steer 4", "steer 5"]


def test_texts_are_searched_and_found_words_marked(page: Chrome) -> None:
    page.find_element("id", "text").send_keys("SAY 4")
    until(page, "document.querySelectorAll('.row').length === 1")
    assert listed(page) == ["steer 4"]
    until(page, "document.querySelector('.answer mark')")
    assert set(texts(page, ".answer mark")) == {"say", "4"} or "say" in texts(page, ".answer mark")


def test_the_keyboard(page: Chrome) -> None:
    press(page, "j", "j")
    assert page.execute_script("return location.hash") == "#task=quiz&doc=2"
    page.find_element("xpath", "//summary[text()='All fields of the document']").click()
    time.sleep(0.1)
    press(page, "k")
    assert page.find_elements("css selector", ".document > details[open]"), "it stays unfolded"
    press(page, "G")
    assert texts(page, ".document h2") == ["astral_safety 0"]
    press(page, "g", "/", "j")
    assert page.execute_script("return document.getElementById('text').value") == "j"
    press(page, "\ue00c", "?")
    assert page.execute_script("return document.getElementById('help').open")
    press(page, "\ue00c")
    assert not page.execute_script("return document.getElementById('help').open")


def test_an_address_leads_to_one_sample(view: Path, page: Chrome) -> None:
    rows = page.execute_script(
        "return JSON.parse(document.getElementById('data').textContent).runs"
    )
    second = next(one[0][0] for one in rows if "second" in one[1])
    opened(page, view, f"#task=quiz&doc=1&run={second}")
    assert texts(page, ".document h2") == ["quiz 1"]
    assert texts(page, ".card.asked h3") == ["org/<b>second</b>"]
    page.execute_script("location.hash = '#task=steer&doc=2'")
    until(page, "document.querySelector('.document h2').textContent === 'steer 2'")


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods at two factors: of document 0 they differ at 1, of document 1 at 2."""
    folder = tmp_path_factory.mktemp("factors")
    ratings = {"one": ((1, 2), (0, 1)), "other": ((0, 2), (0, 2))}
    for name, documents in ratings.items():
        rows = [
            judged(
                2 * number + place,
                f"{name} {number} {factor}",
                {"fluency": float(given[place])},
                doc={"instruction": f"Say {number}.", "factor": factor},
                prompt=f"Say {number}.",
            )
            for number, given in enumerate(documents)
            for place, factor in enumerate((1.0, 2.0))
        ]
        run(folder / name, {"steer": rows}, model=f"org/{name}")
    write_view([folder], folder / "view")
    return folder / "view"


def test_a_chosen_factor_is_what_runs_are_compared_at(factors: Path, browser: Chrome) -> None:
    opened(browser, factors)
    choose(browser, "show", "scores differ between runs")
    assert texts(browser, ".row .words") == ["Say 0.", "Say 1."]
    browser.find_element("xpath", "//div[@class='factors']/button[text()='1']").click()
    until(browser, "document.querySelectorAll('.row').length === 1")
    assert texts(browser, ".row .words") == ["Say 0."]
    settled(browser)
    assert texts(browser, ".card .answer") == ["one 0 1.0", "other 0 1.0"]
    address = browser.execute_script("return location.hash")
    assert address.endswith("&factor=1")
    opened(browser, factors, address)
    assert texts(browser, ".card .answer") == ["one 0 1.0", "other 0 1.0"]


def test_back_leads_from_a_document_to_the_list_where_only_one_has_room(
    view: Path, page: Chrome
) -> None:
    page.set_window_size(500, 900)
    opened(page, view)
    page.find_elements("css selector", ".row")[2].click()
    until(page, "document.body.classList.contains('reading')")
    page.back()
    until(page, "!document.body.classList.contains('reading')")
    assert "index.html" in page.current_url and len(listed(page)) > 5
    page.find_elements("css selector", ".row")[1].click()
    until(page, "document.body.classList.contains('reading')")
    page.find_element("css selector", ".back").click()
    until(page, "!document.body.classList.contains('reading')")
    page.forward()
    until(page, "document.body.classList.contains('reading')")
    assert texts(page, ".document h2") == ["quiz 1"]


def test_what_is_planted_runs_nothing(view: Path, page: Chrome) -> None:
    opened(page, view, "#task=quiz&doc=2")
    assert HOSTILE.rstrip() in texts(page, ".card .answer")[0]
    assert page.execute_script("return document.querySelectorAll('img, .card script').length") == 0
    assert page.title == "Samples"


def test_hidden_texts_are_not_there(view: Path, page: Chrome) -> None:
    opened(page, view, "#task=astral_safety&doc=0")
    assert texts(page, ".card .answer") == ["[hidden: 6 characters]"]
    assert "Texts of safety suites are left out (1 sample)" in texts(page, ".standfirst")[0]


def test_a_hundred_thousand_samples_open_in_under_three_seconds(
    tmp_path: Path, browser: Chrome
) -> None:
    lines = (line(i, f"Answer {i}." if i % 3 else "An answer.") for i in range(100_000))
    write_view([run(tmp_path / "a", {"quiz": lines})], tmp_path / "view")
    browser.get("about:blank")
    started = time.monotonic()
    browser.get((tmp_path / "view" / "index.html").as_uri())
    until(browser, "document.querySelector('.row') && document.querySelector('.card')")
    assert time.monotonic() - started < 3
    until(browser, "document.getElementById('count').textContent === '100,000 of 100,000'")
    browser.execute_script("document.getElementById('list').scrollTop = 3e6")
    until(browser, "document.querySelector('.row .words').textContent.startsWith('Question 48')")
    assert len(texts(browser, ".row")) < 60
    browser.find_element("id", "text").send_keys("question 99998")
    until(browser, "document.getElementById('count').textContent.startsWith('1 of')")
    assert browser.get_log("browser") == []
