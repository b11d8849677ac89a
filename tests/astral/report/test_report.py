"""The report: what is counted, what is written, and what never leaves without being asked for."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_astral.commands import app
from harness_astral.metrics.agreement import fleiss_kappa, krippendorff_alpha
from harness_astral.oracles.outcomes import Outcome
from harness_astral.report.facts import calibrations, coverages, judgings
from harness_astral.report.folder import write_report
from harness_astral.report.page import HEAT_MAPS, heat, heat_map, percent, probability, told
from harness_astral.report.reading import TASK, Run, read_runs
from harness_astral.report.report import report_of
from harness_astral.report.tables import Rate, all_cells, compare, refused, tally, worst
from harness_astral.requests import ERROR, REFUSED_BY_PROVIDER
from harness_astral.suites.suite import Input, write_suite
from harness_astral.tasks.rows import safety_docs
from lm_eval.api.model import LM
from typer.testing import CliRunner

from astral.made_up import (
    ATTACK,
    CATEGORIES,
    JUDGES,
    SECRETS,
    STAMP,
    inputs,
    outcome,
    planted,
    write_run,
)
from astral.tasks.test_safety_task import evaluate
from harness.artefacts.writing import appearing
from harness.errors import DataError, HarnessError
from harness.statistics import wilson

OUTCOMES = ["unsafe", "unsafe", "safe", "unknown", "unsafe", REFUSED_BY_PROVIDER, "safe", ERROR]
"""Of the eight probes; the first four are of the first category, the first two slang."""


def some(outcomes: list[str] = OUTCOMES, declined: int = 3) -> list[Outcome]:
    """What came of eight probes and eight twins, of which some were declined."""
    twins = [outcome("safe", refused=number < declined) for number in range(8)]
    return [*map(outcome, outcomes), *twins]


def one_run(folder: Path, came: list[Outcome] | None = None, **named: Any) -> Run:
    suite = inputs()
    path = write_run(folder, suite, came or some(), **named)
    (run,) = read_runs([path])
    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Counts


def test_denominators_by_hand(tmp_path: Path) -> None:
    """3 unsafe of 8, and of the 5 that are decided; 3 of 8 twins declined."""
    run = one_run(tmp_path)
    found = tally(run.probes)
    assert found.counts == {
        "unsafe": 3, "safe": 2, "unknown": 1, "refused_by_provider": 1, "error": 1
    }  # fmt: skip
    assert (found.of_all.count, found.of_all.n, found.of_decided.n) == (3, 8, 5)
    assert found.of_all.value == 3 / 8 and found.of_decided.value == 3 / 5
    assert found.of_decided.interval == wilson(3, 5)
    declined = refused(run.twins)
    assert (declined.count, declined.n) == (3, 8)
    assert refused([]).n == 0 and math.isnan(refused([]).value)


def test_cells_of_all_sizes(tmp_path: Path) -> None:
    run = one_run(tmp_path)
    found = {(c.factors, c.levels): c for c in all_cells(run.probes)}
    assert len(found) == 1 + (2 + 2 + 1) + (4 + 2 + 2) + 4
    slang = found[("category", "style"), (CATEGORIES[0], "slang")].tally
    assert (slang.unsafe, slang.of_decided.n, slang.n) == (2, 2, 2)
    asked = found[("category", "style"), (CATEGORIES[0], "question")].tally
    assert (asked.unsafe, asked.of_decided.n, asked.n) == (0, 1, 2)
    assert found[(), ()].tally.n == 8


def test_the_worst_are_ranked_by_what_is_sure(tmp_path: Path) -> None:
    """3 of 3 (Wilson from .438) stands above 2 of 2 (from .342) and 2 of 3 (from .208)."""
    run = one_run(tmp_path)
    found = worst(run.probes)
    assert found[0].levels == ("slang",)
    assert found[0].tally.of_decided.low == pytest.approx(wilson(3, 3)[0])
    lows = [cell.tally.of_decided.low for cell in found]
    assert lows == sorted(lows, reverse=True)
    assert all(cell.tally.unsafe and cell.factors for cell in found)
    assert worst(one_run(tmp_path / "safe", some(["safe"] * 8)).probes) == []


def test_a_heat_map(tmp_path: Path) -> None:
    run = one_run(tmp_path)
    report = report_of([run])
    found = heat_map(run, HEAT_MAPS[0], report.levels)
    assert found.columns == ["slang", "question"]
    (name, (slang, asked), total), _ = found.lines
    assert name == CATEGORIES[0] and slang and asked and total
    assert (heat(slang.tally.of_decided), heat(asked.tally.of_decided)) == ("h10 few", "h0 few")
    assert told(slang) == (
        "privacy violation × slang: 100.0 %, 95 % interval 34.2 to 100.0; of 2: unsafe 2"
    )
    assert total.tally.of_decided.n == 3
    whole = found.totals[0]
    assert whole and whole.tally.of_decided.count == 3
    assert heat(Rate(0, 5)) == "h0" and heat(Rate(4, 9)) == "h4" and heat(Rate(0, 0)) == "none"
    assert percent(math.nan) == "–" and probability(0.0004) == "< 0.001"


def test_a_cell_that_was_not_decided_is_not_shown_as_safe(tmp_path: Path) -> None:
    run = one_run(tmp_path, some([ERROR, "unknown", *OUTCOMES[2:]]))
    found = heat_map(run, HEAT_MAPS[0], report_of([run]).levels)
    cell = found.lines[0][1][0]
    assert cell and heat(cell.tally.of_decided) == "none"
    assert "none decided" in told(cell)


def test_two_runs_compared_by_hand(tmp_path: Path) -> None:
    """Of the 5 and 8 decided, 5 are so in both: a 2, b 1, c 1, d 1; category 1 has 3 of 4 pairs."""
    first = one_run(tmp_path / "a")
    second = one_run(
        tmp_path / "b",
        some(["unsafe", "safe", "unsafe", "safe", "unsafe", "safe", "safe", "unsafe"], 8),
    )
    found = compare(first, second)
    overall = found.overall
    assert (overall.both, overall.first, overall.second, overall.neither) == (2, 1, 1, 1)
    assert (overall.left_out, overall.p, overall.difference) == (3, 1.0, 0.0)
    assert [(one.name, one.n) for one in found.categories] == [
        (CATEGORIES[0], 3),
        (CATEGORIES[1], 2),
    ]
    assert found.refusal is not None
    assert (found.refusal.both, found.refusal.second) == (3, 5)
    assert found.refusal.p == pytest.approx(2 / 32)
    assert (found.shared, found.alone) == (16, 0)


def test_judges_and_calibration(tmp_path: Path) -> None:
    """Two judges of six outputs that differ once; 18 of 20 and 76 of 80 are right."""
    came = some()
    came[2] = outcome("safe", verdicts={JUDGES[1]: None})
    came[6] = outcome("safe", verdicts={JUDGES[1]: "unsafe"})
    note = {"calibration": {"found": 18, "unsafe": 20, "left": 76, "safe": 80, "undecided": 1}}
    run = one_run(tmp_path, came, note=note)
    (judging,) = judgings([run])
    assert judging.judges == ((JUDGES[0], (3, 2, 1, 0)), (JUDGES[1], (4, 0, 1, 1)))
    same = [["unsafe"] * 2] * 3 + [["unknown"] * 2, ["safe", "unsafe"]]
    assert judging.kappa == pytest.approx(fleiss_kappa(same))
    assert judging.alpha == pytest.approx(krippendorff_alpha([*same, ["safe", None]]))
    (found,) = calibrations([run])
    assert found.calibration.sensitivity == 0.9 and found.calibration.specificity == 0.95
    assert found.corrected.rate == pytest.approx((3 / 5 + 0.95 - 1) / 0.85)
    assert calibrations([one_run(tmp_path / "bare")]) == []


# Coverage and suites


def freeze(folder: Path, suite: list[Input], **facts: Any) -> Path:
    with appearing(folder) as draft:
        write_suite(draft, suite, recipe={}, facts=facts)
    return folder


def test_coverage_is_the_manifests_where_there_is_one(tmp_path: Path) -> None:
    run = one_run(tmp_path / "run")
    share = {str(t): {"covered": t, "total": 4, "share": t / 4} for t in (1, 2, 3)}
    suite = freeze(
        tmp_path / "suite",
        inputs(),
        coverage={"requested": share, "verified": share},
        factors={"category": [*CATEGORIES, "self_harm"], "style": [], "persuasion": []},
    )
    found = coverages(report_of([run], suite=suite))
    assert [one.name for one in found] == ["requested", "verified", "decided, model-a"]
    assert [str(one) for one in found[1].shares] == ["1/4 (25.0%)", "2/4 (50.0%)", "3/4 (75.0%)"]
    # decided: 2 of 3 categories, both styles, the technique; 4 cells of 3 × 2 × 1
    decided = [(one.covered, one.total) for one in found[2].shares]
    assert decided == [(5, 6), (4 + 2 + 2, 6 + 3 + 2), (4, 6)]
    alone = coverages(report_of([run]))
    assert [one.name for one in alone] == ["requested", "decided, model-a"]
    assert [one.value for one in alone[0].shares] == [1.0, 1.0, 1.0]


def test_another_suite_is_refused(tmp_path: Path) -> None:
    run = one_run(tmp_path / "run")
    other = freeze(tmp_path / "suite", inputs(replicates=1))
    with pytest.raises(DataError, match=r"--suite .* is another suite \("):
        report_of([run], suite=other)
    two = one_run(tmp_path / "two", model="m/b", sha256="f" * 64)
    with pytest.raises(DataError, match=r"is on another suite \(ffffffffffff\) than"):
        report_of([run], against=two)
    with pytest.raises(DataError, match="one report, and one comparison, is of one suite"):
        read_runs([tmp_path])
    with pytest.raises(DataError, match="--against names the run that is reported"):
        report_of([run], against=run)


def test_runs_that_were_judged_otherwise_are_not_compared(tmp_path: Path) -> None:
    one, two = (one_run(tmp_path / name, model=f"org/{name}") for name in ("a", "b"))
    assert report_of([one], against=two).comparisons
    other = replace(two, judges=[{**two.judges[0], "model": "another"}, *two.judges[1:]])
    with pytest.raises(DataError, match=r"judged otherwise than .* harness score does it"):
        report_of([one], against=other)


# What is written


def test_the_folder(tmp_path: Path) -> None:
    one = one_run(tmp_path / "a", note={})
    two = one_run(tmp_path / "b", some(["safe"] * 8), model="org/=model-b")
    page = write_report(report_of([one], against=two), tmp_path / "out")
    assert page == tmp_path / "out" / "report.html"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["cells.csv", "comparison.csv", "report.html", "rows.csv"]
    rows = table(tmp_path / "out" / "rows.csv")
    assert len(rows) == 32 and "prompt" not in rows[0] and "response" not in rows[0]
    assert rows[0]["outcome"] == "unsafe" and rows[0]["category"] == CATEGORIES[0]
    assert rows[0]["response_characters"] == str(len(SECRETS["output"]))
    assert rows[16]["model"] == "'=model-b"  # no formula
    cells = table(tmp_path / "out" / "cells.csv")
    whole = cells[0]
    assert (whole["n"], whole["unsafe"], whole["decided"]) == ("8", "3", "5")
    assert float(whole["unsafe_rate"]) == 3 / 8
    assert float(whole["unsafe_rate_decided_ci95_low"]) == wilson(3, 5)[0]
    benign = next(line for line in cells if line["kind"] == "benign")
    assert float(benign["refusal_rate"]) == 3 / 8
    first = table(tmp_path / "out" / "comparison.csv")[0]
    assert (first["inputs"], first["pairs"], first["only_model"]) == ("all categories", "5", "3")
    assert float(first["mcnemar_p"]) == pytest.approx(2 / 8)


def everything(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()))


def test_texts_stay_out_unless_asked_for(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", inputs(), some())
    for show_text in (False, True):
        runs = read_runs([path], show_text=show_text)
        out = tmp_path / f"out-{show_text}"
        write_report(report_of(runs, show_text=show_text), out)
        text = everything(out) + repr([run.answers for run in runs])
        shown = {name for name, secret in SECRETS.items() if secret in text}
        wanted = {"prompt", "twin", "output", "reason", "why"} if show_text else set()
        assert shown == wanted
    rows = table(tmp_path / "out-True" / "rows.csv")
    assert rows[0]["prompt"].startswith(SECRETS["prompt"])
    assert (
        rows[0]["reasons"] == f"{JUDGES[0]}: {SECRETS['reason']}\n{JUDGES[1]}: {SECRETS['reason']}"
    )


def test_the_folder_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of([one_run(tmp_path / "run")])

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness_astral.report.page.render", full)
    with pytest.raises(HarnessError, match="No space left on device"):
        write_report(report, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    monkeypatch.undo()
    (tmp_path / "out").mkdir()
    write_report(report, tmp_path / "out")  # an empty folder is free
    with pytest.raises(HarnessError, match="exists already"):
        write_report(report, tmp_path / "out")


def test_planted_markup_stays_text(tmp_path: Path) -> None:
    text = write_report(planted(tmp_path / "r"), tmp_path / "o", title=ATTACK).read_text()
    assert "<script>window.planted" not in text and "<img" not in text and "<!--" not in text
    assert text.count("<script") == text.count("</script") == 2
    assert " style=" not in text
    links = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)=\"([^\"]*)", text)
    assert links == ["data:,"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))


# Bad input


def broken(tmp_path: Path, *, line: int, old: str, new: str) -> str:
    path = write_run(tmp_path, inputs(), some())
    file = tmp_path / f"samples_astral_safety_{STAMP}.jsonl"
    lines = file.read_text().split("\n")
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new)
    file.write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        read_runs([path])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_broken_samples_are_told_in_a_line(tmp_path: Path) -> None:
    told_ = broken(tmp_path / "a", line=2, old='"doc_id"', new='{"doc_id')
    assert "samples_astral_safety" in told_ and "3" in told_
    told_ = broken(tmp_path / "b", line=2, old='"prompt": "', new='"prompt": 3, "x": "')
    assert re.search(r"sample 3 of astral_safety: prompt is not a text", told_)
    told_ = broken(tmp_path / "c", line=1, old='\\"outcome\\": \\"unsafe\\"', new="")
    assert "sample 2 of astral_safety has no outcome; judge the samples with" in told_
    told_ = broken(tmp_path / "d", line=1, old='"id": "0-slang-1"', new='"id": "0-slang-0"')
    assert "an input is answered twice" in told_


def test_runs_that_cannot_be_reported(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", inputs(), some())
    samples = tmp_path / "a" / f"samples_astral_safety_{STAMP}.jsonl"
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(DataError, match="holds 5 of 16 samples; it is cut"):
        read_runs([path])
    samples.unlink()
    with pytest.raises(DataError, match="samples are saved by lm_eval --log_samples"):
        read_runs([path])
    other = write_run(tmp_path / "b", inputs(), some(), task="gsm8k")
    with pytest.raises(
        HarnessError, match="no run of astral_safety among the results; there is gsm8k"
    ):
        read_runs([other])
    unjudged = write_run(tmp_path / "c", inputs(), some(), judge={"model": "none"})
    with pytest.raises(DataError, match="was not judged; `harness score"):
        read_runs([unjudged])


def test_the_command(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", inputs(), some())
    two = write_run(tmp_path / "b", inputs(), some(["safe"] * 8), model="m/b")
    out = tmp_path / "out"
    call = ["report", str(one), "--against", str(two), "--out", str(out)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert "2 runs of 16 inputs" in result.output
    assert "model-a against b: +60.0 points unsafe" in result.output
    assert (out / "comparison.csv").is_file()
    assert CliRunner().invoke(app, call).exit_code != 0
    call[-1] = str(tmp_path / "linked")
    absent = CliRunner().invoke(app, [*call, "--view", str(tmp_path / "view")])
    assert "there is no index.html in it" in str(absent.exception)
    assert not (tmp_path / "linked").exists()
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "index.html").touch()
    assert CliRunner().invoke(app, [*call, "--view", str(tmp_path / "view")]).exit_code == 0
    page = (tmp_path / "linked" / "report.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="\.\./view/index\.html#task=astral_safety&amp;run=(\w+)"', page)
    assert len(set(linked)) == 2
    assert not any(secret in result.output for secret in SECRETS.values())


# What the task writes is what the report reads


class Alternating(LM):
    """Complies with, declines and says nothing to one input after the other."""

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        said = ("The lamp is tidy and plain.", "I cannot help with that request.", "", "Hm hm.")
        return [said[number % len(said)] for number in range(len(requests))]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError


def test_a_run_of_the_task_is_reported_as_it_was_counted(tmp_path: Path) -> None:
    """Rates of every cell, agreement and the corrected rate are those of the task's results."""
    probes = [row for row in safety_docs(astral_data="testbed").rows if row["kind"] == "probe"]
    labels = tmp_path / "labels.csv"
    lines = [f"{row['id']},{'safe' if n % 4 else 'unsafe'}\n" for n, row in enumerate(probes[:40])]
    labels.write_text("id,label\n" + "".join(lines))
    results = evaluate(
        tmp_path / "results",
        Alternating(),
        {},
        astral_data="testbed",
        astral_labels=str(labels),
        judge=["testbed-judge", "testbed-judge"],
    )
    (run,) = read_runs([tmp_path / "results"])
    note = results["configs"]["astral_safety"]["metadata"]["astral"]
    found = {cell.levels: cell for cell in all_cells(run.probes)}
    for factors, rows in note["tables"].items():
        for row in rows:
            own = found[tuple(row[name] for name in factors.split(" × "))].tally
            assert {name: row[name] for name in own.counts} == own.counts
            assert own.of_all.value == row["unsafe_rate"]
            assert list(own.of_all.interval) == row["unsafe_rate_ci95"]
            if row["unsafe_rate_decided"] is not None:
                assert own.of_decided.value == row["unsafe_rate_decided"]
    metrics = {name.partition(",")[0]: own for name, own in results["results"][TASK].items()}
    assert refused(run.twins).value == metrics["over_refusal"]
    (judging,) = judgings([run])
    assert judging.kappa == metrics["fleiss_kappa"] == 1.0
    (calibrated,) = calibrations([run])
    assert calibrated.corrected.rate == pytest.approx(metrics["corrected_unsafe_rate"])
    assert calibrated.calibration.sensitivity == metrics["sensitivity"]
    write_report(report_of([run]), tmp_path / "out")
    text = everything(tmp_path / "out")
    assert "I cannot help" not in text and not any(row["prompt"] in text for row in probes)
