"""``harness score``: saved samples, judged in a second pass without the model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from faulty_server import running
from judged_tasks import PoliteTask, evaluate, judge_at

from harness.cli import main
from harness.errors import HarnessError, JudgeError
from harness.judging import rescore as rescoring
from harness.models.responses import Completion


def rescore(path: Path, **options: object) -> Path:
    """With the folder of the task's YAML, which no plugin brings."""
    (folder,) = {file.parent for file in _above(path).rglob("polite.yaml")}
    return rescoring.rescore(path, include_path=[folder], **options)


def _above(path: Path) -> Path:
    """The test's own folder, which its cache stands beside."""
    places = [place.with_name(place.name.removesuffix("-cache")) for place in path.parents[:-1]]
    return next(place for place in (path, *places) if list(place.glob("polite.yaml")))


def results_of(folder: Path) -> Path:
    (file,) = folder.rglob("results_*.json")
    return file


def samples(results: Path, task: str = "polite") -> list[dict]:
    date = results.stem.rpartition("_")[2]
    lines = results.with_name(f"samples_{task}_{date}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run ``harness score …``; its exit status."""
    folder = [str(_above(Path(words[0])))] if Path(words[0]).exists() else []
    words = (*words, *(word for one in folder for word in ("--include-path", one)))
    monkeypatch.setattr(sys, "argv", ["harness", "score", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_run_without_a_judge_is_scored_later_as_if_judged_at_once(tmp_path, monkeypatch):
    model = "lm_eval.models.dummy.DummyLM.generate_until"
    with monkeypatch.context() as patch:
        patch.setattr(model, lambda self, asked: [Completion("lol", {"n": n}) for n in range(6)])
        evaluate(tmp_path, {"judge": "none"}, task="manners")
    before = results_of(tmp_path)
    with running() as server:
        with monkeypatch.context() as patch:
            patch.setattr(model, None)
            after = rescore(before, judge=json.dumps(judge_at(server.url)))
        (tmp_path / "at-once").mkdir()
        at_once = evaluate(tmp_path / "at-once", {"judge": judge_at(server.url)}, task="manners")
    old, new = json.loads(before.read_text()), json.loads(after.read_text())
    assert new["results"] == {**at_once["results"]}
    assert new["groups"] == at_once["groups"]
    assert new["higher_is_better"] == at_once["higher_is_better"]
    note = new["configs"]["polite"]["metadata"]
    assert note["judge"] == at_once["configs"]["polite"]["metadata"]["judge"]
    assert note["scored_from"] == before.name
    stays = set(old) - {"results", "groups", "configs", "higher_is_better"}
    assert {key: old[key] for key in stays} == {key: new[key] for key in stays}
    for key in set(old["configs"]["polite"]) - {"metadata"}:
        assert old["configs"]["polite"][key] == new["configs"]["polite"][key]
    for number, sample in enumerate(samples(after)):
        judgement = json.loads(sample["filtered_resps"][0])
        assert judgement["ratings"]["polite"] == sample["polite"] == number % 3
        assert judgement["trace"] == {"n": number}, "the trace outlives the second pass"
        assert sample["resps"] == [["lol"]]


def test_neither_data_set_nor_model_is_needed(tmp_path, monkeypatch):
    evaluate(tmp_path, {"judge": "none"})
    monkeypatch.setattr("judged_tasks.rows", None)
    with running() as server:
        after = rescore(tmp_path, judge=json.dumps(judge_at(server.url)))
    assert json.loads(after.read_text())["results"]["polite"]["polite,none"] == 1.0


def test_the_same_judge_is_asked_only_what_is_missing(tmp_path):
    flaky = {"on": True}
    hopeless = {f"Is 'lol' polite? Rate item {number}" for number in (1, 4)}
    with running(lambda p: ["500"] * 99 if flaky["on"] and p in hopeless else []) as server:
        evaluate(tmp_path, {"judge": judge_at(server.url, retries=3)})
        before = results_of(tmp_path)
        old = json.loads(before.read_text())
        flaky["on"] = False
        count = server.requests.copy()
        again = judge_at(server.url, retries=3)
        after = rescore(before, judge=json.dumps(again))
        assert server.requests - count == dict.fromkeys(hopeless, 1)
    new = json.loads(after.read_text())
    assert old["results"]["polite"]["n_unscored,none"] == 2
    assert new["results"]["polite"]["n_unscored,none"] == 0
    assert new["results"]["polite"]["polite,none"] == 1.0


def test_new_files_go_where_told_and_other_tasks_come_along(tmp_path):
    evaluate(tmp_path, {"judge": "none"})
    before = results_of(tmp_path)
    saved = json.loads(before.read_text())
    saved["configs"]["other"] = {"task": "other", "metadata": {"version": 1}}
    saved["results"]["other"] = {"alias": "other", "acc,none": 0.5}
    before.write_text(json.dumps(saved))
    date = before.stem.rpartition("_")[2]
    before.with_name(f"samples_other_{date}.jsonl").write_text('{"doc": 1}\n')
    with running() as server:
        after = rescore(before, judge=json.dumps(judge_at(server.url)), out=tmp_path / "new")
    assert after.parent == tmp_path / "new"
    assert samples(after, "other") == [{"doc": 1}]
    assert json.loads(after.read_text())["results"]["other"] == {"alias": "other", "acc,none": 0.5}
    assert not list((tmp_path / "new").glob("*.part"))


def test_secrets_of_the_judge_are_not_written(tmp_path):
    planted = "sk-planted-0123456789"
    evaluate(tmp_path, {"judge": "none"})
    with running() as server:
        judge = judge_at(server.url, model_args={"header": {"Authorization": f"Bearer {planted}"}})
        after = rescore(tmp_path, judge=json.dumps(judge))
        assert server.headers[0]["Authorization"] == f"Bearer {planted}"
    assert planted not in "".join(path.read_text() for path in after.parent.iterdir())
    with pytest.raises(Exception, match=r"arguments that are not saved \(header\)"):
        rescore(after, judge="same")


def test_the_command(tmp_path, monkeypatch, capsys):
    evaluate(tmp_path, {"judge": "none"})
    with running() as server:
        status = command(
            *(monkeypatch, results_of(tmp_path)),
            *("--judge", json.dumps(judge_at(server.url)), "--out", tmp_path / "new"),
        )
    assert status == 0
    (written,) = (tmp_path / "new").glob("results_*.json")
    assert str(written) in capsys.readouterr().out.replace("\n", "")


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    evaluate(tmp_path, {"judge": "none"})
    before = results_of(tmp_path)
    file = before.with_name(before.name.replace("results_", "samples_polite_") + "l")
    whole = file.read_text()

    def error(*words: object) -> str:
        assert command(monkeypatch, *words) == 1
        text = capsys.readouterr().err.strip()
        last = text.splitlines()[-1]
        assert last.startswith("error: ")
        return last

    assert "task 'polite' was not judged before: name a judge with --judge" in error(before)
    assert "neither a model's name nor valid JSON" in error(before, "--judge", '{"model": ')
    assert "unknown key(s) modell" in error(before, "--judge", '{"model": "hf", "modell": 1}')
    assert "no-such-model" in error(before, "--judge", "no-such-model")

    file.write_text(whole[:-30])
    assert f"{file.name}, line 6: not valid JSON" in error(before, "--judge", "hf")
    file.write_text("".join(whole.splitlines(keepends=True)[:4]))
    assert "holds 4 of 6 samples; it is cut or damaged" in error(before, "--judge", "hf")
    file.unlink()
    assert "samples are saved by lm_eval --log_samples" in error(before, "--judge", "hf")

    (tmp_path / "empty").mkdir()
    assert "no results_*.json in this folder" in error(tmp_path / "empty")
    assert "cannot be read as lm-eval's results" in error(tmp_path / "nothing.json")
    shutil.copytree(before.parent, before.parent.parent / "second")
    assert "holds results in several folders; name one" in error(tmp_path)

    saved = json.loads(before.read_text())
    saved["configs"] = {"arc": {"task": "arc", "metadata": {"version": 1}}}
    before.write_text(json.dumps(saved))
    assert "none of its tasks is judged (arc)" in error(before)
    note = {"judge": {"model": "hf", "prompt_hash": "0"}, "config_source": "/gone.yaml"}
    saved["configs"] = {"gone": {"task": "gone", "metadata": note}}
    before.write_text(json.dumps(saved))
    assert "unknown task 'gone': install the plugin that brings it" in error(before)
    before.write_text("[]")
    assert "is not lm-eval's results" in error(before)


def test_a_judge_that_fails_leaves_the_old_files_alone(tmp_path, monkeypatch, capsys):
    evaluate(tmp_path, {"judge": "none"})
    folder = results_of(tmp_path).parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with running(lambda prompt: ["500"] * 999) as server:
        judge = json.dumps(judge_at(server.url, retries=0))
        assert command(monkeypatch, folder, "--judge", judge) == 1
        assert "6 of 6 responses unscored" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert command(monkeypatch, folder, "--judge", judge, "--max-unscored", "1") == 0
    assert len(list(folder.glob("results_*.json"))) == 2


def test_several_filters_are_scored_each(tmp_path, monkeypatch):
    stock = PoliteTask.__init__

    def init(self: PoliteTask, config: dict) -> None:
        pipelines = [
            {"name": name, "filter": [{"function": "take_first"}]} for name in ("one", "two")
        ]
        stock(self, config | {"filter_list": pipelines})

    monkeypatch.setattr(PoliteTask, "__init__", init)
    evaluate(tmp_path, {"judge": "none"})
    with running() as server:
        after = rescore(tmp_path, judge=json.dumps(judge_at(server.url)))
        assert server.total == 12
    polite = json.loads(after.read_text())["results"]["polite"]
    assert polite["polite,one"] == polite["polite,two"] == 1.0


@pytest.mark.parametrize("fault", ["500", "401"])
def test_responses_of_a_run_that_its_judge_lets_down_are_scored_later(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(
        "lm_eval.models.dummy.DummyLM.generate_until",
        lambda self, requests: [Completion("lol", {"factor": n}) for n in range(len(requests))],
    )
    down = {"on": True}
    with running(lambda prompt: [fault] * 999 if down["on"] else []) as server:
        with pytest.raises(JudgeError) as caught:
            evaluate(tmp_path, {"judge": judge_at(server.url)})
        saved = Path(str(caught.value).partition("harness score ")[2].partition("`")[0])
        monkeypatch.setattr("lm_eval.models.dummy.DummyLM.generate_until", None)
        down["on"] = False
        after = rescore(saved, out=tmp_path / "late", judge=json.dumps(judge_at(server.url)))
    new = json.loads(after.read_text())
    assert new["results"]["polite"]["polite,none"] == 1.0
    assert new["n-samples"]["polite"] == {"original": 6, "effective": 6}
    traces = [json.loads(sample["filtered_resps"][0])["trace"] for sample in samples(after)]
    assert traces == [{"factor": n} for n in range(6)]


def test_a_folder_that_cannot_be_written_costs_no_question(tmp_path):
    evaluate(tmp_path, {"judge": "none"})
    (tmp_path / "file").touch()
    with running() as server:
        with pytest.raises(HarnessError, match="file is no folder that can be written to"):
            rescore(
                results_of(tmp_path),
                judge=json.dumps(judge_at(server.url)),
                out=tmp_path / "file" / "out",
            )
        assert server.total == 0


def test_responses_of_a_run_interrupted_while_it_is_judged_are_saved(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with running() as server:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
            patch.setattr("harness.asking.assistant.Assistant.ask", interrupted)
            evaluate(tmp_path, {"judge": judge_at(server.url)})
        saved = Path(
            " ".join(stopped.value.__notes__).partition("harness score ")[2].partition("`")[0]
        )
        after = rescore(saved, out=tmp_path / "late", judge=json.dumps(judge_at(server.url)))
    assert json.loads(after.read_text())["results"]["polite"]["n_unscored,none"] == 0
