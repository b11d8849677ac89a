"""The report: what is compared with what, the curves, and a page that runs nothing."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harness_axbench import metrics
from harness_axbench.commands import app
from harness_axbench.report import read_runs, write_report
from harness_axbench.report.curves import (
    GRID,
    factor_curves,
    kinds_of,
    per_concept,
    roc,
    standings,
)
from harness_axbench.report.pictures.roc_curves import evenly
from harness_axbench.report.reading import DETECTION, STEERING, SUPPRESSION
from typer.testing import CliRunner

from harness.errors import HarnessError, one_line

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.long

FACTORS = (0.5, 1.0, 2.0)
ATTACK = '</text><script>window.planted=1</script><img src=x onerror="window.planted=2">'
TEXTS = {0: "the sea", 1: f"=1+1 {ATTACK}", 2: "prices in $ and € 世界"}
JUDGE = {"model": "local-chat-completions", "model_args": {"model": "the-judge"}}


def detection(strength: float = 1.0) -> list[dict[str, Any]]:
    """Six texts a concept; scores and categories."""
    scores = {"positive": (2.0, 3.0 * strength, 1.0), "negative": (0.0, 1.5, 0.5)}
    return [
        {"concept_id": c, "category": category, "score": score + 0.1 * c}
        for c in TEXTS
        for category, own in scores.items()
        for score in own
    ] + [{"concept_id": 0, "category": "hard negative", "score": 9.0}]


def steering(
    factors: Sequence[float | None] = FACTORS, *, suppressed: bool = False
) -> list[dict[str, Any]]:
    """Ten instructions at each factor: concept rises with it, fluency falls."""
    items = []
    for c in TEXTS:
        for at in factors:
            strength = abs(at or 0.0)
            for number in range(10 if at is not None else 5):
                split = "select" if number < 5 and at is not None else "test"
                ratings = {
                    "concept": min(2, round(strength + (number + c) % 2)),
                    "relatedness": 2 if number else 1,
                    "fluency": max(0, 2 - round(strength)),
                }
                item = {"concept_id": c, "factor": at, "split": split, **ratings}
                items.append(item | ({"absence": 2 - ratings["concept"]} if suppressed else {}))
    return items


def save(
    folder: Path,
    tasks: dict[str, list[dict[str, Any]]],
    *,
    date: str = "2026-01-02T10-00-00.000000",
    data: str = "ab" * 32,
    judge: Any = JUDGE,
    original: int | None = None,
    **config: Any,
) -> Path:
    """A run's files in the form in which lm-eval writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "results": {},
        "configs": {},
        "n-samples": {},
        "config": {"model": "hf-steered", "model_args": {"pretrained": "org/tiny"}, **config},
        "date": float(date[8:10]),
        "lm_eval_version": "0.4.13",
    }
    for task, items in tasks.items():
        key = "auroc" if "detect" in task else "overall_score"
        metadata: dict[str, Any] = {"data_sha256": data, "data_source": "testbed"}
        if key != "auroc":
            metadata["judge"] = judge
        document["results"][task] = {f"{key},none": 0.5}
        document["configs"][task] = {"metadata": metadata}
        counts = {"original": original or len(items), "effective": len(items)}
        document["n-samples"][task] = counts
        rows = [
            {
                "doc": {"concept_id": item["concept_id"], "concept": TEXTS[item["concept_id"]]},
                "resps": [["…"]],
                "filtered_resps": ["…"],
                "filter": "none",
                "metrics": [key],
                key: item,
            }
            for item in items
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"samples_{task}_{date}.jsonl").write_text(lines)
    path = folder / f"results_{date}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two methods and the model alone on three families of tasks."""
    folder = tmp_path / "runs"
    both = {"axbench_detect": detection(), "axbench_steer": steering()}
    save(folder / "a", both, method="diffmean", layer=20)
    weak = {"axbench_detect": detection(0.1), "axbench_steer": steering((0.5, 1.0))}
    save(folder / "b", weak, method="random", layer=20)
    alone = {
        "axbench_detect_prompt": detection(0.5),
        "axbench_steer": steering((None,)),
        "axbench_steer_prompt": steering((None,)),
    }
    save(folder / "c", alone, model="hf")
    down = steering((-0.5, -1.0), suppressed=True)
    save(folder / "d", {"axbench_suppress": down}, method="diffmean", layer=20)
    return folder


# What is read


def test_families_and_labels(runs: Path) -> None:
    found = read_runs([runs])
    assert [section.family for section in found.sections] == [DETECTION, STEERING, SUPPRESSION]
    labels = [sorted(one.label for one in section.series) for section in found.sections]
    assert labels == [
        ["DiffMean", "Prompt", "Random"],
        ["DiffMean", "Prompt", "Random", "Unsteered"],
        ["DiffMean"],
    ]
    assert found.left_out == ()
    assert found.sections[0].concepts == TEXTS


def test_only_like_with_like(tmp_path: Path) -> None:
    """Other data, another judge: other sections. Detection knows no judge."""
    both = {"axbench_detect": detection(), "axbench_steer": steering()}
    save(tmp_path / "a", both, method="diffmean")
    save(tmp_path / "b", both, method="random", data="cd" * 32)
    save(tmp_path / "c", both, method="pca", judge={"model": "other"})
    found = read_runs([tmp_path])
    groups = [[one.label for one in section.series] for section in found.sections]
    assert groups == [["DiffMean", "PCA"], ["Random"], ["DiffMean"], ["PCA"], ["Random"]]


def test_labels_say_what_differs(tmp_path: Path) -> None:
    task = {"axbench_steer": steering()}
    args = {"pretrained": "org/tiny"}
    save(tmp_path / "a", task, method="reft_r1", layer=10, model_args=args | {"steering": "a"})
    save(tmp_path / "b", task, method="reft_r1", layer=20, model_args=args | {"steering": "b"})
    save(tmp_path / "c", task, method="sae", layer=20, intervention="clamp", positions="all")
    (section,) = read_runs([tmp_path]).sections
    assert [one.label for one in section.series] == [
        "ReFT-r1, layer 10",
        "ReFT-r1, layer 20",
        "SAE (clamp)",
    ]
    save(tmp_path / "d", task, method="novel", layer=20, model_args={"pretrained": "org/wide"})
    (section,) = read_runs([tmp_path]).sections
    assert section.series[0].label == "ReFT-r1, tiny, layer 10"
    assert section.series[3].label == "novel, wide"


def test_of_repeats_the_newest_full_run_counts(tmp_path: Path) -> None:
    task = {"axbench_detect": detection()}
    save(tmp_path / "old", task, date="2026-01-02T10-00-00.000000", method="pca")
    save(tmp_path / "new", task, date="2026-01-03T10-00-00.000000", method="pca")
    part = {"axbench_detect": detection()[:12]}
    save(tmp_path / "part", part, date="2026-01-04T10-00-00.000000", method="pca", original=19)
    found = read_runs([tmp_path])
    ((one,),) = [section.series for section in found.sections]
    assert "/new/" in one.run.file
    assert not one.limited
    assert len(found.left_out) == 2
    assert all("was run again" in line for line in found.left_out)


def test_a_bad_run_is_left_out_and_said(runs: Path) -> None:
    for name, harm in (("cut", "cut"), ("none", "none"), ("unjudged", "unjudged")):
        path = save(runs / name, {"axbench_steer": steering()}, method=name)
        samples = next(path.parent.glob("samples_*"))
        lines = samples.read_text().splitlines()
        if harm == "cut":
            samples.write_text("\n".join(lines)[:-30])
        elif harm == "none":
            samples.unlink()
        else:
            rows = [json.loads(line) for line in lines]
            text = "".join(json.dumps(row | {"overall_score": None}) + "\n" for row in rows)
            samples.write_text(text)
    found = read_runs([runs])
    assert len(found.sections[1].series) == 4
    said = sorted(found.left_out)
    assert len(said) == 3
    assert any("samples are saved by lm_eval --log_samples" in line for line in said)
    assert any("was it judged?" in line for line in said)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (
            [{"concept_id": 0, "category": "positive", "score": float("nan")}],
            "score: Input should be",
        ),
        ([{"concept_id": 0, "category": "positive"}], "score: Field required"),
        ([{"concept_id": 0, "score": 1.0}], "category: Field required"),
    ],
)
def test_nothing_to_draw_is_one_line(tmp_path: Path, items: list[Any], says: str) -> None:
    save(tmp_path, {"axbench_detect": items}, method="pca")
    with pytest.raises(HarnessError, match=says) as caught:
        read_runs([tmp_path])
    assert "\n" not in one_line(caught.value)


@pytest.mark.parametrize("task", ["axbench_detect", "axbench_steer"])
@pytest.mark.parametrize("value", [10**400, True, "1", [], {}, float("inf"), None, -1])
def test_items_of_other_types_are_one_line(tmp_path: Path, task: str, value: Any) -> None:
    items = detection() if task == "axbench_detect" else steering()
    for key in items[0]:
        if value is None and key not in ("category", "score", "concept_id", "split"):
            continue  # a rating or a factor may be missing
        if value in (True, -1, "1") and key in ("factor", "score", "category"):
            continue  # a number, or a text, like another
        changed = [*items[:2], items[2] | {key: value}, *items[3:]]
        save(tmp_path, {task: items})
        path = next(tmp_path.glob("samples_*"))
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        name = "auroc" if task == "axbench_detect" else "overall_score"
        lines = [json.dumps(row | {name: i}) for row, i in zip(rows, changed, strict=True)]
        path.write_text("\n".join(lines))
        with pytest.raises(HarnessError, match=f"sample 3 of {task}") as caught:
            read_runs([tmp_path])
        assert "\n" not in str(caught.value)


def test_nothing_steers_the_terminal_or_the_page(tmp_path: Path) -> None:
    hostile = "sea\x1b]0;owned\x07\x9b2J\u202egnp\nline"
    for number, method in enumerate((hostile, "pca")):
        config = {"method": method, "intervention": hostile, "model_args": {"pretrained": hostile}}
        path = save(tmp_path / str(number), {"axbench_steer": steering()}, **config)
        samples = next(path.parent.glob("samples_*"))
        rows = [json.loads(line) for line in samples.read_text().splitlines()]
        for row in rows:
            row["doc"]["concept"] = f"{hostile} {row['doc']['concept_id']}"
        samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "page"
    arguments = ["report", str(tmp_path), "--out", str(folder)]
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "\x1b]" not in shown.output and not {"\x9b", "\x07", "\u202e"} & {*shown.output}
    for path in folder.iterdir():
        assert not {"\x1b", "\x9b", "\x07", "\u202e"} & {*path.read_text(encoding="utf-8")}, path
    assert "\\x1b]0;owned" in (folder / "report.html").read_text(encoding="utf-8")


def test_ratings_out_of_range(tmp_path: Path) -> None:
    items = steering()
    items[3]["fluency"] = 7
    save(tmp_path, {"axbench_steer": items}, method="pca")
    with pytest.raises(
        HarnessError, match=r"sample 4 of axbench_steer .*fluency: Input should be less"
    ):
        read_runs([tmp_path])


def test_no_samples_and_no_runs(tmp_path: Path) -> None:
    path = save(tmp_path / "a", {"axbench_steer": steering()}, method="pca")
    next(path.parent.glob("samples_*")).unlink()
    with pytest.raises(HarnessError, match="lm_eval --log_samples"):
        read_runs([tmp_path])
    save(tmp_path / "b", {"gsm8k": []}, method="pca")
    with pytest.raises(HarnessError, match="no run of an AxBench task in 1 results files"):
        read_runs([tmp_path / "b"])
    with pytest.raises(HarnessError, match="no such file or folder"):
        read_runs([tmp_path / "missing"])


# What is computed


def test_roc_curves_by_hand() -> None:
    """Concept 0 as in ``detection_metrics``: positives 4 and 2, negatives 3 and 1."""
    scores = {"positive": (4, 2), "negative": (3, 1), "hard negative": (5,)}
    items = [
        {"concept_id": 0, "category": category, "score": float(score)}
        for category, own in scores.items()
        for score in own
    ]
    items += [
        {"concept_id": 1, "category": "positive", "score": 1.0},
        {"concept_id": 1, "category": "negative", "score": 0.0},
        {"concept_id": 2, "category": "positive", "score": 1.0},
    ]
    curves = roc(items)
    assert curves is not None
    assert curves.areas == {0: 0.75, 1: 1.0}
    fpr, tpr = curves.concepts[0]
    assert list(zip(fpr, tpr, strict=True)) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    expected = np.where(GRID < 0.5, (0.5 + 1) / 2, 1.0)
    assert curves.mean == pytest.approx(expected)
    assert roc(items[-1:]) is None


def test_a_tied_curve_is_a_straight_line() -> None:
    items = [
        {"concept_id": 0, "category": category, "score": 1.0}
        for category in ("positive", "negative", "negative")
    ]
    curves = roc(items)
    assert curves is not None
    assert curves.mean == pytest.approx(GRID)


def test_factor_curves_by_hand() -> None:
    ratings = [(2, 1, 2), (2, 2, 2), (0, 2, 2), (None, 2, 2)]
    items = [
        {
            "concept_id": number // 2,
            "factor": 1.0,
            "split": "test",
            "concept": concept,
            "relatedness": relatedness,
            "fluency": fluency,
        }
        for number, (concept, relatedness, fluency) in enumerate(ratings)
    ]
    curves = factor_curves(items, ["overall", "concept", "relatedness"])
    assert curves["overall"][0].value == pytest.approx(((1.5 + 2) / 2 + 0) / 2)
    assert curves["concept"][0].value == pytest.approx((2 + 0) / 2)
    assert curves["relatedness"][0].value == pytest.approx((1.5 + 2) / 2)
    assert math.isnan(curves["overall"][0].low), "two concepts are too few"
    more = [*items, *({**one, "concept_id": 2} for one in items if one["concept_id"] == 0)]
    (third,) = factor_curves(more, ["overall"])["overall"]
    assert (third.low, third.high) == (0, 1.75)


def test_standings_are_the_metrics(runs: Path) -> None:
    """Value and interval of each method as lm-eval's table has them."""
    sections = read_runs([runs]).sections
    for section in sections:
        for one in standings(section):
            items = one.series.items
            headline = metrics.auroc if section.family == DETECTION else metrics.overall_score
            assert one.headline.value == pytest.approx(headline(items))
            interval = (one.headline.low, one.headline.high)
            assert interval == pytest.approx(headline.interval(items))
            if section.family == DETECTION:
                assert one.n_unscored is None
                continue
            first = "absence" if section.family == SUPPRESSION else "concept"
            expected = getattr(metrics, f"{first}_score")(items)
            assert one.parts[first] == pytest.approx(expected)
            assert one.parts["instruction"] == pytest.approx(metrics.instruct_score(items))
            assert one.parts["fluency"] == pytest.approx(metrics.fluency_score(items))
            assert one.parts["factor"] == pytest.approx(metrics.factor(items), nan_ok=True)
            assert one.n_unscored == 0
    assert list(kinds_of(sections[2]).values()) == ["overall", "absence", "instruction", "fluency"]


def test_order(tmp_path: Path) -> None:
    """Best first; what was run on a part of the data comes last however good it is."""
    save(tmp_path / "a", {"axbench_detect": detection(0.1)}, method="pca")
    save(tmp_path / "b", {"axbench_detect": detection()}, method="probe")
    best = [item for item in detection() if item["score"] not in (1.0, 1.5, 1.1, 1.6, 1.2, 1.7)]
    save(tmp_path / "c", {"axbench_detect": best}, method="lat", original=99)
    (section,) = read_runs([tmp_path]).sections
    order = standings(section)
    assert [one.series.label for one in order] == ["LinearProbe", "PCA", "LAT"]
    assert order[2].headline.value == 1.0
    rows = per_concept(section, order)
    means = [np.nanmean(values) for _, values in rows]
    assert means == sorted(means, reverse=True)
    assert {concept for concept, _ in rows} == set(TEXTS)


def test_evenly() -> None:
    assert evenly(500, 60)[0] == 0
    assert evenly(500, 60)[-1] == 499
    assert len(set(evenly(500, 60))) == 60
    assert evenly(7, 60) == list(range(7))


# What is written


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_data_of_every_picture(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    page = write_report(read_runs([runs]), out)
    assert page == out / "report.html"
    assert sorted(path.name for path in out.iterdir()) == [
        "detection-1-comparison.csv",
        "detection-1-concepts.csv",
        "detection-1-roc.csv",
        "report.html",
        "steering-2-comparison.csv",
        "steering-2-concepts.csv",
        "steering-2-factors.csv",
        "suppression-3-comparison.csv",
        "suppression-3-concepts.csv",
        "suppression-3-factors.csv",
    ]
    first = cells(out / "detection-1-comparison.csv")[0]
    assert (first["label"], first["method"], first["task"]) == (
        "DiffMean",
        "diffmean",
        "axbench_detect",
    )
    assert float(first["ci95_low"]) <= float(first["AUROC"]) <= float(first["ci95_high"])
    curve = cells(out / "detection-1-roc.csv")
    mean = [row for row in curve if row["concept_id"] == "mean" and row["label"] == "DiffMean"]
    assert [float(row["fpr"]) for row in mean] == pytest.approx(GRID)
    rows = cells(out / "steering-2-factors.csv")
    assert {row["factor"] for row in rows if row["label"] == "DiffMean"} == {"0.5", "1.0", "2.0"}
    assert {row["score"] for row in rows} == {"overall", "concept", "instruction", "fluency"}
    named = {row["concept_id"]: row["concept"] for row in cells(out / "steering-2-concepts.csv")}
    assert named["1"] == f"'{TEXTS[1]}"  # a formula no more
    assert {row["factor"] for row in cells(out / "suppression-3-factors.csv")} == {"-0.5", "-1.0"}


def test_the_page_is_safe_and_whole(runs: Path, tmp_path: Path) -> None:
    save(runs / "e", {"axbench_detect": detection()}, method=ATTACK, model_args={"model": ATTACK})
    page = write_report(read_runs([runs]), tmp_path / "out", title=ATTACK).read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert " style=" not in page
    assert page.count("<svg") == page.count("</svg>") == 9
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src 'none'" in policy[1] and "script-src" not in policy[1]
    addresses = set(re.findall(r"https?://[^\"' )]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    linked = set(re.findall(r'href="([^"#]*\.csv)"', page))
    assert linked == {path.name for path in (tmp_path / "out").glob("*.csv")}


def test_the_same_runs_give_the_same_pictures(runs: Path, tmp_path: Path) -> None:
    pages = [write_report(read_runs([runs]), tmp_path / name).read_text() for name in "ab"]
    assert re.findall("<svg.*?</svg>", pages[0]) == re.findall("<svg.*?</svg>", pages[1])


def test_many_concepts_and_wide_factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = "harness_axbench.report.pictures"
    monkeypatch.setattr(import_module(f"{pictures}.concepts"), "NAMED_ROWS", 2)
    monkeypatch.setattr(import_module(f"{pictures}.roc_curves"), "LINES", 2)
    tasks = {"axbench_detect": detection(), "axbench_steer": steering((0.4, 10.0, 100.0))}
    save(tmp_path / "runs", tasks, method="sae", intervention="clamp")
    page = write_report(read_runs([tmp_path / "runs"]), tmp_path / "out").read_text()
    assert "3 concepts, a line each" in page
    assert "Thin: 2 concepts, evenly spread by area" in page
    (factors,) = re.findall(r"<svg(?:(?!</svg>).)*steering-2-factors-title.*?</svg>", page)
    assert re.findall(r">(1|10|100)</text>", factors)


def test_dotted_is_the_same_model_unsteered(runs: Path, tmp_path: Path) -> None:
    """Not the prompt's score, and not another model's."""
    factors = import_module("harness_axbench.report.pictures.factors")
    save(runs / "x", {"axbench_steer": steering((None,))}, model_args={"pretrained": "org/wide"})
    section = read_runs([runs]).sections[1]
    order = standings(section)
    (steered,) = [one for one in order if one.series.run.method == "diffmean"]
    flat = factors._unsteered(steered, order)
    assert (flat.series.task, flat.series.run.model) == ("axbench_steer", "org/tiny")
    assert not flat.series.steered
    others = [one for one in order if one is not flat]
    assert factors._unsteered(steered, others) is None


def test_many_methods(tmp_path: Path) -> None:
    """Names of narrow columns are written upwards and are whole."""
    for number in range(20):
        save(
            tmp_path / f"runs/{number}", {"axbench_detect": detection()}, method=f"method_{number}"
        )
    page = write_report(read_runs([tmp_path / "runs"]), tmp_path / "out").read_text()
    (concepts,) = re.findall(r"<svg(?:(?!</svg>).)*detection-1-concepts-title.*?</svg>", page)
    names = re.findall(r"rotate\(-90[^>]*>(method_\d+)</text>", concepts)
    assert sorted(names) == sorted(f"method_{number}" for number in range(20))


def test_one_concept_has_no_interval(tmp_path: Path) -> None:
    items = [item for item in detection() if item["concept_id"] == 0]
    save(tmp_path / "runs", {"axbench_detect": items}, method="pca")
    (section,) = read_runs([tmp_path / "runs"]).sections
    (one,) = standings(section)
    assert math.isnan(one.headline.low) and math.isnan(one.headline.high)
    write_report(read_runs([tmp_path / "runs"]), tmp_path / "out")


def test_a_method_without_any_rating_is_not_compared(tmp_path: Path) -> None:
    items = [item | dict.fromkeys(("concept", "fluency")) for item in steering()]
    save(tmp_path / "a", {"axbench_steer": items}, method="pca")
    save(tmp_path / "b", {"axbench_steer": steering()}, method="probe")
    (section,) = read_runs([tmp_path]).sections
    assert [one.series.label for one in standings(section)] == ["LinearProbe"]
    page = write_report(read_runs([tmp_path]), tmp_path / "out").read_text()
    assert "nothing of axbench_steer (PCA) is scored" in page
    with pytest.raises(HarnessError, match=r"nothing of axbench_steer \(PCA\) is scored"):
        write_report(read_runs([tmp_path / "a"]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = CliRunner().invoke(app, ["report", str(runs), "--out", str(out)], catch_exceptions=False)
    assert "8 methods in 3 sections" in made.output
    assert "samples</a>" not in (out / "report.html").read_text(encoding="utf-8")


def test_runs_are_linked_to_their_samples(runs: Path, tmp_path: Path) -> None:
    call = ["report", str(runs), "--out", str(tmp_path / "out"), "--view", str(tmp_path / "view")]
    refused = CliRunner().invoke(app, call)
    assert "there is no index.html in it" in str(refused.exception)
    assert not (tmp_path / "out").exists()
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "index.html").touch()
    CliRunner().invoke(app, call, catch_exceptions=False)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    found = re.findall(r'href="\.\./view/index\.html#task=(\w+)&amp;run=(\w+)">samples<', page)
    series = [one for section in read_runs([runs]).sections for one in section.series]
    assert set(found) == {(one.task, one.run.run_id) for one in series}


def test_samples_as_lm_eval_writes_them(llama: str, steering_runs: Path, tmp_path: Path) -> None:
    """A run of lm-eval itself, read and drawn."""
    found = read_runs([steering_runs])
    (section,) = found.sections
    (one,) = section.series
    assert (one.label, one.task_run.data_source) == ("DiffMean", section.data_source)
    saved = json.loads(Path(one.run.file).read_text())["results"]["axbench_detect"]
    assert standings(section)[0].headline.value == pytest.approx(saved["auroc,none"])
    low, high = saved["auroc_ci95,none"]
    headline = standings(section)[0].headline
    assert (headline.low, headline.high) == pytest.approx((low, high), abs=1e-4)
    assert not math.isnan(headline.value)
    assert "the sea" in write_report(found, tmp_path / "out").read_text()


@pytest.fixture
def steering_runs(
    llama: str,
    steering: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manager: Any,
) -> Path:
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    monkeypatch.setattr("sys.argv", ["lm_eval"])
    metadata = {"axbench_data": str(data_folder), "steering": str(steering), "method": "diffmean"}
    tracker = EvaluationTracker(output_path=str(tmp_path / "lm_eval"))
    arguments = f"pretrained={llama},steering={steering},method=diffmean,dtype=float32"
    results = simple_evaluate(
        model="hf-steered",
        model_args=arguments,
        device="cpu",
        batch_size=16,
        tasks=["axbench_detect"],
        task_manager=manager(**metadata),
        metadata=metadata,
        evaluation_tracker=tracker,
        log_samples=True,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    return tmp_path / "lm_eval"


# The page in a browser


@pytest.mark.browser
def test_it_opens_and_runs_nothing(browser: Chrome, runs: Path, tmp_path: Path) -> None:
    save(runs / "e", {"axbench_detect": detection()}, method=ATTACK)
    page = write_report(read_runs([runs]), tmp_path / "out", title=ATTACK)
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.planted") is None
    assert browser.title == ATTACK
    shown = browser.execute_script(
        """return [...document.querySelectorAll('figure svg')].map((svg) => {
             const box = svg.getBoundingClientRect();
             return [box.width, box.height, svg.querySelectorAll('path, use').length];
           })"""
    )
    assert len(shown) == 9
    assert all(width >= 800 and height >= 60 and n > 3 for width, height, n in shown)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure svg text')]"
        ".map((text) => text.getBoundingClientRect().height)"
    )
    assert len(sizes) > 60
    assert min(sizes) >= 9
    words = browser.execute_script(
        "return [...document.querySelectorAll('figure svg text')].map((text) => text.textContent)"
    )
    assert {"DiffMean", "Unsteered", "AUROC, mean over concepts", "factor (× max_act)"} <= set(
        words
    )
    requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    files = {
        event["params"]["request"]["url"]
        for event in requests
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in files if not url.startswith(("data:", "chrome:"))} == {page.as_uri()}


@pytest.mark.browser
def test_ink_on_light_and_dark(browser: Chrome, runs: Path, tmp_path: Path) -> None:
    """Words and curves take the page's colours; nothing sticks out of a phone's page."""
    page = write_report(read_runs([runs]), tmp_path / "out")
    colours = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(page.as_uri())
        colours.append(
            browser.execute_script(
                "const style = (q) => getComputedStyle(document.querySelector(q));"
                "return [style('figure svg text').fill, style('body').color,"
                " style('body').backgroundColor]"
            )
        )
    for words, ink, paper in colours:
        assert words != paper
        assert ink != paper
    assert colours[0][0] != colours[1][0]
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True},
    )
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
