from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from browsing import choose, quiet, texts
from leaderboard_samples import document, save, task

from harness.leaderboard import read_results, write_html
from harness.leaderboard.matrix import in_order, lines_of
from harness.leaderboard.tables import standings

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver import Chrome

    from harness.leaderboard import Table
    from harness.leaderboard.matrix import Line

pytestmark = pytest.mark.long

TESTBED = "/venv/lib/python3.11/site-packages/harness/testbed/models/teacher"
CACHED = "/home/me/.cache/huggingface/hub/models--org--big/snapshots/0a1b2c3d4e"
ATTACK = '</script><script>window.planted=1</script><img src=x onerror="window.planted=2">'


def lines(table: Table) -> list[Line]:
    ranked = standings(row for row in table.rows if row.headline)
    return lines_of(ranked, ((row.task.limited, row.run) for row in table.rows))[0]


def share(value: float, *, n: int = 100, **more: Any) -> dict[str, Any]:
    error = (value * (1 - value) / n) ** 0.5
    return task({"acc,none": value, "acc_stderr,none": error}, n=n, **more)


def grouped(part: float, whole: float, **config: Any) -> dict[str, Any]:
    """A group of two tasks, beside a task of its own."""
    group = {"acc,none": whole, "acc_stderr,none": 0.02, "sample_len": 200}
    return document(
        {"pets_cats": share(part), "pets_dogs": share(part), "letters": share(part, n=40)},
        groups={"pets": (group, ["pets_cats", "pets_dogs"])},
        **config,
    )


def zoo(folder: Path) -> Path:
    named = {
        "a": ("org/alpha", 0.9, 0.9),
        "b": ("org/beta", 0.5, 0.85),
        "c": ("org/gamma", 0.7, 0.2),
    }
    for name, (model, part, whole) in named.items():
        save(folder, grouped(part, whole, model_args={"pretrained": model}), name)
    return folder


def test_one_model_under_two_spellings_is_one_line(tmp_path: Path) -> None:
    spelt = ("testbed:teacher", TESTBED, "org/big", CACHED, "./mine/", "mine")
    for number, pretrained in enumerate(spelt):
        sha = {"model_sha": "0a1b2c3d4e"} if pretrained == "org/big" else {}
        content = document(
            {f"task_{number}": share(0.5)}, model_args={"pretrained": pretrained}, **sha
        )
        save(tmp_path, content, str(number))
    table = read_results([tmp_path])
    assert [line.name for line in lines(table)] == ["mine", "org/big", "testbed:teacher"]
    assert {row.run.model for row in table.rows} == set(spelt)  # the tables keep what was given


def test_two_commits_of_a_model_are_two_lines(tmp_path: Path) -> None:
    for name, sha in (("a", "0a1b2c3d4e"), ("b", "ffffffffff")):
        content = document({"t": share(0.5)}, model_args={"pretrained": "org/big"}, model_sha=sha)
        save(tmp_path, content, name)
    first, second = lines(read_results([tmp_path]))
    assert (first.how, second.how) == ("hf · commit 0a1b2c3d4e", "hf · commit ffffffffff")


def test_runs_that_differ_in_how_they_were_asked_share_a_line_until_they_collide(
    tmp_path: Path,
) -> None:
    short, long = {"max_gen_toks": 8}, {"max_gen_toks": 40}
    save(tmp_path, document({"a": share(0.5)}), "a")
    save(tmp_path, document({"b": share(0.5)}, gen_kwargs=short), "b")
    assert len(lines(read_results([tmp_path]))) == 1
    save(tmp_path, document({"b": share(0.5)}, gen_kwargs=long), "c")
    told = [line.how for line in lines(read_results([tmp_path]))]
    assert told == ["hf · float32 · max_gen_toks 40", "hf · float32 · max_gen_toks 8"]


def test_a_method_reads_as_it_is_said_and_its_arguments_are_whole(tmp_path: Path) -> None:
    many = {f"argument_{number}": "x" * 30 for number in range(12)}
    content = document({"t": share(0.5)}, model="hf-steered", method="diffmean", method_args=many)
    save(tmp_path, content)
    (line,) = lines(read_results([tmp_path]))
    assert line.how.startswith("steered (diffmean) · argument_0 xxx")
    assert line.how.count("x" * 30) == 12 and line.method


def test_a_group_stands_before_its_parts(tmp_path: Path) -> None:
    inner = {"acc,none": 0.5, "acc_stderr,none": 0.1}
    content = document(
        {"deep": share(0.5), "beside": share(0.4), "alone": share(0.3)},
        groups={"all": (inner, ["some", "beside"]), "some": (inner, ["deep"])},
    )
    table = read_results([save(tmp_path, content)])
    heads = in_order(standings(table.rows))
    told = [(one.task, head.task if head else None) for one, head in heads.items()]
    assert told == [
        ("all", None),
        ("some", "all"),
        ("deep", "some"),
        ("beside", "all"),
        ("alone", None),
    ]


def test_a_group_in_a_circle_ends(tmp_path: Path) -> None:
    inner = {"acc,none": 0.5, "acc_stderr,none": 0.1}
    content = document({"t": share(0.5)}, groups={"a": (inner, ["b", "t"]), "b": (inner, ["a"])})
    table = read_results([save(tmp_path, content)])
    assert {one.task for one in in_order(standings(table.rows))} == {"a", "b", "t"}


# The page in a browser.


def opened(browser: Chrome, results: Path, page: Path, **how: Any) -> None:
    write_html(read_results([results]), page, **how)
    browser.get(page.as_uri())


def heads(browser: Chrome) -> list[str]:
    return texts(browser, "#matrix-head .task")


def names(browser: Chrome) -> list[str]:
    return texts(browser, "#matrix-body .lead")


@pytest.mark.browser
def test_the_page_opens_with_models_by_tasks(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, zoo(tmp_path / "r"), tmp_path / "a.html")
    assert heads(browser) == ["pets▼", "letters"]
    assert names(browser) == ["org/alpha", "org/beta", "org/gamma"]
    assert texts(browser, "#matrix-head .sort .metric:last-child") == [
        "200 documents",
        "40 documents",
    ]
    # 0.9 and 0.85 with 0.02 each overlap; so do 0.9 and 0.7 of 40 letters, and 0.5 does not
    assert texts(browser, "#matrix-body td.best .value") == ["0.900", "0.900", "0.850", "0.700"]
    told = {"a": "org/alpha", "b": "org/beta", "c": "org/gamma"}
    for column, order in ((3, "acb"), (3, "bca"), (2, "abc"), (2, "cba"), (1, "abc"), (1, "cba")):
        head = f"#matrix-head th:nth-child({column}) .sort"
        browser.find_element("css selector", head).send_keys("\n")
        assert names(browser) == [told[one] for one in order]
        assert browser.execute_script(
            "return document.activeElement === document.querySelector(arguments[0])", head
        )
    quiet(browser)


@pytest.mark.browser
def test_parts_of_a_group_unfold_and_fold(browser: Chrome, tmp_path: Path) -> None:
    opened(browser, zoo(tmp_path / "r"), tmp_path / "a.html")
    for shown in (["pets▼", "cats", "dogs", "letters"], ["pets▼", "letters"]):
        fold = browser.find_element("css selector", "#matrix-head .fold")
        fold.send_keys("\n")
        assert heads(browser) == shown
        known = browser.execute_script(
            "return document.activeElement.getAttribute('aria-expanded')"
        )
        assert known == str(len(shown) == 4).lower()
    quiet(browser)


@pytest.mark.browser
def test_intervals_are_drawn_within_the_range_of_the_metric(
    browser: Chrome, tmp_path: Path
) -> None:
    rating = {"rating,none": 1.5, "rating_stderr,none": 0.4}
    perfect = {"acc,none": 1.0, "acc_stderr,none": 0.0}
    content = document(
        {
            "rated": task(rating, metadata={"ranges": {"rating": [0, 2]}}),
            "right": task(perfect, n=48),
        }
    )
    opened(browser, save(tmp_path, content).parent, tmp_path / "a.html")
    read = (
        "return [...document.querySelectorAll('#matrix-body .mark')].map((node) =>"
        "['x1', 'x2'].map((name) => node.querySelector('.whisker').getAttribute(name)))"
    )
    # 1.5 ± 1.96 × 0.4 is 0.716 to 2.284, cut to 2; 48 of 48 have 0.926 to 1 by Wilson
    assert browser.execute_script(read) == [["35.80%", "100.00%"], ["92.59%", "100.00%"]]
    assert texts(browser, ".figure .axis text:last-child") == ["2.0", "1.0"]
    quiet(browser)


@pytest.mark.browser
def test_results_lead_to_their_samples(browser: Chrome, tmp_path: Path) -> None:
    table = read_results([zoo(tmp_path / "r")])
    write_html(table, tmp_path / "a.html", view=tmp_path / "javascript:my view")
    browser.get((tmp_path / "a.html").as_uri())
    link = browser.find_element("css selector", "#matrix-body a.value")
    run = next(row.run.run_id for row in table.rows if row.run.model == "org/alpha")
    assert link.get_attribute("href") == (  # a group has no samples of its own: its run is opened
        f"{tmp_path.as_uri()}/javascript:my%20view/index.html#run={run}"
    )
    letters = browser.find_element("css selector", "#matrix-body td:last-child a.value")
    assert letters.get_attribute("href").endswith(f"#task=letters&run={run}")
    browser.find_element("css selector", ".entry .open").click()
    assert texts(browser, ".details a") == ["Read its samples"]
    quiet(browser)


@pytest.mark.browser
def test_on_a_phone_nothing_of_the_matrix_is_cut_off(browser: Chrome, tmp_path: Path) -> None:
    save(
        zoo(tmp_path / "r"),
        document(
            {ATTACK: task({f"{ATTACK},none": 0.5}, metadata={"data_source": ATTACK})},
            model_args={"pretrained": ATTACK},
            method=ATTACK,
            method_args={ATTACK: ATTACK * 4},
        ),
        "planted",
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    opened(browser, tmp_path / "r", tmp_path / "a.html")
    cut = (
        "return [...document.querySelectorAll('#matrix-scroller, #matrix-scroller *')].filter("
        "(node) => node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflow !=="
        " 'visible' && !node.closest('thead, .unseen, svg')).length"
    )
    assert browser.execute_script(cut) == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.execute_script("return window.planted") is None
    assert ATTACK in names(browser)
    choose(browser, "matrix-order", "Model and method")
    assert names(browser)[1:] == ["org/alpha", "org/beta", "org/gamma"]
    browser.find_element("css selector", "#matrix-folds .fold").click()
    assert "pets_cats" in "".join(texts(browser, "#matrix-body .label"))
    quiet(browser)
