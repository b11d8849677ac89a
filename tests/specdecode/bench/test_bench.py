"""``harness specdecode bench``: figures by hand, units that are done once, bad input, the page."""

from __future__ import annotations

import csv
import doctest
import json
import re
import shutil
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from browsing import quiet, texts
from harness_specdecode.bench import bench
from harness_specdecode.bench import options as bench_options
from harness_specdecode.bench.options import Options
from harness_specdecode.couplings.agreement import closed_forms
from harness_specdecode.couplings.noise import Noise
from harness_specdecode.couplings.theory import Costs, expected_rounds
from harness_specdecode.decoding.sampling import Sampling
from harness_specdecode.measuring import along
from harness_specdecode.measuring.along import agreements, given
from harness_specdecode.measuring.comparing import Decoding
from harness_specdecode.measuring.costs import Shape, costs_of, measure
from harness_specdecode.report import MANIFEST, page, table, terminal, write_report
from harness_specdecode.report.table import Result, line_of, median_interval
from rich.console import Console
from transformers import AutoTokenizer

from harness.errors import HarnessError
from harness.testbed import model_path
from specdecode.pairs import random_pair
from specdecode.tiny import decoder, requests, student, tiny

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver import Chrome

pytestmark = pytest.mark.long

ATTACK = '</script><script>window.planted=1</script><img src=x onerror="window.planted=2"><!--'


def options(out: Path, **changed) -> Options:
    given = {
        "target": "testbed:teacher", "drafters": ("testbed:student", "ngram"), "gammas": (2,),
        "schemes": ("gumbel",), "batch_sizes": (2,), "prompts": "testbed", "limit": 2, "tokens": 6,
        "temperature": 1.0, "repeats": 1, "draws": 2, "device": "cpu", "out": out,
    }  # fmt: skip
    return Options(**given | changed)


def read(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


# Figures


@pytest.mark.parametrize("module", [along, bench_options, table, terminal, page])
def test_worked_examples(module):
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_the_interval_of_a_median_by_hand():
    assert median_interval([2.0]) == (2.0, 2.0, 2.0, 0.0)
    assert median_interval([5.0, 1.0, 2.0, 4.0, 3.0]) == (3.0, 1.0, 5.0, 1 - 2 / 32)
    assert median_interval(range(9)) == (4, 1, 7, 1 - 2 * (1 + 9) / 512)


def test_chances_given_the_token_average_to_the_agreement():
    """Σ_x p_x Pr[right | x] is the closed form, for each coupling."""
    p, q = random_pair(40, seed=3)
    q[3:9] = 0
    q /= q.sum()
    (closed,) = closed_forms(p[None], q[None])
    ids = list(range(40))
    rows = along._given(p.expand(40, -1), q.expand(40, -1), ids)
    for name in ("optimal", "gumbel", "minhash"):
        mean = sum(float(p[x]) * rows[x][f"given_{name}"] for x in ids)
        assert mean == pytest.approx(closed[f"agreement_{name}"], abs=1e-12)


def test_agreement_along_answers_is_that_of_both_models():
    """Against the models' own forward pass over the whole text."""
    target = tiny(seed=0)
    other = student(target, size=0.1)
    asked = requests(3)
    answers = [[5, 9, 2, 30], [7], [1, 1, 8]]
    settings = Sampling(temperature=0.7)
    found = agreements(target, other, asked, answers, settings, noise=Noise(0), draws=40, sampled=3)
    assert [len(one) for one in found] == [4, 1, 3]
    assert sum("empirical_gumbel" in position for one in found for position in one) == 3
    for request, tokens, positions in zip(asked, answers, found, strict=True):
        ids = torch.tensor([[*request.prompt, *tokens]])
        first = len(request.prompt) - 1
        p, q = (
            (model(ids).logits[0, first:-1].double() / 0.7).softmax(-1) for model in (target, other)
        )
        for position, closed in zip(positions, closed_forms(p, q), strict=True):
            for name, value in closed.items():
                assert position[name] == pytest.approx(value, abs=1e-9)


def test_greedy_agreement_is_whether_the_best_token_is_the_same():
    target = tiny(seed=0)
    other = student(target, size=0.1)
    asked = requests(2)
    greedy = Sampling()
    found = agreements(
        target, other, asked, [[5, 9, 2], [7, 3]], greedy, noise=Noise(0), draws=9, sampled=9
    )
    flat = [position for one in found for position in one]
    assert {position["agreement_gumbel"] for position in flat} <= {0.0, 1.0}
    assert all(p["agreement_gumbel"] == p["agreement_optimal"] for p in flat)
    assert not any("empirical_gumbel" in position for position in flat)


@pytest.mark.parametrize("scheme", ["gumbel", "leviathan"])
def test_passes_along_answers_are_those_of_the_decoder(scheme):
    """Passes decoded, against those expected given what was written."""
    target = tiny(seed=0)
    other = student(target, size=0.08)
    asked = requests(60, limit=20, longest=8)
    made = decoder(target, "model", other=other, rows=30, gamma=3, scheme=scheme)
    done = dict(made.run(asked))
    answers = [done[k].tokens for k in range(len(asked))]
    found = agreements(
        target, other, asked, answers, Sampling(temperature=1.0), noise=Noise(3), draws=0, sampled=0
    )
    differences = [
        done[k].target_calls
        - expected_rounds([p[given(scheme)] for p in positions], 3, asked[k].limit).calls
        for k, positions in enumerate(found)
    ]
    mean = sum(differences) / len(differences)
    spread = (sum((d - mean) ** 2 for d in differences) / len(differences) ** 2) ** 0.5
    assert abs(mean) < 4 * spread
    assert spread < 0.3  # of about 10 passes


def test_prices_by_hand():
    seconds = {
        "pass:1": 2.0, "pass:4": 3.0, "prefill": 8.0, "draft:d": 0.5, "prefill:d": 2.0,
        "rest:gumbel:0": 0.2, "rest:gumbel:3": 0.4, "rest:gumbel:3:given": 0.6,
    }  # fmt: skip
    shape = Shape(batch_size=2, prompt=9, answer=20)
    assert costs_of(seconds, shape, drafter="d", scheme="gumbel", gamma=3) == Costs(
        draft=0.25, verify=1.5, rest=0.2, plain_rest=0.1, prefill=0.2, draft_prefill=0.05
    )
    ngram = costs_of(seconds, shape, drafter="ngram", scheme="gumbel", gamma=3)
    assert ngram == Costs(verify=1.5, rest=0.3, plain_rest=0.1, prefill=0.2)
    plain = costs_of(seconds, shape, drafter="none", scheme="gumbel", gamma=0)
    assert plain == Costs(verify=1, rest=0.1, plain_rest=0.1, prefill=0.2)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_prices_are_timed_for_all_that_is_asked(temperature):
    target = tiny(seed=0)
    sources = {"d": SimpleNamespace(model=student(target)), "ngram": SimpleNamespace(model=None)}
    model = SimpleNamespace(
        model=target, noise=Noise(0), device=torch.device("cpu"), source=sources.__getitem__
    )
    shape = Shape(batch_size=2, prompt=5, answer=8)
    schemes = ["gumbel", "leviathan", "minhash"]
    found = measure(
        model, list(sources), shape, Sampling(temperature=temperature), schemes=schemes,
        gammas=[1, 3], times=2,
    )  # fmt: skip
    expected = {"pass:1", "pass:2", "pass:4", "prefill", "draft:d", "prefill:d"}
    for scheme in schemes:
        expected |= {f"rest:{scheme}:{end}" for end in ("0", "1", "3", "1:given", "3:given")}
    assert set(found) == expected
    assert all(0 < seconds < 1 for seconds in found.values())


COUNTS = {
    "answers": 2, "tokens": 12, "accepted": 6, "wrong": 2, "proposed": 12, "target_calls": 6,
    "near_ties": 0, "target_passes": 3, "drafter_passes": 6, "identical": 2,
}  # fmt: skip


def test_a_line_by_hand():
    measured = {"speeds": [30.0, 20.0, 24.0], "plain": [10.0, 10.0, 8.0], "counts": COUNTS}
    position = {"agreement_gumbel": 0.5, "given_gumbel": 0.5, "given_optimal": 0.9}
    costs = Costs(draft=0.25, verify=1.5, rest=0.1, plain_rest=0.1)
    way = Decoding(drafter="d", gamma=1, batch_size=4)
    line = line_of(way, measured, [[position] * 3], costs, limit=3, greedy=False)
    assert (line.agreement, line.acceptance_expected, line.acceptance) == (0.5, 0.5, 0.75)
    assert (line.tokens_formula, line.tokens_per_pass) == (1.5, 2.0)
    assert line.tokens_expected == pytest.approx(3 / (1 + 1 + 0.5))
    assert line.speed_up_theorem == pytest.approx(1.2 / 1.25)
    assert line.speed_up_expected == pytest.approx(1.1 / ((0.25 + 1.6) / 1.2))
    assert (line.speed_up, line.speed_up_low, line.speed_up_high) == (3.0, 2.0, 3.0)
    assert (line.coverage, line.tokens_per_second, line.rows_per_pass) == (0.75, 24.0, 2.0)
    looked_up = line_of(replace(way, drafter="ngram", gamma=4), measured, None, costs, limit=9,
                        greedy=True)  # fmt: skip
    assert (looked_up.agreement, looked_up.acceptance, looked_up.scheme) == (None, 0.75, "greedy")
    chain = 0.75 + 0.75**2 + 0.75**3 + 0.75**4
    assert looked_up.tokens_expected == pytest.approx(1 + 12 / 4 / 6 * chain)
    share = 1 - (1 - 12 / 4 / 6) ** 2  # of two rows in a pass, one at least has a draft
    a_round = 4 * 0.25 + 1 + share * 0.5 + 0.1
    assert looked_up.speed_up_expected == pytest.approx(1.1 * looked_up.tokens_expected / a_round)
    plain = line_of(Decoding(), measured, None, Costs(), limit=9, greedy=False)
    assert plain.plain and (plain.gamma, plain.speed_up_expected) == (0, 1.0)


# Runs


def test_a_bench_is_resumed_and_kept(tmp_path, monkeypatch):
    asked = options(tmp_path / "out")
    work, done = bench.measure_cell, []

    def killed(model, way, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(way.name)
        return work(model, way, *rest)

    monkeypatch.setattr(bench, "measure_cell", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.run(asked)
    assert done == ["none b2", "testbed:student γ2 b2"]
    assert [path.name for path in tmp_path.iterdir()] == [".out.units.jsonl"]
    monkeypatch.setattr(
        bench, "measure_cell", lambda m, w, *rest: done.append(w) or work(m, w, *rest)
    )
    result = bench.run(asked)
    assert [way.drafter for way in done[2:]] == ["ngram"]
    assert not (tmp_path / ".out.units.jsonl").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "agreement.csv", "bench.json", "report.html", "table.csv",
    ]  # fmt: skip
    plain, drafted, looked_up = result.lines
    assert plain.identical == drafted.identical == looked_up.identical == 2
    assert plain.tokens_per_pass == 1 < drafted.tokens_per_pass
    assert drafted.tokens == drafted.accepted + drafted.target_calls
    rows = read(tmp_path / "out" / "table.csv")
    assert [row["drafter"] for row in rows] == ["none", "testbed:student", "ngram"]
    positions = read(tmp_path / "out" / "agreement.csv")
    assert len(positions) == plain.tokens
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["machine"]["dtype"] == "float32" and manifest["recipe"]["seed"] == 0
    again = bench.run(asked)
    assert again.present and again.lines == result.lines and len(done) == 3
    with pytest.raises(HarnessError, match=r"another bench \(it differs in: --gammas\)"):
        bench.run(options(tmp_path / "out", gammas=(3,)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gammas": (3, 0)}, "--gammas 0: give at least 1"),
        ({"batch_sizes": (0,)}, "--batch-sizes 0: give at least 1"),
        ({"drafters": ()}, "--drafters is empty: give at least one"),
        ({"drafters": ("none",)}, "plain decoding is measured anyway"),
        ({"schemes": ("gumble",)}, "--schemes gumble: did you mean gumbel?"),
        ({"limit": 0}, "--limit 0: give at least 1"),
        ({"tokens": 1}, "--tokens 1: give at least 2"),
        ({"repeats": 0}, "--repeats 0: give at least 1"),
        ({"draws": 1}, "--draws 1: give 2 or more, or 0"),
        ({"temperature": -1.0}, "--temperature -1.0: give 0 or more"),
        ({"drafters": ("early:9",)}, "early:9: give 1 to 3 layers"),
        ({"drafters": ("no/such",)}, "drafter: no folder 'no/such' is here"),
        ({"drafters": ("testbed:pupil",)}, "testbed: no model 'pupil'"),
        ({"target": "no/such"}, "model no/such cannot be loaded"),
        ({"prompts": "no.jsonl"}, "--prompts no.jsonl: no such file or folder; give hub"),
        ({"device": "quantum"}, "--device quantum: there is none; give cpu, cuda"),
        ({"dtype": "float99"}, "--dtype float99: give auto, float32"),
    ],
)
def test_bad_input_is_one_line(tmp_path, changed, message):
    with pytest.raises(HarnessError, match=re.escape(message)):
        bench.run(options(tmp_path / "out", **changed))
    assert not (tmp_path / "out").exists()


def test_more_bad_input(tmp_path):
    with pytest.raises(HarnessError, match=r"--gammas 1,x: give whole numbers, as in 1,2,5"):
        bench_options.numbers("1,x", "--gammas")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(HarnessError, match="has no rows"):
        bench.run(options(tmp_path / "out", prompts=str(tmp_path / "empty.jsonl")))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(HarnessError, match=r"exists and has no bench\.json"):
        bench.run(options(tmp_path / "full"))
    with pytest.raises(HarnessError, match="no folder that can be written to"):
        bench.run(options(tmp_path / "full" / "a" / "out"))
    other = tmp_path / "other"
    shutil.copytree(model_path("student"), other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["zyx"])
    tokenizer.save_pretrained(other)
    with pytest.raises(HarnessError, match="has another vocabulary than the target"):
        bench.run(options(tmp_path / "out", drafters=(str(other),)))


def test_at_temperature_0_all_schemes_are_one(tmp_path):
    found = options(tmp_path, schemes=("leviathan", "gumbel"), temperature=0.0)
    assert [way.scheme for way in found.decodings(2)] == ["leviathan"] * 3


# The page


def made_up(name: str = "a/drafter", draws: int = 9) -> tuple[dict, Result]:
    """Two drafters, two schemes, two batch sizes, three draft lengths."""
    lines = [
        line_of(
            Decoding(drafter=drafter, gamma=gamma, scheme=scheme, batch_size=size),
            {"speeds": [20.0 + gamma, 22.0], "plain": [10.0, 11.0], "counts": COUNTS},
            [[{f"{kind}_{c}": 0.8 for kind in ("agreement", "given") for c in
               ("gumbel", "optimal")}] * 9] if drafter == name else None,
            Costs(draft=0.2, verify=1.3),
            limit=9,
            greedy=False,
        )
        for size in (1, 8)
        for scheme in ("gumbel", "leviathan")
        for drafter, gammas in (("none", [1]), (name, [1, 2, 5]), ("ngram", [1, 2, 5]))
        for gamma in gammas
    ]  # fmt: skip
    distances = [k / 40 for k in range(40)]
    along = [
        {
            "total_variation": d, "lower_bound": (1 - d) / (1 + d), "agreement_optimal": 1 - d,
            "agreement_gumbel": 1 - 1.2 * d / (1 + d / 2), "agreement_minhash": (1 - d) / (1 + d),
            "empirical_gumbel": 1 - d, "empirical_minhash": 1 - d,
        }
        for d in distances
    ]  # fmt: skip
    seconds = {"pass:1": 0.01, "pass:2": 0.012, f"draft:{name}": 0.002, "rest:gumbel:0": 0.001}
    prices = {str(b): {"batch_size": b, "seconds": seconds} for b in (1, 8)}
    machine = {"hardware": "a CPU", "device": "cpu", "threads": 1, "dtype": "float32",
               "versions": {"torch": "2"}}  # fmt: skip
    facts = {
        "machine": machine, "prices": prices, "chat_template": True,
        "parameters": {"a/target": 9, name: 3},
    }  # fmt: skip
    recipe = {
        "target": "a/target" if name == "a/drafter" else name, "temperature": 1.0, "draws": draws,
        "n_prompts": 2, "prompts": name, "tokens": 9, "seed": 0, "repeats": 2,
    }  # fmt: skip
    return recipe, Result(lines, facts, {name: [along]})


def test_the_page_loads_nothing_and_holds_no_markup_of_others(tmp_path):
    text = write_report(tmp_path / "out", *made_up(ATTACK)).read_text(encoding="utf-8")
    assert "<script" not in text and "<img" not in text and "<!--" not in text
    assert " style=" not in text and text.count("<svg") == 3
    assert not re.findall(r"url\((?!#)|@import", text)
    assert set(re.findall(r"https?://[^\"' )]*", text)) == {"http://www.w3.org/2000/svg"}
    links = re.findall(r"<(?:link|a|iframe|source)\b[^>]*?(?:href|src)=\"([^\"]*)", text)
    assert set(links) == {"data:,", "table.csv", "agreement.csv"}
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))


def test_cells_that_would_be_formulas_are_not(tmp_path):
    recipe, result = made_up("=1+1")
    write_report(tmp_path / "out", recipe, result)
    rows = read(tmp_path / "out" / "table.csv")
    assert {row["drafter"] for row in rows} == {"none", "'=1+1", "ngram"}
    assert len(rows) == len(result.lines)


def test_without_a_drafting_model_there_is_no_agreement_to_draw():
    recipe, result = made_up()
    text = page.render(recipe, Result(result.lines, result.facts, {}))
    assert text.count("<svg") == 2 and "Agreement against distance" not in text


def test_the_table_on_a_terminal():
    lines = made_up("a\x1b[31m")[1].lines
    console = Console(width=80, record=True, file=StringIO())
    console.print(*terminal.tables(lines))
    shown = console.export_text()
    assert "\x1b" not in shown and "a\\x1b[31m" in shown
    assert shown.count("ngram") == 12 and shown.count("2.25, 2.00–2.50") == 8
    assert "…" not in shown and max(map(len, shown.splitlines())) <= 80
    assert terminal.best(lines)[0] == "batch 1: a\\x1b[31m, γ 5, gumbel, 2.25 × (2.00 to 2.50)"
    slower = [replace(line, speed_up_low=0.9) for line in lines]
    assert terminal.best(slower)[1].endswith("no faster than plain decoding for certain")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(browser: Chrome, tmp_path: Path, width: int) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(write_report(tmp_path / "out", *made_up(ATTACK)).as_uri())
    assert browser.execute_script("return window.planted") is None
    assert browser.title == f"Speculative decoding: {ATTACK}"
    assert texts(browser, "td:first-child").count(ATTACK) == 12
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    quiet(browser)
