"""Figures: text, roles for colours, nothing that a strict page forbids, the same bytes again."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.reports.figures import (
    ACCENT,
    BASE,
    CSS,
    SERIES,
    SERIES_DARK,
    draw,
    fitted,
    nice_ticks,
    panel,
    plain,
    write,
)

SVG = "{http://www.w3.org/2000/svg}"


def build(figure: Any) -> None:
    axes = panel(figure, left=60, top=30, width=300, height=120)
    axes.plot([0, 1], [0, 2], color=BASE)
    axes.fill_between([0, 1], [0, 1], [1, 3], color=ACCENT, alpha=0.2)
    axes.scatter([0.5], [1], color=SERIES[1])
    axes.set_xlabel("cost [$]")
    axes.set_ylabel("<script>planted()</script>")
    write(figure, "left $x^2$ 世界 & more", left=2, top=10, weight="bold")


def drawn(name: str = "one", **changes: Any) -> str:
    settings = {"title": 'A "line" & <more>', "description": "Two.", "width": 400, "height": 200}
    return draw(build, name=name, **(settings | changes))


def test_text_stays_text() -> None:
    root = ET.fromstring(drawn())
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert "left $x^2$ 世界 & more" in words
    assert "cost [$]" in words
    assert "<script>planted()</script>" in words
    assert root.find(f"{SVG}title").text == 'A "line" & <more>'
    assert root.find(f"{SVG}desc").text == "Two."
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "one-title one-text"
    assert (root.get("width"), root.get("height")) == ("400", "200")
    assert root.get("viewBox") == "0 0 400 200"


def test_nothing_that_a_strict_page_forbids() -> None:
    svg = drawn()
    assert "style" not in svg
    assert "<script" not in svg
    assert "http://www.w3.org/1999/xlink" not in svg
    assert "<metadata" not in svg
    root = ET.fromstring(svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "defs", "g", "path", "use", "text", "clipPath", "rect")
    }


def test_colours_are_roles() -> None:
    root = ET.fromstring(drawn())
    colours = {element.get(key) for element in root.iter() for key in ("fill", "stroke")}
    assert colours <= {
        None,
        "none",
        "var(--base, #2b4a6f)",
        "var(--accent, #b3321f)",
        "var(--soft, #5a6472)",
        "var(--ink, #14181f)",
        "var(--series-2, #c84a00)",
    }
    assert "--series-2: #c84a00;" in CSS
    assert "prefers-color-scheme: dark" in CSS


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours."""

    def luminance(colour: str) -> float:
        shares = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_series_stand_out_on_both_pages() -> None:
    """WCAG 2 asks a contrast of 3 of graphical objects."""
    assert min(contrast(colour, "#ffffff") for colour in SERIES) > 3
    assert min(contrast(colour, "#101418") for colour in SERIES_DARK) > 3
    assert len({*SERIES, *SERIES_DARK}) == 2 * len(SERIES)


def test_the_same_again_and_apart_from_others() -> None:
    assert drawn() == drawn()
    names = {
        name: {e.get("id") for e in ET.fromstring(drawn(name)).iter() if e.get("id")}
        for name in ("one", "two")
    }
    assert len(names["one"]) > 4
    assert not names["one"] & names["two"]
    root = ET.fromstring(drawn())
    targets = {e.get("href").removeprefix("#") for e in root.iter() if e.get("href")}
    targets |= {e.get("clip-path")[5:-1] for e in root.iter() if e.get("clip-path")}
    assert targets <= names["one"]


def test_places_are_pixels() -> None:
    root = ET.fromstring(drawn())
    (frame,) = root.iter(f"{SVG}rect")
    assert [float(frame.get(key)) for key in ("x", "y", "width", "height")] == [60, 30, 300, 120]
    (word,) = [e for e in root.iter(f"{SVG}text") if e.text.startswith("left")]
    assert float(word.get("x")) == 2
    assert 6 < float(word.get("y")) < 18
    assert (word.get("font-size"), word.get("font-weight")) == ("12px", "700")


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("a\x00b\n c\x1b[2J", 99, "a b c [2J"),
        ("lone \ud800 half", 99, "lone half"),
        ("abcdef", 4, "abc…"),
        ("abcd", 4, "abcd"),
    ],
)
def test_plain(text: str, longest: int, expected: str) -> None:
    assert plain(text, longest) == expected


def test_control_characters_are_drawn_as_blanks() -> None:
    svg = draw(
        lambda figure: write(figure, "a\x00b\x08c", left=0, top=9),
        name="n",
        title="t\x00",
        description="",
        width=50,
        height=20,
    )
    assert [e.text for e in ET.fromstring(svg).iter(f"{SVG}text")] == ["a b c"]


def test_fitted_and_ticks() -> None:
    assert fitted("short", 200) == "short"
    assert len(fitted("x" * 100, 120, 12)) < 25
    assert list(nice_ticks(0, 1)) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_importing_it_is_cheap() -> None:
    code = "import sys, harness.reports.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
