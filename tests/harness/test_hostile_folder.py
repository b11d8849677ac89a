"""A stranger's results folder under every command that reads one.

Nothing in it runs, nothing is sent, nothing is written but under --out, and no terminal obeys it.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from faulty_server import running
from mangling_targets import run_of_testbed

from harness.cli import main

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
FORMULA = '=HYPERLINK("http://127.0.0.1/","x")'
YAML = "task: {task}\nclass: !function evil.Task\ncustom_dataset: !function evil.rows\n"


def plant(folder: Path, file: Path, marker: Path, url: str, secret: Path) -> None:
    """Everything that a sender could think of."""
    code = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("evil.py", "conftest.py", "setup.py", "sitecustomize.py", "judged_task.py"):
        (folder / name).write_text(code)
    (folder / "x.pth").write_text(f"import os; {code}")
    (folder / "results.sh").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (folder / "results.sh").chmod(0o755)
    saved = json.loads(file.read_text())
    judge: dict[str, Any] = {
        "model": "local-chat-completions",
        "model_args": {"base_url": f"{url}/v1", "trust_remote_code": True, "header": {"X": "1"}},
        "store": str(folder.parent / "stored.jsonl"),
        "prompt_hash": "0",
    }
    for task, config in saved["configs"].items():
        (folder / f"{task}.yaml").write_text(YAML.format(task=task))
        config["metadata"] |= {
            "judge": judge,
            "config_source": str(folder / f"{task}.yaml"),
            "include_path": str(folder),
            "writer": judge,
        }
        config["class"] = "!function evil.Task"
        config["process_results"] = "!function evil.rows"
    saved["config"] |= {
        "model_args": {"pretrained": FORMULA + ESCAPES, "trust_remote_code": True},
        "method": f"@SUM(1){ESCAPES}",
    }
    for entry in saved["results"].values():
        entry |= {"alias": ESCAPES, f"{FORMULA}{ESCAPES},none": 0.5}
    file.write_text(json.dumps(saved))
    leading = saved | {"configs": {**saved["configs"], "../../there": {"task": "x"}}}
    leading["results"] = saved["results"] | {"../../there": {"acc,none": 1.0}}
    (folder / "results_2000-01-01T00-00-00.000000.json").write_text(json.dumps(leading))
    (folder / f"results_{ESCAPES}.json").write_text(ESCAPES)
    (folder / "results_link.json").symlink_to(secret)
    (folder / "samples_link_2000-01-01T00-00-00.000000.jsonl").symlink_to(secret)
    os.mkfifo(folder / "results_pipe.json")
    (folder / "results_folder.json").mkdir()


def contents(folder: Path, *but: Path) -> dict[str, bytes | None]:
    """Every file below a folder, but for what lies in some."""
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not any(path == one or one in path.parents for one in but)
    }


def harness(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, words)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_hostile_folder_under_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, secret, out = tmp_path / "it-ran", tmp_path / "secret", tmp_path / "out"
    secret.write_text("private-0123456789\n")
    file = run_of_testbed(tmp_path / "sent")
    folder = file.parent
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    monkeypatch.chdir(folder)
    with running() as server:
        plant(folder, file, marker, server.url, secret)
        cache = tmp_path / "cache"  # of the testbed's judge, whom the user names
        before = contents(tmp_path, out, cache)
        commands: list[tuple[tuple[object, ...], int]] = [
            (("score", file, "--out", out / "a"), 1),
            (("score", file, "--judge", "same", "--out", out / "b"), 1),
            (("score", folder / "results_link.json", "--out", out / "c"), 1),
            (("score", folder / "results_pipe.json", "--out", out / "d"), 1),
            (("score", folder / "results_2000-01-01T00-00-00.000000.json", "--out", out / "e"), 1),
            (("score", file, "--judge", "testbed-judge", "--out", out / "f"), 0),
            (("leaderboard", folder, "--csv", out / "l.csv", "--wide", out / "w.csv"), 0),
            (("leaderboard", folder, "--html", out / "l.html"), 0),
            (("leaderboard", folder, "--strict", "--csv", out / "strict.csv"), 1),
            (("compare", file, out / "f", "--csv", out / "compared.csv"), 1),  # another judge
            (("compare", folder, out / "f", "--csv", out / "unread.csv"), 1),
            (("axbench", "show", folder), 0),
            (("axbench", "show", out / "f"), 0),
            (("axbench", "report", folder, "--out", out / "axbench"), 0),
            (("astral", "report", out / "f", "--out", out / "astral", "--show-text"), 0),
            (("view", folder, "--out", out / "view", "--show-text"), 0),
            (("view", folder / "results_link.json", "--out", out / "view2"), 1),
            (("taid", "report", folder, "--results", folder, "--out", out / "taid.html"), 1),
        ]
        capsys.readouterr()
        for words, expected in commands:
            assert harness(monkeypatch, *words) == expected, words
            said = capsys.readouterr()
            assert not set(said.out + said.err) & set("\x1b\x07\x9b\u202e"), words
            assert "Traceback" not in said.err and "sk-planted" not in said.out + said.err
            assert "private-0123456789" not in said.out + said.err
            if expected:
                assert said.err.splitlines()[-1].startswith("error: ")
        assert server.total == 0
    assert not marker.exists()
    assert contents(tmp_path, out, cache) == before
    assert not (out / "strict.csv").exists()
    for table in out.rglob("*.csv"):
        text = table.read_text(encoding="utf-8")
        assert not set(text) & set("\x1b\x07\x9b\u202e"), table
        for row in csv.reader(text.splitlines()):
            cells = [cell for cell in row if not cell.lstrip("-").replace(".", "").isdigit()]
            assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))], table
