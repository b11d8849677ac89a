from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError
from harness.reports.names import two_lines
from harness.reports.page import check_view, folder_from, report_page

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("DiffMean", ["DiffMean"]),
        (
            "steered (diffmean) + speculative (ngram)",
            ["steered (diffmean) +", "speculative (ngram)"],
        ),
        ("one_word_that_is_longer_than_a_line", ["one_word_that_is_longer_", "than_a_line"]),
    ],
)
def test_a_long_name_takes_two_lines(name: str, lines: list[str]) -> None:
    assert two_lines(name, 140) == lines


def test_only_what_two_lines_cannot_hold_is_cut() -> None:
    first, second = two_lines(" ".join(["word"] * 30), 140)
    assert "…" not in first and second.endswith("…")


def test_a_folder_is_seen_from_the_page(tmp_path: Path) -> None:
    page = tmp_path / "out" / "deep" / "page.html"
    assert folder_from(page, tmp_path / "view") == "../../view"
    assert folder_from(tmp_path / "page.html", tmp_path / "javascript:x") == "./javascript:x"
    with pytest.raises(HarnessError, match=r"there is no index\.html in it; make it with"):
        check_view(tmp_path)


def test_reports_have_one_base_whose_script_is_allowed_only_with_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "a_room_of_reports"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "report.js").write_text("go()", encoding="utf-8")
    (room / "report.html.j2").write_text(
        '{% extends "base.html.j2" %}{% block main %}{{ word }}{% endblock %}', encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    page = report_page(room.name, title="</title><b>", word="<i>")
    assert "<b>" not in page and "&lt;i&gt;" in page and ".facts" in page
    assert "script-src" not in page and "<script" not in page
    page = report_page(room.name, title="", word="", data="</script>")
    assert "script-src 'sha256-" in page and "<script>go()</script>" in page
    assert page.count("</script>") == 2 and page.count("default-src 'none'") == 1
