from __future__ import annotations

import json
from pathlib import Path

import pytest
from seen_runs import DATE, documents, judged, line, run, texts

from harness.errors import HarnessError
from harness.reports.sample_links import address
from harness.view import write_view
from harness.view.folder import is_view

SCORE, FLAGS, FACTOR = 7, 8, 3


def view_of(tmp_path: Path, *runs: Path, show_text: bool = False) -> Path:
    write_view(runs, tmp_path / "view", show_text=show_text)
    return tmp_path / "view"


def test_samples_of_two_runs_stand_in_one_document(tmp_path: Path) -> None:
    one = run(tmp_path / "a", {"quiz": [line(0), line(1, "No.")]}, model="one")
    two = run(tmp_path / "b", {"quiz": [line(1), line(0)]}, model="two")
    made = write_view([one, two], tmp_path / "view")
    assert (made.runs, made.documents, made.samples) == (2, 2, 4)
    first, second = documents(tmp_path / "view")
    assert first[2] == "Question 0?"
    assert [sample[SCORE] for sample in first[4]] == [1.0, 1.0]
    assert [(sample[SCORE], sample[FLAGS]) for sample in second[4]] == [(0.0, 1), (1.0, 0)]


def test_another_row_of_the_same_number_is_another_document(tmp_path: Path) -> None:
    one = run(tmp_path / "a", {"quiz": [line(0)]}, model="one")
    two = run(tmp_path / "b", {"quiz": [line(0, doc_hash="f" * 64)]}, model="two")
    assert len(documents(view_of(tmp_path, one, two))) == 2


def test_factors_of_one_instruction_are_one_document_in_whatever_task(tmp_path: Path) -> None:
    row = {"concept": "the sea", "instruction": "Speak."}
    steered = [judged(i, f"At {i}", {"fluency": 2.0}, doc=row | {"factor": i}) for i in range(3)]
    prompted = judged(
        0, "Sea.", {"fluency": 1.0}, doc=row | {"factor": None, "steering_prompt": "!"}
    )
    made = run(tmp_path / "a", {"steer": steered, "steer_prompt": [prompted]})
    (found,) = documents(view_of(tmp_path, made))
    assert [sample[FACTOR] for sample in found[4]] == [0.0, 1.0, 2.0, None]
    assert [sample[SCORE] for sample in found[4]] == [2.0, 2.0, 2.0, 1.0]


def test_ratings_reasons_and_traces_are_kept(tmp_path: Path) -> None:
    trace = {"layer": 7, "marks": [["A ", "accepted"], ["no", "rejected"], ["b", "written"]]}
    made = run(
        tmp_path, {"steer": [judged(0, "A b", {"fluency": 2.0, "concept": None}, trace=trace)]}
    )
    view = view_of(tmp_path, made)
    (sample,) = texts(view)
    assert sample["ratings"] == {"fluency": 2.0, "concept": None}
    assert sample["reasons"]["fluency"] == ["Because of fluency. Rating: [[2.0]]"]
    assert sample["facts"] == [{"layer": 7}]
    assert sample["drawings"] == [{"kind": "marks", "title": "trace", "pieces": trace["marks"]}]
    assert documents(view)[0][4][0][FLAGS] == 2, "a rating is missing"


def test_figures_of_tokens_are_drawn_and_long_lists_are_told(tmp_path: Path) -> None:
    value = {"tokens": ["a"] * 30, "kl": [0.5] * 30, "other": [1.0] * 40}
    lines = [line(0, metrics=["exact_match"], exact_match=value)]
    (sample,) = texts(view_of(tmp_path, run(tmp_path, {"fidelity": lines})))
    assert sample["drawings"][0]["lines"] == {"kl": [0.5] * 30}
    assert sample["metrics"][0][1]["other"] == "40 values, mean 1"


def test_a_deciding_passage_is_found_in_the_row(tmp_path: Path) -> None:
    row = {"doc": "Before it. The cat  sat on a mat. After.", "claim": "It sat."}
    value = {"label": 1, "margin": -2.0, "deciding_text": "The cat sat\non a mat."}
    made = run(tmp_path, {"check": [line(0, doc=row, exact_match=value)]})
    view = view_of(tmp_path, made)
    (sample,) = texts(view)
    assert [kind for _, kind in sample["drawings"][0]["pieces"]] == ["", "deciding", ""]
    assert sample["drawings"][0]["pieces"][1][0] == "The cat  sat on a mat."
    assert documents(view)[0][4][0][SCORE] == 0.0, "the margin is on the wrong side"


def test_options_are_shown_with_their_likelihoods(tmp_path: Path) -> None:
    arguments = {
        f"gen_args_{i}": {"arg_0": "Q:", "arg_1": f" {word}"} for i, word in enumerate("ab")
    }
    resps = [[["-2.5", "False"]], [["-0.5", "True"]]]
    made = run(tmp_path, {"q": [line(0, arguments=arguments, resps=resps, filtered_resps=resps)]})
    (sample,) = texts(view_of(tmp_path, made))
    assert sample["options"] == [[" a", -2.5], [" b", -0.5]] and sample["prompt"] == "Q:"
    assert "answers" not in sample


@pytest.mark.parametrize(
    ("task", "metadata"), [("astral_safety", {}), ("own", {"sensitive": True})]
)
def test_texts_of_safety_suites_are_not_written(
    task: str, metadata: dict[str, str], tmp_path: Path
) -> None:
    row = {
        "prompt": "SECRET how",
        "category": "slang",
        "snippets": ["SECRET"],
        "instruction": "SECRET",
    }
    sample = judged(
        0, "SECRET answer", {"j": 1.0}, doc=row, target="SECRET it", prompt="SECRET how"
    )
    sample["resps"], sample["n_unscored"] = (
        [["SECRET answer"]],
        {"why": "SECRET it", "kind": "probe"},
    )
    made = run(tmp_path / "a", {task: [sample]}, metadata=metadata)
    written = write_view([made], tmp_path / "view")
    everything = "".join(path.read_text() for path in (tmp_path / "view").rglob("*.*"))
    assert written.hidden == 1 and "SECRET" not in everything and "slang" in everything
    view_of(tmp_path, made, show_text=True)
    assert "SECRET answer" in json.dumps(texts(tmp_path / "view"))


def test_what_is_broken_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [line(0), "{", "[1]", '{"doc_id": "x"}', line(0), line(1, "x" * 60_000)]
    made = write_view([run(tmp_path / "a", {"quiz": lines})], tmp_path / "view")
    assert (made.samples, made.broken, made.repeated, made.cut) == (2, 3, 1, 2)


def test_a_run_with_a_link_in_the_place_of_samples_is_refused_and_told(tmp_path: Path) -> None:
    good = run(tmp_path / "a", {"quiz": [line(0)]})
    bad = run(tmp_path / "b", {"quiz": [line(0)]}, model="another")
    link = tmp_path / "b" / f"samples_quiz_{DATE}.jsonl"
    link.unlink()
    link.symlink_to("/etc/hostname")
    written = write_view([good, bad], tmp_path / "view")
    assert (written.runs, written.samples) == (1, 1) and "is a link" in written.refused[0]


def test_no_samples_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    made = run(tmp_path / "a", {"quiz": []})
    (tmp_path / "a" / f"samples_quiz_{DATE}.jsonl").unlink()
    with pytest.raises(HarnessError, match="--log_samples"):
        write_view([made], tmp_path / "view")
    assert not (tmp_path / "view").exists()


def test_only_its_own_folder_is_replaced(tmp_path: Path) -> None:
    made = run(tmp_path / "a", {"quiz": [line(0)]})
    view = view_of(tmp_path, made)
    (view / "data" / "stale.js").write_text("")
    view_of(tmp_path, made)
    assert is_view(view) and not (view / "data" / "stale.js").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "view"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    with pytest.raises(HarnessError, match="something else"):
        write_view([made], tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]


def test_alike_runs_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    kept = {"method": "steered", "artefact_hash": "aa"}
    for layer in (1, 2):
        args = {"layer": layer, "positions": "all"}
        run(tmp_path / f"{layer}", {"quiz": [line(0)]}, method_args=args, **kept)
    page = (view_of(tmp_path, tmp_path) / "index.html").read_text()
    assert (
        "steered · layer 1" in page
        and "positions all" not in page.split('"tasks"')[0].split(" · ")[1]
    )


def test_an_address_is_percent_encoded() -> None:
    assert address("view", task="a&b", doc="1") == "view/index.html#task=a%26b&doc=1"
    assert address("a b/", run="0f") == "a%20b/index.html#run=0f"
    assert address("view") == "view/index.html"
