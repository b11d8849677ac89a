"""Samples as lm-eval saved them, one document at a time."""

from __future__ import annotations

from pathlib import Path

import exported_runs as runs
import pytest

from harness.errors import DataError
from harness.export.runs import NOT_SHOWN, Evaluated, read
from harness.export.samples import Sample, samples_of


def task(folder: Path, name: str, **how: bool) -> Evaluated:
    (found,) = (one for one in read([folder], **how).tasks if one.name == name)
    return found


def samples(folder: Path, name: str, **how: bool) -> list[Sample]:
    return list(samples_of(task(folder, name, **how)))


def test_a_choice(tmp_path: Path) -> None:
    right, wrong = samples(runs.save(tmp_path), "even")
    assert (right.prompt, right.choices, right.target) == ("Is 0 even?", (" No", " Yes"), (" Yes",))
    assert (right.output, right.correct, wrong.output, wrong.correct) == (
        " Yes",
        True,
        " No",
        False,
    )
    assert right.scores == (-2.0, -1.0)
    assert right.answers[0].values == {"acc": 1.0}


def test_choices_that_were_also_scored_without_their_prompt(tmp_path: Path) -> None:
    lines = runs.choices()
    for line in lines:
        args = line["arguments"]
        args |= {f"gen_args_{k}": {"arg_0": "", "arg_1": c} for k, c in ((2, " No"), (3, " Yes"))}
        line["resps"] += [[["-9.0", "False"]], [["-0.1", "False"]]]
    runs.write_lines(runs.save(tmp_path), "even", lines)
    assert [(one.output, one.scores) for one in samples(tmp_path, "even")] == [
        (" Yes", (-2.0, -1.0)),
        (" No", (-1.0, -2.0)),
    ]


def test_a_judged_answer(tmp_path: Path) -> None:
    rated, unrated = samples(runs.save(tmp_path), "concepts")
    assert rated.messages == (("system", "Be kind."), ("user", "Tell me 0."))
    assert rated.prompt == "system: Be kind.\n\nuser: Tell me 0."
    assert rated.output == "The sea is wide."
    (answer,) = rated.answers
    assert answer.text == "The sea is wide."
    assert answer.trace == {"method": "diffmean", "factor": 0.5}
    assert (answer.ratings, answer.reasons) == ({"concept": 2.0}, {"concept": ["Rating: 2"]})
    assert answer.values == {
        "score": {"factor": 0.5, "concept": 2.0},
        "worst": {"factor": 0.5, "concept": 2.0},
    }
    assert answer.more == {"outcome": "fine"}
    assert unrated.answers[0].ratings == {"concept": None}


def test_filters_are_brought_together_by_document(tmp_path: Path) -> None:
    found = samples(runs.save(tmp_path), "sums")
    assert [one.number for one in found] == [0, 1]
    read = {(one.filter, one.text, one.values["exact_match"]) for one in found[1].answers}
    assert read == {("strict", "[invalid]", 0.0), ("flexible", "4", 1.0)}


def test_keys_are_struck_from_texts_and_settings(tmp_path: Path) -> None:
    found = task(runs.save(tmp_path), "concepts")
    assert runs.KEY not in repr(found.settings) + repr(list(samples_of(found)))
    assert list(samples_of(found))[1].answers[0].reasons == {"concept": ["no, (hidden)"]}


def test_texts_of_a_sensitive_task_are_for_whom_asks(tmp_path: Path) -> None:
    folder = runs.save(tmp_path, metadata={"sensitive": True})
    for name in runs.TASKS:
        shown = repr(samples(folder, name))
        for text in ("sea", "even?", "Tell me", "Rating", "It is 4", "2 + 2"):
            assert text not in shown
        assert NOT_SHOWN in shown
    (rated, _) = samples(folder, "concepts")
    assert rated.answers[0].values["score"] == {"factor": 0.5, "concept": 2.0}
    assert rated.answers[0].ratings == {"concept": 2.0}
    assert "sea" in repr(samples(folder, "concepts", show_text=True))


def test_an_installed_safety_task_is_sensitive_whatever_its_results_say(tmp_path: Path) -> None:
    folder = runs.save(tmp_path)
    for file in folder.iterdir():
        text = file.read_text().replace('"concepts"', '"astral_safety"')
        file.with_name(file.name.replace("concepts", "astral_safety")).write_text(text)
    found = read([folder])
    assert found.hidden == ("astral_safety",)


def test_a_run_without_samples(tmp_path: Path) -> None:
    found = read([runs.save(tmp_path, samples=False)])
    assert found.without_samples == 3
    assert [list(samples_of(one)) for one in found.tasks] == [[], [], []]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:1], "holds 1 of 2 samples; it is cut or damaged"),
        (lambda lines: [*lines, lines[0]], "line 3: document 0 is there twice"),
        (lambda lines: [{**lines[0], "doc_id": "0"}], "line 1: doc_id is no whole number"),
        (lambda lines: [{**lines[0], "filter": 3}], "line 1: filter is no name"),
        (
            lambda lines: [{**one, "arguments": {"gen_args_0": {}}} for one in lines],
            "line 1 is no sample of lm-eval (IndexError)",
        ),
    ],
)
def test_damaged_samples_are_named(change: object, said: str, tmp_path: Path) -> None:
    runs.write_lines(runs.save(tmp_path), "even", change(runs.choices()))  # type: ignore[operator]
    with pytest.raises(DataError) as error:
        samples(tmp_path, "even")
    assert said in str(error.value)


def test_filters_of_different_documents(tmp_path: Path) -> None:
    lines = runs.filtered()
    lines[2]["doc_id"], lines[3]["doc_id"] = 1, 0
    runs.write_lines(runs.save(tmp_path), "sums", lines)
    with pytest.raises(DataError, match="lines 1, 3 are of different documents"):
        samples(tmp_path, "sums")
