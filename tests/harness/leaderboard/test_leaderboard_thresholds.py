from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from leaderboard_samples import document, save, task
from test_leaderboard_command import run

from harness.errors import HarnessError
from harness.leaderboard import read_results
from harness.leaderboard.tables import standings
from harness.leaderboard.thresholds import missed, thresholds_of

if TYPE_CHECKING:
    from pathlib import Path


def results(folder: Path) -> Path:
    """Two runs of a task of which more is better; one of a task of which less is."""
    for name, value in (("good", 0.75), ("poor", 0.5)):
        metrics = {"acc,none": value, "acc_stderr,none": 0.05, "f1,none": 1 - value}
        content = document({"arc": task(metrics)}, model_args={"pretrained": name})
        save(folder, content, name)
    worse = task({"word_perplexity,none": 31.5, "bits,none": None}, up=False)
    save(folder, document({"wikitext": worse}, model_args={"pretrained": "good"}), "wiki")
    return folder


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("arc=0.5", []),
        ("arc=0.6", ["poor (hf, /"]),
        ("arc/f1=0.5", ["good (hf, /"]),
        ("arc/f1,none=0.25", []),
        ("wikitext=31.5", []),
        ("wikitext=30", ["good (hf, /"]),
        ("wikitext/bits=1", ["good (hf, /"]),
    ],
)
def test_worse_is_below_or_above(tmp_path: Path, asked: str, said: list[str]) -> None:
    table = read_results([results(tmp_path)])
    found = missed(table, thresholds_of([asked]))
    assert [text[: len(start)] for text, start in zip(found, said, strict=True)] == said


def test_one_line_names_run_task_value_and_threshold_after_the_files_are_written(
    tmp_path: Path,
) -> None:
    out = tmp_path / "a.csv"
    asked = ("--fail-below", "arc=0.6", "--fail-below", "wikitext=30")
    result = run(results(tmp_path / "r"), "--csv", out, *asked)
    assert result.exit_code == 1 and isinstance(result.exception, HarnessError)
    assert str(result.exception) == (
        f"--fail-below: poor (hf, {tmp_path}/r/results_poor.json) has 0.5 on arc, below "
        f"0.6; good (hf, {tmp_path}/r/results_wiki.json) has 31.5 on wikitext, above 30"
    )
    assert out.exists()
    assert run(results(tmp_path / "r"), "--fail-below", "arc=0.5").exit_code == 0


def test_a_value_just_below_is_told_apart_from_the_threshold(tmp_path: Path) -> None:
    save(tmp_path, document({"t": task({"acc,none": 0.6999999999})}))
    (said,) = missed(read_results([tmp_path]), thresholds_of(["t=0.7"]))
    assert said.endswith("has 0.6999999999 on t, below 0.7")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("ark=0.5", "--fail-below ark: no result is of this task; did you mean arc?"),
        ("zzz=1", "--fail-below zzz: no result is of this task; there are arc, wikitext"),
        ("arc/ac=0.5", "--fail-below arc/ac: arc has no metric ac; did you mean acc?"),
        ("arc", "--fail-below arc: a task and a number are wanted, TASK=VALUE or"),
        ("arc=nan", "--fail-below arc=nan: a task and a number are wanted"),
        ("=0.5", "--fail-below =0.5: a task and a number are wanted"),
    ],
)
def test_a_threshold_of_nothing_is_an_error_and_nothing_is_written(
    tmp_path: Path, asked: str, said: str
) -> None:
    out = tmp_path / "a.csv"
    result = run(results(tmp_path / "r"), "--fail-below", asked, "--csv", out)
    assert isinstance(result.exception, HarnessError) and not out.exists()
    assert str(result.exception).startswith(said)


def test_what_overlaps_is_not_ranked_apart(tmp_path: Path) -> None:
    intervals = {
        "a": (0.80, [0.75, 0.85]),
        "b": (0.78, [0.70, 0.86]),
        "c": (0.60, [0.55, 0.65]),
        "d": (0.60, None),
        "e": (0.10, [0.05, 0.551]),
    }
    for up in (True, False):
        for name, (value, interval) in intervals.items():
            metrics = {"score,none": value, "score_ci95,none": interval}
            content = document({f"t_{up}": task(metrics, up=up)}, model_args={"pretrained": name})
            save(tmp_path, content, f"{name}{up}")
    ranked = standings(read_results([tmp_path]).rows)
    found = {
        contest.task: {one.row.run.model: (one.rank, one.place) for one in entries}
        for contest, entries in ranked.items()
    }
    # e reaches 0.551: it overlaps with c, not with d, which stands for 0.6 alone
    assert found["t_True"] == {"a": (1, 1), "b": (1, 2), "c": (3, 3), "d": (3, 3), "e": (4, 5)}
    assert found["t_False"] == {"e": (1, 1), "c": (1, 2), "d": (2, 2), "b": (4, 4), "a": (4, 5)}


def test_an_interval_never_leaves_the_range_of_its_metric(tmp_path: Path) -> None:
    ranges = {"rating": [0, 2], "given": [0, 1]}
    metrics = {
        **{"rating,none": 1.9, "rating_stderr,none": 0.5},
        **{"given,none": 0.9, "given_stderr,none": 0.2, "given_ci95,none": [0.5, 1.3]},
        **{"bleu,none": 99.0, "bleu_stderr,none": 2.0},
    }
    save(tmp_path, document({"t": task(metrics, metadata={"ranges": ranges})}))
    rows = {row.metric: row for row in read_results([tmp_path]).rows}
    told = {
        name: (row.ci95_low, row.ci95_high, row.lowest, row.highest) for name, row in rows.items()
    }
    assert told["rating"] == (pytest.approx(0.92), 2.0, 0.0, 2.0)
    assert told["given"] == (0.5, 1.0, 0.0, 1.0)
    assert told["bleu"] == (pytest.approx(95.08), 100.0, 0.0, 100.0)


def test_samples_are_linked_from_a_page_and_a_folder_of_view(tmp_path: Path) -> None:
    alone = run(results(tmp_path / "r"), "--view", tmp_path / "view")
    assert str(alone.exception).startswith("--view needs --html")
    out = tmp_path / "a.html"
    absent = run(tmp_path / "r", "--html", out, "--view", tmp_path / "view")
    assert "there is no index.html in it; make it with harness view" in str(absent.exception)
    assert not out.exists()
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "index.html").write_text("", encoding="utf-8")
    assert run(tmp_path / "r", "--html", out, "--view", tmp_path / "view").exit_code == 0
    assert '"view":"view/index.html"' in out.read_text(encoding="utf-8")


def test_the_terminal_shows_groups_first_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    parts = [f"part_{number:02}" for number in range(13)]
    metrics = {"acc,none": 0.5, "acc_stderr,none": 0.1}
    for number in range(23):
        content = document(
            {name: task(metrics) for name in ("alone", *parts)},
            groups={"whole": (metrics, parts)},
            model_args={"pretrained": f"model-{number:02}"},
        )
        save(tmp_path, content, f"{number:02}")
    shown = run(tmp_path).stdout
    assert "part_" not in shown and shown.index("whole (acc)") < shown.index("alone (acc)")
    assert shown.count("model-") == 40
    assert "3 more, 13 parts not shown: --csv and --html have all" in shown
    assert "    3 more: --csv and --html have all" in shown
    assert shown.splitlines()[-1] == "23 runs, 345 rows, 13 more comparisons"
