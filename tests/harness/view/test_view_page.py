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
def page(view: Path, reader: Chrome) -> Iterator[Chrome]:
    opened(reader, view)
    yield reader
    assert reader.get_log("browser") == []
    assert reader.title == "Samples"


def opened(reader: Chrome, view: Path, address: str = "") -> None:
    reader.get("about:blank")
    reader.get(f"{(view / 'index.html').as_uri()}{address}")
    settled(reader)


def settled(reader: Chrome) -> None:
    until(reader, "document.querySelector('.document .card, .document .empty')")
    time.sleep(0.15)


def until(reader: Chrome, script: str) -> None:
    for _ in range(200):
        if reader.execute_script(f"return Boolean({script})"):
            return
        time.sleep(0.02)
    raise AssertionError(f"never: {script}")


def press(reader: Chrome, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(reader).send_keys(*keys).perform()
    time.sleep(0.15)


def listed(reader: Chrome) -> list[str]:
    return texts(reader, ".row > .under")


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
    tmp_path: Path, reader: Chrome
) -> None:
    lines = (line(i, f"Answer {i}." if i % 3 else "An answer.") for i in range(100_000))
    write_view([run(tmp_path / "a", {"quiz": lines})], tmp_path / "view")
    reader.get("about:blank")
    started = time.monotonic()
    reader.get((tmp_path / "view" / "index.html").as_uri())
    until(reader, "document.querySelector('.row') && document.querySelector('.card')")
    assert time.monotonic() - started < 3
    until(reader, "document.getElementById('count').textContent === '100,000 of 100,000'")
    reader.execute_script("document.getElementById('list').scrollTop = 3e6")
    until(reader, "document.querySelector('.row .words').textContent.startsWith('Question 48')")
    assert len(texts(reader, ".row")) < 60
    reader.find_element("id", "text").send_keys("question 99998")
    until(reader, "document.getElementById('count').textContent.startsWith('1 of')")
    assert reader.get_log("browser") == []
