"""A run given secrets wherever an argument can stand: none is in anything it leaves behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from faulty_server import running
from forking import Forking
from judged_tasks import write_tasks

pytestmark = pytest.mark.long

PLANTED = "planted-Zq7vX2"


def test_a_run_leaves_no_secret(
    tmp_path: Path, fresh: Forking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    write_tasks(own)
    env = {
        "OPENAI_API_KEY": PLANTED,
        "LMEVAL_LOG_LEVEL": "DEBUG",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path[1:]]),
    }
    with running() as server:
        judge = {
            "model": "local-chat-completions",
            "model_args": {
                "model": "m",
                "base_url": f"{server.url}?key={PLANTED}",
                "header": {"Authorization": f"Bearer {PLANTED}"},
            },
        }
        metadata = {
            "judge": judge,
            "api_key_2": PLANTED,
            "source": f"s3://me:{PLANTED}@bucket",
            "list": [{"awsSecretAccessKey": PLANTED}],
        }
        line = f"""run --model hf --model_args pretrained=testbed:student,token={PLANTED}
            --tasks polite --include_path {own} --output_path out --log_samples --device cpu"""
        words = [*line.split(), "--metadata", json.dumps(metadata)]
        done = fresh.run("lm_eval", *words, **env)
        assert done.returncode == 0, done.stderr[-2000:]
        assert server.headers[0]["Authorization"] == f"Bearer {PLANTED}"
    for command in (
        ["leaderboard", "out", "--csv", "out/board.csv", "--html", "out/board.html"],
        ["leaderboard", "out", "--wide", "out/wide.csv"],
    ):
        shown = fresh.run("harness", *command, **env)
        assert shown.returncode == 0, shown.stderr
        assert PLANTED not in shown.stdout + shown.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in left} >= {".json", ".jsonl", ".csv", ".html"}
    for path in left:
        assert PLANTED.encode() not in path.read_bytes(), path
    assert PLANTED not in done.stdout + done.stderr
    (results,) = tmp_path.glob("out/**/results_*.json")
    saved = json.loads(results.read_text())
    assert saved["config"]["model_args"] == {"pretrained": "testbed:student", "token": "(hidden)"}
    assert saved["configs"]["polite"]["metadata"]["api_key_2"] == "(hidden)"
