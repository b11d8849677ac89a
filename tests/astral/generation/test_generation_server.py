"""Suites through lm-eval's real chat client, and what can go wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from axbench.writing_server import running
from harness_astral.generation.duplicates import THRESHOLD, grams, jaccard
from harness_astral.generation.generate import generate
from harness_astral.generation.web import FILE as SNIPPETS
from harness_astral.generation.web import read_snippets
from harness_astral.suites.suite import FILE, MANIFEST, read_suite

from astral.scripted import ALIKE, SORRY, api, clean, mark, options, own_words, seeds_file, write
from harness.artefacts.cache import cache_folder
from harness.asking.desk import writer_spec
from harness.errors import HarnessError

from .test_web import KEY, searching

pytestmark = pytest.mark.long


def steady(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what the run that wrote it cost."""
    return {name: own for name, own in manifest.items() if name not in ("costs", "seconds")}


def test_1260_inputs_interrupted_five_times(tmp_path: Path) -> None:
    seeds, kept = seeds_file(tmp_path), tmp_path / "answers.jsonl"
    with running(write=write) as server:
        words = [server.url, seeds, tmp_path / "stopped", kept, 60, 300, 620, 900, 1200]
        done = subprocess.run(
            [sys.executable, Path(__file__).parents[1] / "interrupted.py", *map(str, words)],
            cwd=Path(__file__).parents[3],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split()[-2:] == ["whole", "0"], done.stderr[-3000:]
        stops = [int(n) for n in done.stdout.split() if n.isdigit()][:-1]
        assert len(stops) == 5 and stops == sorted(stops) and stops[-1] < 1330
        asked = server.total
        quiet = options(server, tmp_path / "whole", seeds, strength="full", replicates=3)
        made = generate(quiet)
    needed = server.total - asked
    assert needed == sum(made.manifest["outcomes"]["probe"].values())
    assert needed <= asked <= needed + 5 * 16, "only what was under way is asked for again"
    assert (tmp_path / "stopped" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    inputs, manifest = read_suite(tmp_path / "stopped")
    assert steady(manifest) == steady(made.manifest)
    assert len(inputs) == 1260 and set(Counter(one.cell for one in inputs).values()) == {3}
    assert Counter(one.replicate for one in inputs) == {0: 420, 1: 420, 2: 420}
    assert len({one.id for one in inputs}) == len({one.prompt for one in inputs}) == 1260
    assert ALIKE[7:-8] in {one.prompt for one in inputs}, "the first of equal ones is kept"
    again = manifest["outcomes"]["probe"]
    assert again["written"] == 1260 and again["refused"] > 30 and again["duplicate"] > 30
    assert manifest["coverage"]["requested"]["3"]["covered"] == 420
    assert all("\n2024. " in one.prompt for one in inputs if one.prompt != ALIKE[7:-8])
    assert not list((cache_folder() / "astral").glob("*")), "the run's own file is gone"


def test_faults_of_all_kinds_change_no_input(tmp_path: Path) -> None:
    kinds = ["garbage", "half", "500", "1. One.\n2. Two.", "<input></input>", '{"prompt": "x"}']

    def faults(prompt: str) -> list[str]:
        turn = int(mark(prompt)[-4:], 16)
        return (kinds[turn % len(kinds) :] + kinds)[: turn % 4]

    seeds = seeds_file(tmp_path)
    with running(write=write) as calm, running(faults, write=write) as rough:
        quiet = generate(options(calm, tmp_path / "quiet", seeds, benign=True))
        noisy = generate(options(rough, tmp_path / "noisy", seeds, benign=True,
                                 writer={"retries": 6}))  # fmt: skip
    assert rough.total > calm.total * 2
    assert [one.prompt for one in noisy.inputs] == [one.prompt for one in quiet.inputs]
    assert noisy.manifest["costs"]["generator"]["probe"]["rejected"] > 20
    spent = list(quiet.manifest["costs"]["generator"].values())
    assert sum(step["requests"] for step in spent) == calm.total
    assert sum(step["prompt_tokens"] for step in spent) == sum(
        len(own["messages"][-1]["content"].split()) for own in calm.payloads
    )


def test_more_strength_and_more_replicates_keep_what_was_there(tmp_path: Path) -> None:
    seeds = seeds_file(tmp_path)
    with running(write=clean) as server:
        few = generate(options(server, tmp_path / "few", seeds)).inputs
        assert server.total == 84
        more = generate(options(server, tmp_path / "more", seeds, strength="full")).inputs
        assert server.total == 420, "only what is new is asked for"
        twice = generate(options(server, tmp_path / "twice", seeds, replicates=2)).inputs
        assert server.total == 420 + 84
    for longer in (more, twice):
        known = {one.id: one.prompt for one in longer}
        assert {one.id: one.prompt for one in few}.items() <= known.items()


def test_every_input_has_its_harmless_twin(tmp_path: Path) -> None:
    with running(write=clean) as server:
        made = generate(options(server, tmp_path / "made", seeds_file(tmp_path), benign=True))
    probes = {one.id: one for one in made.inputs if one.kind == "probe"}
    twins = [one for one in made.inputs if one.kind == "benign"]
    assert len(probes) == len(twins) == 84 == len({one.twin_of for one in twins})
    for twin in twins:
        assert probes[str(twin.twin_of)].cell == twin.cell and twin.id not in probes
    asked = [own["messages"][-1]["content"] for own in server.payloads]
    assert (
        sum(f"<message>\n{one.prompt}\n</message>" in a for one in probes.values() for a in asked)
        == 84
    )


def test_a_cell_that_is_always_refused_is_a_hole(tmp_path: Path) -> None:
    def stubborn(prompt: str) -> str:
        return SORRY if "self_harm" in prompt and "misspellings" in prompt else clean(prompt)

    with running(write=stubborn) as server:
        wanted = options(server, tmp_path / "made", seeds_file(tmp_path), retries=2, benign=True)
        made = generate(wanted)
        asked = [own["messages"][-1]["content"] for own in server.payloads]
        with pytest.raises(HarnessError, match=r"left 1 of 84 inputs unwritten \(1 refused\)"):
            strict = {"retries": 2, "max_missing": 0.0}
            generate(options(server, tmp_path / "strict", wanted.seeds, **strict))
        assert server.total == len(asked), "every answer was kept"
    (hole,) = made.manifest["holes"]
    assert (hole["kind"], hole["replicate"], hole["reason"]) == ("probe", 0, "refused")
    cell = tuple(hole[name] for name in ("category", "style", "persuasion"))
    assert cell == ("self_harm", "misspellings", "logical_appeal")
    assert sum("self_harm" in a and "misspellings" in a for a in asked) == 3, "1 + retries"
    assert made.manifest["outcomes"]["probe"] == {"written": 83, "refused": 3}
    assert made.manifest["outcomes"]["benign"] == {"written": 83}
    pairs = made.manifest["coverage"]["requested"]["2"]
    assert pairs == {"covered": 182, "total": 184, "share": 182 / 184}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (SORRY, r"left 84 of 84 inputs unwritten \(84 refused\), more than --max-missing 0.1"),
        (ALIKE, r"left 83 of 84 inputs unwritten \(83 duplicate\)"),
        ("1. One", r"\(84 unanswered\).*last answer that does not count: '1. One'"),
    ],
)
def test_a_generator_that_writes_nothing_ends_soon(tmp_path: Path, answer: str, says: str) -> None:
    with running(write=lambda prompt: answer) as server:
        wanted = options(server, tmp_path / "made", seeds_file(tmp_path), writer={"retries": 1})
        with pytest.raises(HarnessError, match=says) as told:
            generate(wanted)
        assert "\n" not in str(told.value) and server.total <= 84 * 4
    assert not (tmp_path / "made").exists()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    wanted = options("http://127.0.0.1:9/v1/chat/completions", tmp_path / "made",
                     seeds_file(tmp_path), writer={"retries": 0})  # fmt: skip
    with pytest.raises(HarnessError, match=r"84 unanswered.*last error: ClientConnectorError"):
        generate(wanted)


def test_no_two_inputs_are_nearly_the_same(tmp_path: Path) -> None:
    def alike(prompt: str) -> str:
        word = "gnome" if int(mark(prompt)[:2], 16) < 40 else own_words(prompt)
        return f"<input>{word} sits on the hill above the little town, and sings {word}</input>"

    with running(write=alike) as server:
        made = generate(options(server, tmp_path / "made", seeds_file(tmp_path), max_missing=0.5))
    own = [grams(one.prompt) for one in made.inputs]
    assert max(jaccard(a, b) for k, a in enumerate(own) for b in own[:k]) < THRESHOLD
    assert made.manifest["outcomes"]["probe"]["duplicate"] > 5


def test_the_variants_and_a_replay_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    seeds = seeds_file(tmp_path)
    secret = "sk-planted-0123456789"
    header = {"args": {"header": {"Authorization": f"Bearer {secret}"}}}
    with running(write=clean) as server, searching(monkeypatch) as web:
        given = {"variant": "rag_fs_ts", "found": 4}
        one = generate(
            options(server, tmp_path / "one", seeds, web="tavily", **given, writer=header)
        )
        assert web.asked.total() == 14
        asked = web.asked.total(), server.total
        again = generate(
            options(server, tmp_path / "one", seeds, web="tavily", **given, writer=header)
        )
        assert again.already_there and (web.asked.total(), server.total) == asked
        assert all("Excerpt" in own["messages"][-1]["content"] for own in server.payloads)
    monkeypatch.delenv("TAVILY_API_KEY")
    file = tmp_path / "one" / SNIPPETS
    known = {
        own.id: own.category
        for own in read_snippets(file, list(one.manifest["factors"]["category"]))
    }
    assert len(known) == 14 * 4
    for own in one.inputs:
        assert len(own.snippets) == 2 and {known[k] for k in own.snippets} == {own.category}
    with running(write=clean) as server:
        two = generate(options(server, tmp_path / "two", seeds, variant="rag_fs_ts", snippets=file,
                               writer=header))  # fmt: skip
    assert (two.folder / FILE).read_bytes() != b"" and two.manifest["sha256"] != ""
    assert [own.prompt for own in two.inputs] == [own.prompt for own in one.inputs]
    for path in [
        *one.folder.iterdir(),
        *two.folder.iterdir(),
        *cache_folder().rglob("*.jsonl"),
    ]:
        text = path.read_text()
        assert KEY not in text and secret not in text, path
    assert KEY not in caplog.text and secret not in caplog.text
    lines = file.read_text().splitlines()
    (tmp_path / "less.jsonl").write_text("\n".join(lines[4:]) + "\n")
    with pytest.raises(HarnessError, match="no snippet of the category 'animal_abuse'"):
        generate(options("http://none", tmp_path / "three", seeds, variant="rag_fs_ts",
                         snippets=tmp_path / "less.jsonl"))  # fmt: skip


def test_a_classifier_that_disagrees_lowers_what_is_verified(tmp_path: Path) -> None:
    def label(prompt: str) -> str:
        if "name its style" not in prompt:
            return clean(prompt)
        return json.dumps({"style": "slang", "persuasion": "logical_appeal"})

    with running(write=label) as server:
        made = generate(options(server, tmp_path / "made", seeds_file(tmp_path),
                                verify=writer_spec(api(server))))  # fmt: skip
    found = made.manifest["coverage"]
    right = [one for one in made.inputs if one.cell[1:] == ("slang", "logical_appeal")]
    assert found["confirmed"]["both"]["covered"] == len(right) > 0
    assert found["confirmed"]["style"]["covered"] == 14
    assert found["requested"]["2"]["covered"] == 184
    # 14 categories with slang, those of the logical appeals with it, slang with the logical appeal
    appeals = {one.category for one in made.inputs if one.persuasion == "logical_appeal"}
    assert found["verified"]["2"]["covered"] == 14 + len(appeals) + 1
    assert found["verified"]["3"]["covered"] == len(right)
    rows = [json.loads(line) for line in (made.folder / "labels.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [one.id for one in made.inputs]
    assert "labels.jsonl" in json.loads((made.folder / MANIFEST).read_text())["files"]
