"""The report: what is kept, what the page holds and runs, and how it behaves in a browser."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import choose, quiet, texts
from harness_factcg.assessing.assessment import Assessment, Claim, Part
from harness_factcg.assessing.explanation import Explanation, Passage
from harness_factcg.checking.verdicts import Verdict
from harness_factcg.metrics import document_id
from harness_factcg.report import About, page, write_report
from harness_factcg.report.page import merged, payload
from harness_factcg.report.records import record
from harness_factcg.report.summary import summarise

from harness.errors import HarnessError

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.long

ATTACK = '</script><script>window.planted=1</script><img src=x onerror="window.planted=2"><!--'
ABOUT = About(model="org/checker", sha="ab" * 20, family="factcg", threshold=0.5, explained=True)
TEXT = "Oh! Anna lives in Rome. Ben owns a cat. It rains."
PLACES = ((0, 3), (4, 23), (24, 39), (40, 49))


def explained(
    drops: Sequence[float | None] = (-0.5, 6.0, 0.0, -2.0),
    sufficient: tuple[int, ...] | None = (1,),
    start: int = 0,
) -> Explanation:
    passages = [
        Passage(start + first, start + last, drop)
        for (first, last), drop in zip(PLACES, drops, strict=False)
    ]
    return Explanation(start, start + len(TEXT), tuple(passages), sufficient)


def assessed(
    text: str = "Anna lives in Rome.",
    margin: float = 2.0,
    *,
    document: str = TEXT,
    label: int | None = None,
    sentences: Iterable[tuple[str, float]] = (),
    explanation: Explanation | None = None,
    truncated: bool = False,
    **named: str,
) -> Assessment:
    """A claim with its verdict, made up."""
    whole = Part(
        text,
        margin,
        margin > 0,
        document,
        explanation or explained(sufficient=(1,) if margin > 0 else None),
    )
    return Assessment(
        Claim(document, text, label, **named),
        Verdict(margin, 1, 0, truncated, document),
        margin > 0,
        (whole,),
        tuple(Part(one, own, own > 0, document) for one, own in sentences),
    )


def embedded(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    data: dict[str, Any] = json.loads(found)
    return data


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "scores.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# What is kept


def test_a_record() -> None:
    one = assessed(
        "Anna sings. Ben owns a cat.",
        -1.0,
        label=0,
        id="7",
        dataset="Wice",
        sentences=[("Anna sings.", -3.0), ("Ben owns a cat.", 2.0)],
    )
    found = record(one, 3)
    assert found == {
        "row": 3,
        "id": "7",
        "dataset": "Wice",
        "document": document_id(TEXT),
        "claim": "Anna sings. Ben owns a cat.",
        "label": 0,
        "verdict": "not supported",
        "score": pytest.approx(0.268941, abs=1e-6),
        "margin": -1.0,
        "chunks": 1,
        "deciding_chunk": 0,
        "truncated": False,
        "rests_on": [{"sentence": "It rains.", "start": 40, "end": 49, "drop": -2.0}],
        "sufficient": False,
        "sentences": [
            {
                "text": "Anna sings.",
                "verdict": "not supported",
                "score": pytest.approx(0.047426, abs=1e-6),
                "margin": -3.0,
            },
            {
                "text": "Ben owns a cat.",
                "verdict": "supported",
                "score": pytest.approx(0.880797, abs=1e-6),
                "margin": 2.0,
            },
        ],
    }
    supported = record(assessed(), 1)
    assert [line["sentence"] for line in supported["rests_on"]] == ["Anna lives in Rome."]
    assert supported["sufficient"] is True


def test_the_folder(tmp_path: Path) -> None:
    claims = [assessed("=1+1", id="@x"), assessed("-2", -1.0), assessed("c\ud800")]
    page_file = write_report(claims, tmp_path / "out", ABOUT, title="T")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "scores.csv",
        "scores.jsonl",
    ]
    assert page_file == tmp_path / "out" / "report.html"
    assert [line["claim"] for line in lines(tmp_path / "out")] == ["=1+1", "-2", "c?"]
    with (tmp_path / "out" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["claim"] for row in rows] == ["'=1+1", "'-2", "c?"]
    assert rows[0]["id"] == "'@x"
    assert rows[0]["rests_on"] == "Anna lives in Rome."
    assert float(rows[1]["margin"]) == -1.0


def test_the_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness_factcg.report.folder.render", full)
    with pytest.raises(HarnessError, match=r"cannot write .*out: No space left on device"):
        write_report([assessed()], tmp_path / "out", ABOUT, title="T")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "out").mkdir()
    write_report([assessed()], tmp_path / "out", ABOUT, title="T")  # an empty folder is free
    before = (tmp_path / "out" / "scores.jsonl").read_bytes()
    with pytest.raises(HarnessError, match="exists already"):
        write_report([assessed("b")], tmp_path / "out", ABOUT, title="T")
    with pytest.raises(HarnessError, match="no folder that can be written to"):
        write_report([assessed()], tmp_path / "out" / "report.html" / "o", ABOUT, title="T")
    assert (tmp_path / "out" / "scores.jsonl").read_bytes() == before


# Figures


def test_the_summary_by_hand() -> None:
    """Three right of five; TPR 2/3, TNR 1/2; at a threshold of 0.9 (2.2 nats) 1/3 and 1."""
    margins = [(1, 2.0), (1, 3.0), (1, -1.0), (0, 1.0), (0, -2.0)]
    found = [
        assessed(str(k), margin, label=label, dataset="A" if k < 4 else "B", truncated=k == 0)
        for k, (label, margin) in enumerate(margins)
    ]
    found.append(assessed("x", 1.0, document="It rains."))
    summary = summarise(found, 0.5)
    counts = (summary.n, summary.n_documents, summary.n_supported)
    assert counts == (6, 2, 4)
    assert (summary.n_truncated, summary.n_labelled) == (1, 5)
    every, first, second = summary.figures
    assert (every.n, every.n_positive, every.right) == (5, 3, 3)
    assert every.balanced_accuracy.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert every.auroc.value == pytest.approx(5 / 6)
    assert (first.name, first.n, second.name, second.n) == ("A", 4, "B", 1)
    assert second.balanced_accuracy.value != second.balanced_accuracy.value  # one label: NaN
    (strict, *_) = summarise(found, 0.9).figures
    assert strict.balanced_accuracy.value == pytest.approx((1 / 3 + 1) / 2)
    assert strict.auroc.value == pytest.approx(5 / 6)
    assert summarise([assessed()], 0.5).figures == ()


# The page


def test_planted_markup_stays_text(tmp_path: Path) -> None:
    one = assessed(
        ATTACK, document=f"{ATTACK} {TEXT}", label=1, id=ATTACK, dataset=ATTACK,
        sentences=[(ATTACK, 1.0), (ATTACK, 2.0)],
    )  # fmt: skip
    about = About(model=ATTACK, sha="", family=ATTACK, threshold=0.5, explained=True)
    file = write_report([one, assessed(label=0)], tmp_path / "o", about, title=ATTACK)
    text = file.read_text(encoding="utf-8")
    assert "<script>window.planted" not in text and "<img" not in text and "<!--" not in text
    assert text.count("<script") == text.count("</script") == 2
    assert " style=" not in text
    assert embedded(text)["claims"][0][1] == ATTACK


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    file = write_report([assessed(label=1), assessed(label=0)], tmp_path / "o", ABOUT, title="T")
    text = file.read_text(encoding="utf-8")
    links = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)=\"([^\"]*)", text)
    assert links == ["data:,"]
    assert not re.findall(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|innerHTML", text)
    assert set(re.findall(r"https?://[^\"' )]*", text)) == {"http://www.w3.org/2000/svg"}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))


def test_documents_are_held_once() -> None:
    other = "It rains. " * 3
    found = [assessed(str(k), document=TEXT if k % 2 else other) for k in range(9)]
    data = payload(found)
    assert data["documents"] == [[30, [[0, other]]], [len(TEXT), [[0, TEXT]]]]
    assert [claim[0] for claim in data["claims"]] == [0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_places_count_as_in_javascript() -> None:
    """Characters beyond the first plane are two UTF-16 units each."""
    head = "🏛️ 𝔸 "
    one = assessed(document=head + TEXT, explanation=explained(start=len(head)))
    (length, ((at, text),)) = payload([one])["documents"][0]
    assert (at, text) == (0, head + TEXT)
    units = (head + TEXT).encode("utf-16-le")
    assert length == len(units) // 2
    ((start, end, supported, sufficient, marks),) = payload([one])["claims"][0][11]
    assert (supported, sufficient) == (1, 1)
    assert units[2 * start : 2 * end].decode("utf-16-le") == TEXT
    shown = {units[2 * a : 2 * b].decode("utf-16-le"): (drop, named) for a, b, drop, named in marks}
    assert shown == {"Oh!": (-0.5, 0), "Anna lives in Rome.": (6.0, 1), "It rains.": (-2.0, 0)}


def test_documents_too_long_for_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then only the chunks that decided are kept, and the page says so."""
    head, tail = "It rains. " * 20, " It snows." * 20
    long = head + TEXT + tail
    one = assessed(document=long, explanation=explained(start=len(head)))
    assert "only the chunks that decided" not in page.render([one], ABOUT, "T")
    monkeypatch.setattr(page, "MOST_CHARACTERS", 400)
    assert payload([one])["documents"] == [[len(long), [[len(head), TEXT]]]]
    assert "only the chunks that decided" in page.render([one], ABOUT, "T")
    assert merged([(5, 9), (0, 3), (3, 4), (8, 12)]) == [(0, 4), (5, 12)]


def test_what_a_page_says_without_explanations(tmp_path: Path) -> None:
    about = About(model="m", sha="", family="factcg", threshold=0.5, explained=False)
    one = assessed(explanation=Explanation(0, len(TEXT), (), None))
    text = write_report([one], tmp_path / "o", about, title="T").read_text(encoding="utf-8")
    assert "were not sought" in text and "occlusion" not in text
    assert lines(tmp_path / "o")[0]["rests_on"] == []


# The page in a browser


def opened(browser: Chrome, found: Sequence[Assessment], folder: Path, title: str = "T") -> None:
    browser.get(write_report(found, folder, ABOUT, title=title).as_uri())


def some() -> list[Assessment]:
    """Sixty claims: scores rise, every fifth label is wrong, the last has none."""
    found = []
    for k in range(60):
        margin = (k - 29.5) / 5
        label = None if k == 59 else int((margin > 0) == (k % 5 > 0))
        named = {"id": f"id-{k}", "dataset": "AB"[k % 2]}
        found.append(assessed(f"Claim number {k}.", margin, label=label, **named))
    return found


@pytest.mark.browser
def test_it_opens_filters_and_sorts(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, some(), tmp_path / "o")
    assert browser.title == "T"
    assert len(texts(browser, ".claim")) == 50
    assert texts(browser, "#count") == ["1–50 of 60"]
    assert texts(browser, ".statement")[0] == "Claim number 0."
    choose(browser, "order", "Highest score first")
    assert texts(browser, ".statement")[0] == "Claim number 59."
    choose(browser, "order", "Least sure first")
    assert set(texts(browser, ".statement")[:2]) == {"Claim number 29.", "Claim number 30."}
    choose(browser, "verdict", "Not supported")
    assert set(texts(browser, ".verdict b")) == {"Not supported"}
    choose(browser, "label", "Wrong")
    assert len(texts(browser, ".claim")) == 6
    choose(browser, "dataset", "A")
    assert len(texts(browser, ".claim")) == 3
    browser.find_element("id", "text").send_keys("NUMBER 1 claim")
    time.sleep(0.4)
    assert texts(browser, ".statement") == ["Claim number 10."]
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert texts(browser, ".statement") == ["Claim number 10."]
    browser.find_element("id", "reset").click()
    time.sleep(0.1)
    assert texts(browser, "#count") == ["1–50 of 60"]
    browser.execute_script("document.getElementById('next').click()")
    assert texts(browser, "#count") == ["51–60 of 60"]
    quiet(browser)


@pytest.mark.browser
def test_the_document_and_its_marks(browser: Chrome, tmp_path: Path) -> None:
    head, tail = "𝔸 word. " * 400, " The end." * 400
    long = head + TEXT + tail
    none = explained((0.0, 0.0, 0.0, 0.0), None)
    found = [
        assessed("a", document=long, explanation=explained(start=len(head))),
        assessed("b", -1.0, sentences=[("b1", 1.0), ("b2", -1.0)]),
        assessed("c", explanation=Explanation(0, 9, (Passage(0, 9, None),), (0,)), document=TEXT),
    ]
    found += [assessed("d", -1.0, explanation=none), assessed("e", explanation=none)]
    opened(browser, found, tmp_path / "o")
    notes = texts(browser, ".note")
    assert notes == ["No sentence speaks against it; none supports all of it."]
    assert texts(browser, ".claim:nth-child(1) q") == ["Anna lives in Rome."]
    assert texts(browser, ".claim:nth-child(1) .drop") == ["+6.00"]
    assert texts(browser, ".claim:nth-child(2) q") == ["It rains."]
    assert texts(browser, ".claim:nth-child(2) .drop") == ["−2.00"]
    assert texts(browser, ".claim:nth-child(2) .sentences li") == ["0.731b1", "0.269b2"]
    assert texts(browser, ".claim:nth-child(3) .drop") == [""]
    browser.find_element("css selector", ".claim:nth-child(1) .open").click()
    marks = browser.execute_script(
        "return [...document.querySelectorAll('mark')].map((m) => [m.textContent, m.className])"
    )
    assert marks == [
        ["Oh!", "against s1"],
        ["Anna lives in Rome.", "for s3 named"],
        ["It rains.", "against s2"],
    ]
    shown = texts(browser, ".document")[0]
    assert TEXT in shown and len(shown) < 1200
    before, after = texts(browser, ".gap")
    assert re.fullmatch(r"… [\d,]+ characters …", before)
    assert re.fullmatch(r"… [\d,]+ characters …", after)
    for _ in range(2):
        browser.find_element("css selector", ".gap").click()
    assert texts(browser, ".document") == [long]
    assert "".join(texts(browser, ".outside")) == head + tail
    browser.find_element("css selector", ".claim:nth-child(1) .open").click()
    assert texts(browser, ".document") == []
    quiet(browser)


@pytest.mark.browser
def test_a_planted_script_does_not_run(browser: Chrome, tmp_path: Path) -> None:
    one = assessed(ATTACK, document=f"{ATTACK} {TEXT}", id=ATTACK, dataset=ATTACK, label=1)
    opened(browser, [one], tmp_path / "o", title=ATTACK)
    assert browser.execute_script("return window.planted") is None
    assert browser.title == ATTACK
    assert texts(browser, ".statement") == [ATTACK]
    assert texts(browser, ".document") == [f"{ATTACK} {TEXT}"]  # the only claim is open
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
    found = [*some(), assessed("w" * 300, document="w" * 900 + TEXT, id="w" * 200)]
    opened(browser, found, tmp_path / "o")
    choose(browser, "order", "Lowest score first")
    browser.execute_script("document.querySelector('.open').click()")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    paper = browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (paper > 200) == (scheme == "light")
    quiet(browser)


@pytest.mark.browser
def test_ten_thousand_claims_open(browser: Chrome, tmp_path: Path) -> None:
    """As many claims to a document as in LLM-AggreFact, documents of its mean length."""
    documents = [f"Document {k}. " + TEXT * 50 for k in range(1000)]
    found = [
        assessed(f"Claim number {k}.", k / 1000 - 5, document=documents[k % 1000], label=k % 2)
        for k in range(10_000)
    ]
    file = write_report(found, tmp_path / "o", ABOUT, title="T")
    assert file.stat().st_size < 6_000_000
    started = time.perf_counter()
    browser.get(file.as_uri())
    assert texts(browser, "#count") == ["1–50 of 10,000"]
    assert time.perf_counter() - started < 10
    choose(browser, "order", "Highest score first")
    assert texts(browser, ".statement")[0] == "Claim number 9999."
    quiet(browser)
