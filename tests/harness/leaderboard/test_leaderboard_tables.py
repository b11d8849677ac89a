from __future__ import annotations

import csv
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboard_samples import document, save, task

from harness.artefacts.writing import replacing_text
from harness.errors import HarnessError, shown
from harness.leaderboard import Table, files, read_results, write_csv, write_wide
from harness.leaderboard.tables import labels, standings, wide
from harness.reports.files import defuse


def read(folder: Path, *contents: dict[str, Any]) -> Table:
    return read_results([save(folder, content, str(i)) for i, content in enumerate(contents)])


def run(value: float, *, model: str = "m", up: bool = True, **config: Any) -> dict[str, Any]:
    return document(
        {"t": task({"acc,none": value, "acc_stderr,none": 0.01}, up=up)},
        **{"model_args": {"pretrained": model}, **config},
    )


def order(table: Table) -> list[tuple[str, float | int | None, int | None]]:
    (standing,) = standings(table.rows).values()
    return [(entry.row.run.model, entry.row.value, entry.rank) for entry in standing]


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_best_first_ties_share_a_rank(tmp_path: Path) -> None:
    values = {"a": 0.5, "b": 0.9, "c": 0.5, "d": 0.1}
    table = read(tmp_path, *(run(value, model=name) for name, value in values.items()))
    ranked = order(table)
    assert [rank for *_, rank in ranked] == [1, 2, 2, 4]
    assert [name for name, *_ in ranked] == ["b", "a", "c", "d"], "of equal ones by name"


def test_runs_that_differ_in_the_writer_of_their_prompts_are_no_repeats(tmp_path: Path) -> None:
    def written(writer: str, value: float, date: float) -> dict[str, Any]:
        parts = {"t": task({"acc,none": value}, metadata={"writer": {"model": writer}})}
        return document(parts, date=date, model_args={"pretrained": "m"})

    table = read(tmp_path, written("a", 0.5, 1e9), written("b", 0.4, 1e9), written("b", 0.3, 2e9))
    assert [value for _, value, _ in order(table)] == [0.5, 0.3]


def test_lower_is_better(tmp_path: Path) -> None:
    table = read(tmp_path, run(0.5, model="a", up=False), run(0.1, model="b", up=False))
    assert order(table) == [("b", 0.1, 1), ("a", 0.5, 2)]


def test_an_unknown_direction_ranks_nobody(tmp_path: Path) -> None:
    contents = [run(0.5, model="a"), run(0.7, model="b")]
    for content in contents:
        content["higher_is_better"] = {}
    assert order(read(tmp_path, *contents)) == [("b", 0.7, None), ("a", 0.5, None)]


def test_limited_runs_come_last_and_have_no_rank(tmp_path: Path) -> None:
    table = read(
        tmp_path, run(0.99, model="best", limit=5), run(0.2, model="a"), run(0.3, model="b")
    )
    assert order(table) == [("b", 0.3, 1), ("a", 0.2, 2), ("best", 0.99, None)]


def test_the_newest_full_run_counts(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        run(0.1, date=3.0),
        run(0.2, date=1.0),
        run(0.3, date=2.0),
        run(0.9, date=9.0, limit=5),
    )
    assert order(table) == [("m", 0.1, 1)]


def test_a_newer_run_without_a_value_replaces_nothing(tmp_path: Path) -> None:
    assert order(read(tmp_path, run(0.1, date=1.0), run(float("nan"), date=2.0))) == [("m", 0.1, 1)]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.booleans(), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_no_limited_run_is_ever_above_a_full_one(
    runs: list[tuple[str, float, bool, bool]],
) -> None:
    from harness.leaderboard.parsing import rows_of

    rows = [
        row
        for number, (model, value, limited, up) in enumerate(runs)
        for row in rows_of(
            run(value, model=model, up=up, limit=5 if limited else None, date=float(number)),
            run_id=str(number),
            file="x",
        )
    ]
    for standing in standings(rows).values():
        limited = [entry.row.task.limited for entry in standing]
        assert limited == sorted(limited)
        assert all(entry.rank is None for entry in standing if entry.row.task.limited)
    header, body = wide(Table(rows=tuple(rows)))
    marks = [line[header.index("limited")] for line in body]
    assert marks == sorted(marks)


def test_different_settings_are_different_lines_but_placement_is_not(tmp_path: Path) -> None:
    def with_args(**args: object) -> dict[str, Any]:
        return run(0.5, model_args={"pretrained": "m", **args})

    same = read(tmp_path, with_args(device="cpu"), with_args(device="cuda", batch_size=4))
    assert len(order(same)) == 1
    different = read(tmp_path, with_args(load_in_4bit=True), with_args())
    assert len(order(different)) == 2


def test_only_like_is_compared_with_like(tmp_path: Path) -> None:
    def on(source: str, n_shot: int) -> dict[str, Any]:
        part = task({"acc,none": 0.5}, metadata={"data_source": source}, num_fewshot=n_shot)
        return document({"t": part})

    table = read(tmp_path, on("hub", 0), on("testbed", 0), on("hub", 5))
    assert len(standings(table.rows)) == 3
    write_wide(table, tmp_path / "wide.csv")
    (line,) = lines(tmp_path / "wide.csv")
    assert [name for name in line if name.startswith("t (")] == [
        "t (acc, data_source=hub, n_shot=0)",
        "t (acc, data_source=hub, n_shot=5)",
        "t (acc, data_source=testbed, n_shot=0)",
    ]


def test_judges_are_told_apart_by_name_and_if_need_be_by_settings(tmp_path: Path) -> None:
    def judged(model: str, **settings: object) -> dict[str, Any]:
        judge = {"model": "api", "model_args": {"model": model}, **settings}
        return document({"t": task({"acc,none": 0.5}, metadata={"judge": judge})})

    one, other, cold = judged("gpt"), judged("qwen"), judged("gpt", temperature=0)
    (tmp_path / "two").mkdir()
    assert list(labels(standings(read(tmp_path / "two", one, other).rows)).values()) == [
        "t (acc, judge=gpt)",
        "t (acc, judge=qwen)",
    ]
    (tmp_path / "like").mkdir()
    named = labels(standings(read(tmp_path / "like", one, cold).rows)).values()
    assert sorted(named) == [
        't (acc, judge={"model":"api","model_args":{"model":"gpt"},"temperature":0})',
        't (acc, judge={"model":"api","model_args":{"model":"gpt"}})',
    ]


def test_the_wide_table(tmp_path: Path) -> None:
    def both(model: str, a: float, z: float, group: float, **config: Any) -> dict[str, Any]:
        return document(
            {
                "a": task({"other,none": 9.0, "acc,none": a}, metadata={"headline": "acc"}),
                "z": task({"f1,none": z}),
            },
            groups={"all": ({"acc,none": group}, ["a", "z"])},
            **{"model_args": {"pretrained": model}, **config},
        )

    table = read(
        tmp_path,
        both("low", 0.1, -0.2, 0.3),
        both("high", 0.4, 0.5, 0.6, method="diffmean"),
        both("limited", 0.9, 0.9, 0.9, limit=0.1),
    )
    write_wide(table, tmp_path / "wide.csv")
    found = lines(tmp_path / "wide.csv")
    assert list(found[0])[-3:] == ["all (acc)", "a (acc)", "z (f1)"]
    assert [line["model"] for line in found] == ["high", "low", "limited"]
    assert [line["limited"] for line in found] == ["false", "false", "true"]
    assert [line["limit"] for line in found] == ["", "", "0.1"]
    assert found[1]["z (f1)"] == "-0.2" and found[0]["method"] == "diffmean"


def test_full_and_limited_results_of_one_model_stay_apart(tmp_path: Path) -> None:
    full = document({"a": task({"acc,none": 0.5})})
    part = document({"a": task({"acc,none": 0.9}), "b": task({"acc,none": 0.9})}, limit=3)
    table = read(tmp_path, full, part)
    write_wide(table, tmp_path / "wide.csv")
    first, second = lines(tmp_path / "wide.csv")
    assert (first["limited"], first["a (acc)"], first["b (acc)"]) == ("false", "0.5", "")
    assert (second["limited"], second["a (acc)"], second["b (acc)"]) == ("true", "", "0.9")


def test_the_long_table(tmp_path: Path) -> None:
    write_csv(read(tmp_path, run(-0.25, model="=cmd()")), tmp_path / "long.csv")
    (line,) = lines(tmp_path / "long.csv")
    assert line["model"] == "'=cmd()"
    assert (line["value"], line["ci95_low"]) == ("-0.25", "-0.2696")
    assert (line["task"], line["metric"], line["filter"]) == ("t", "acc", "none")
    assert (line["higher_is_better"], line["group"], line["limit"]) == ("true", "false", "")
    assert line["n"] == "100" and line["hardware"] == "AMD EPYC (2 CPUs)"
    assert line["date"] == "2025-10-09T08:53:20Z"


@given(st.text(max_size=12) | st.sampled_from(["=1", "+1", "-1", "@a", "\t=1", "\r=", "'=1", "''"]))
def test_defused_text_comes_back_and_is_no_formula(text: str) -> None:
    defused = defuse(text)
    assert isinstance(defused, str)
    assert not defused.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert defused.removeprefix("'") == shown(text)


def test_a_terminal_that_shows_the_file_is_not_obeyed(tmp_path: Path) -> None:
    hostile = "a\x1b]0;title\x07b\x9b31mc\u202ed\u2066e"
    write_csv(read(tmp_path, run(0.5, model=hostile)), tmp_path / "long.csv")
    write_wide(read(tmp_path, run(0.5, model=hostile)), tmp_path / "wide.csv")
    for name in ("long.csv", "wide.csv"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert r"a\x1b]0;title\x07b\x9b31mc\u202ed\u2066e" in text
        assert not set(hostile) - set("a]0;titleb31mcde") & set(text)


@given(st.floats(allow_nan=False) | st.integers())
def test_numbers_stay_numbers(number: float) -> None:
    assert defuse(number) is number


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_cells_survive_the_csv_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("cells") / "a.csv"
    files.write_cells(path, ["a", "b"], [[text, -1.5]])
    with path.open(encoding="utf-8", newline="") as file:
        _, cells = csv.reader(file)
    assert cells == [defuse(text), "-1.5"]


def test_lone_surrogates_do_not_stop_the_writers(tmp_path: Path) -> None:
    write_csv(read(tmp_path, run(0.5, model="a\ud800b")), tmp_path / "long.csv")
    assert lines(tmp_path / "long.csv")[0]["model"] == "a?b"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.csv"
    with replacing_text(target) as file:
        file.write("first")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "first"
    with pytest.raises(ZeroDivisionError), replacing_text(target) as file:
        file.write("second")
        raise ZeroDivisionError
    assert target.read_text(encoding="utf-8") == "first"
    assert [path.name for path in target.parent.iterdir()] == ["a.csv"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for target in (tmp_path, tmp_path / "file" / "a.csv"):
        with pytest.raises(HarnessError, match="cannot write"), replacing_text(target):
            pass
