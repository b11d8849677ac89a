"""Results to the hub: one commit, whole or not at all; each fault is one line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from hub import content
from hub.conftest import Command
from hub.server import Fault, Hub

pytestmark = pytest.mark.long

NAME = "authors/results"
MADE = Path(__file__).parents[1] / "harness" / "export" / "exported_runs.py"


@pytest.fixture(scope="module")
def runs() -> ModuleType:
    """The runs that are exported elsewhere, too."""
    spec = importlib.util.spec_from_file_location("exported_runs", MADE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def saved(runs: ModuleType, tmp_path: Path) -> Path:
    folder: Path = runs.save(tmp_path / "saved")
    lines = runs.choices() * 1
    lines[0]["doc"]["text"] = "long " * 1000  # goes to the store
    runs.write_lines(folder, "even", lines)
    return folder


@pytest.fixture(autouse=True)
def writable(hub: Hub) -> Iterator[None]:
    hub.uploads.writers[content.ACCEPTED] = {"authors"}
    hub.uploads.commits.clear()
    hub.uploads.stored.clear()
    yield
    for kind in ("datasets", "models"):
        hub.repositories.pop((kind, NAME), None)


def line(saved: Path, more: str = "") -> str:
    return f"harness export {saved} --to hub --repo {NAME} {more}".strip()


def files(hub: Hub, kind: str = "datasets") -> dict[str, bytes]:
    return dict(hub.repositories[kind, NAME].contents)


# -- what is there afterwards


def test_a_private_data_set_in_one_commit(run: Command, hub: Hub, saved: Path) -> None:
    done = run(line(saved), token=content.ACCEPTED)
    assert done.status == 0, done.errors
    assert f"uploaded 7 files to {hub.address}/datasets/{NAME} (private), commit " in done.output
    assert hub.repositories["datasets", NAME].private
    (commit,) = hub.uploads.commits
    assert len(commit.paths) == 7
    held = files(hub)
    assert len(hub.uploads.stored) == 1
    card = held["README.md"].decode()
    head = yaml.safe_load(card.split("---")[1])
    assert [one["data_files"] for one in head["configs"]] == ["scores.csv", "leaderboard.csv"]
    assert "| even | acc ↑ | org/model | steered (diffmean) | 0.5 | 0.01 to 0.99 |" in card
    assert not any(b"sk-a1b2" in one for one in held.values())


def test_a_download_is_read_as_the_original(
    run: Command, hub: Hub, saved: Path, tmp_path: Path
) -> None:
    from harness.leaderboard import read_results

    assert run(line(saved), token=content.ACCEPTED).status == 0
    for path, held in files(hub).items():
        (tmp_path / "down" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "down" / path).write_bytes(held)
    first, second = (read_results([room]).rows for room in (saved, tmp_path / "down"))
    assert [(r.task, r.metric, r.value, r.run.variant) for r in first] == [
        (r.task, r.metric, r.value, r.run.variant) for r in second
    ]
    assert len(list((tmp_path / "down").rglob("samples_*.jsonl"))) == 3


def test_again_there_is_nothing_to_do(run: Command, hub: Hub, saved: Path) -> None:
    assert run(line(saved), token=content.ACCEPTED).status == 0
    again = run(line(saved), token=content.ACCEPTED)
    assert again.status == 0, again.errors
    assert f"{NAME} has all of it already: nothing to do" in again.output
    assert len(hub.uploads.commits) == 1


def test_more_results_are_added(
    run: Command, hub: Hub, runs: ModuleType, saved: Path, tmp_path: Path
) -> None:
    assert run(line(saved), token=content.ACCEPTED).status == 0
    hub.repositories["datasets", NAME].contents["own.txt"] = b"mine"  # type: ignore[index]
    runs.save(tmp_path / "saved" / "more", method="reft_r1", names=("sums",))
    assert run(line(saved), token=content.ACCEPTED).status == 0
    held = files(hub)
    assert held["own.txt"] == b"mine"
    assert b"reft_r1" in held["README.md"] and b"diffmean" in held["README.md"]
    assert len(hub.uploads.commits) == 2


def test_a_models_card_keeps_what_was_in_it(run: Command, hub: Hub, saved: Path) -> None:
    index = {
        "name": "a model",
        "results": [
            {
                "task": {"type": "text-generation"},
                "dataset": {"name": "other", "type": "other"},
                "metrics": [{"type": "f1", "value": 0.25, "name": "f1"}],
            }
        ],
    }
    head = yaml.safe_dump({"license": "mit", "model-index": [index]})
    card = f"---\n{head}---\n# My model\n\nIt is fine.\n"
    hub.add("models", NAME, {"README.md": card.encode()})
    more = "--repo-type model --public"
    for _ in range(2):
        done = run(line(saved, more), token=content.ACCEPTED)
        assert done.status == 0, done.errors
    assert len(hub.uploads.commits) == 1
    made = files(hub, "models")["README.md"].decode()
    assert "# My model\n\nIt is fine.\n" in made
    assert made.count("## Headline results") == 1
    head = yaml.safe_load(made.split("---")[1])
    assert head["license"] == "mit"
    found = {
        (one["dataset"]["name"], metric["name"]): metric["value"]
        for one in head["model-index"][0]["results"]
        for metric in one["metrics"]
    }
    assert found[("other", "f1")] == 0.25
    assert found[("even", "acc, steered (diffmean)")] == 0.5
    assert "evaluation/scores.csv" in files(hub, "models")


def test_samples_of_a_safety_suite_stay_here(
    run: Command, hub: Hub, runs: ModuleType, tmp_path: Path
) -> None:
    folder = runs.save(tmp_path / "saved", metadata={"sensitive": True})
    done = run(line(folder), token=content.ACCEPTED)
    assert "are not shown; --show-text writes them" in done.output
    held = files(hub)
    assert not any("samples" in path for path in held)
    assert not any(b"The sea is wide" in one for one in held.values())
    assert run(line(folder, "--show-text"), token=content.ACCEPTED).status == 0
    assert sum("samples" in path for path in files(hub)) == 3


# -- what goes wrong


def test_no_token(run: Command, hub: Hub, saved: Path) -> None:
    error = run(line(saved)).error
    assert "a token is needed: log in with `hf auth login`, or set HF_TOKEN" in error
    assert ("datasets", NAME) not in hub.repositories


def test_a_token_that_may_not_write(run: Command, hub: Hub, saved: Path) -> None:
    error = run(line(saved), token=content.REFUSED).error
    assert f"the hub does not take {NAME}: this token may not write there" in error
    assert "may write to authors" in error


def test_a_token_that_is_no_accounts(run: Command, hub: Hub, saved: Path) -> None:
    error = run(line(saved), token="hf_" + "nobodysToken1234567").error
    assert "it does not know the token" in error


def test_a_public_repository_is_not_taken_for_a_private_one(
    run: Command, hub: Hub, saved: Path
) -> None:
    hub.add("datasets", NAME, {"README.md": b"# Mine\n"})
    error = run(line(saved), token=content.ACCEPTED).error
    assert f"{NAME} is public: say --public if everybody may see these results" in error
    assert files(hub) == {"README.md": b"# Mine\n"}
    assert run(line(saved, "--public"), token=content.ACCEPTED).status == 0
    assert files(hub)["README.md"].decode().count("# Mine") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("POST .*/commit/", 429, {"Retry-After": "7"}), "(429): run again in 7 seconds"),
        (Fault("POST .*/preupload/", 500), "the hub itself fails (500): run again later"),
        (Fault("PUT /store/", 503), "the hub itself fails (503): run again later"),
        (Fault("POST .*/commit/", -1), "run again"),
        (Fault("POST .*objects/batch", 403), "this token may not write there"),
        (Fault("POST /api/repos/create", 500), "the hub itself fails (500): run again later"),
    ],
    ids=["429", "preupload", "store", "hung up", "403", "create"],
)
def test_a_fault_commits_nothing_and_the_next_run_goes_on(
    fault: Fault, said: str, run: Command, hub: Hub, saved: Path
) -> None:
    with hub.failing(fault):
        assert said in run(line(saved), token=content.ACCEPTED).error
    assert hub.uploads.commits == []
    held = hub.repositories.get(("datasets", NAME))
    assert held is None or not held.contents
    sent = len(hub.uploads.stored)
    again = run(line(saved), token=content.ACCEPTED)
    assert again.status == 0, again.errors
    assert len(hub.uploads.commits) == 1
    puts = [one for one in hub.asked if one.method == "PUT" and one.status == 200]
    assert len(hub.uploads.stored) == 1 and (sent == 0 or puts)


def test_what_has_come_to_the_store_is_not_sent_again(run: Command, hub: Hub, saved: Path) -> None:
    with hub.failing(Fault("POST .*/commit/", 500)):
        assert run(line(saved), token=content.ACCEPTED).status == 1
    before = len([one for one in hub.asked if one.method == "PUT"])
    assert run(line(saved), token=content.ACCEPTED).status == 0
    assert len([one for one in hub.asked if one.method == "PUT"]) == before


def test_an_answer_that_was_lost_is_no_second_commit(run: Command, hub: Hub, saved: Path) -> None:
    with hub.failing(Fault("POST .*/commit/", 0)):
        assert "run again" in run(line(saved), token=content.ACCEPTED).error
    again = run(line(saved), token=content.ACCEPTED)
    assert "nothing to do" in again.output
    assert len(hub.uploads.commits) == 1


def test_a_card_that_is_none(run: Command, hub: Hub, saved: Path) -> None:
    hub.add("datasets", NAME, {"README.md": b"---\na: [\n---\n# Mine\n"})
    error = run(line(saved, "--public"), token=content.ACCEPTED).error
    assert f"the README.md of {NAME} cannot be read as a card" in error
    assert hub.uploads.commits == []


def test_a_models_card_is_of_one_model(
    run: Command, hub: Hub, runs: ModuleType, saved: Path
) -> None:
    runs.save(saved / "other", model="org/other")
    error = run(line(saved, "--repo-type model"), token=content.ACCEPTED).error
    assert "these results are of 2 (org/model, org/other): give those of one" in error


def test_damaged_samples_are_not_uploaded(run: Command, hub: Hub, saved: Path) -> None:
    file = next(saved.glob("samples_sums_*"))
    file.write_text(file.read_text() + "{")
    assert "not valid JSON" in run(line(saved), token=content.ACCEPTED).error
    assert hub.uploads.commits == []


def test_a_place_is_said_once(run: Command, saved: Path, tmp_path: Path) -> None:
    both = run(line(saved, f"--out {tmp_path / 'out'}")).error
    neither = run(f"harness export {saved} --to hub").error
    assert both == neither
    assert "--to hub needs either --repo OWNER/NAME, to upload, or --out FOLDER" in both
    wrong = run(f"harness export {saved} --to csv --repo {NAME}").error
    assert "--repo is for --to hub" in wrong
    made = run(f"harness export {saved} --to hub --out out")
    assert json.loads(next((made.folder / "out").rglob("results_*.json")).read_text())
