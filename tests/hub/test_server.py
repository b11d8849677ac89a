"""The server answers as the hub does, as far as its own client can tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from once import own_cache

from hub import content
from hub.server import Hub


def test_ranges(hub: Hub) -> None:
    commit = hub.repositories["models", content.STUDENT].commit
    address = f"{hub.address}/{content.STUDENT}/resolve/main/model.safetensors"
    sent = requests.head(address, allow_redirects=False, timeout=5)
    assert sent.status_code == 302
    assert sent.headers["X-Repo-Commit"] == commit
    whole = hub.repositories["models", content.STUDENT].contents["model.safetensors"]
    assert int(sent.headers["X-Linked-Size"]) == len(whole)
    for wanted, held in (("5-9", whole[5:10]), ("100-", whole[100:]), (f"0-{10**9}", whole)):
        part = requests.get(address, headers={"Range": f"bytes={wanted}"}, timeout=5)
        assert part.status_code == 206
        assert part.content == held
    beyond = requests.get(address, headers={"Range": f"bytes={len(whole)}-"}, timeout=5)
    assert beyond.status_code == 416


def test_long_trees_come_in_pages() -> None:
    hub = Hub()
    files = {f"{'abc'[k % 3]}/{k:03d}.txt": b"%d" % k for k in range(170)}
    hub.add("models", "a/b", files)
    try:
        found, address = [], f"{hub.address}/api/models/a/b/tree/main?recursive=True"
        while address:
            page = requests.get(address, timeout=5)
            found += [entry["path"] for entry in page.json() if entry["type"] == "file"]
            address = page.links.get("next", {}).get("url", "")
        assert sorted(found) == sorted(files)
        assert len(hub.asked) > 3
    finally:
        hub.close()


def test_the_store_takes_no_token(hub: Hub) -> None:
    address = f"{hub.address}/{content.STUDENT}/resolve/main/model.safetensors"
    sent = requests.head(address, allow_redirects=False, timeout=5).headers["Location"]
    assert requests.head(sent, timeout=5).status_code == 200
    token = {"Authorization": f"Bearer {content.ACCEPTED}"}
    assert requests.head(sent, headers=token, timeout=5).status_code == 400


CHECK = "--tasks llm_aggrefact_wice --limit 2 --device cpu --output_path out"
ENGINE = "dtype=float32,enforce_eager=True,max_model_len=1024,max_num_seqs=16,block_size=32,"
ENGINE += "kv_cache_memory_bytes=67108864"
COMMANDS = {
    "hf": f"lm_eval run --model hf-fact-checker --model_args pretrained={content.CHECKER} {CHECK}",
    "vllm": f"lm_eval run --model vllm-fact-checker --model_args pretrained={content.TEACHER},"
    f"{ENGINE} {CHECK}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", pytest.param("vllm", marks=pytest.mark.vllm)])
def test_a_command_as_a_user_starts_it(name: str, hub: Hub, tmp_path: Path) -> None:
    """Nothing imported before, nothing prepared."""
    if name == "vllm":
        pytest.importorskip("vllm")
    own = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": content.ACCEPTED,
        "PAPERHARNESS_CACHE": str(own_cache(tmp_path / "cache")),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    code = "import harness._autoload, runpy; runpy.run_module('lm_eval', run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", code, *COMMANDS[name].split()[1:]],
        check=False,
        cwd=tmp_path,
        env=kept | own,
        capture_output=True,
        text=True,
    )
    faults = [line for line in ended.stderr.splitlines() if "rror" in line]
    assert ended.returncode == 0, "\n".join(faults[:20])
    assert content.ACCEPTED not in ended.stdout + ended.stderr
    (saved,) = (tmp_path / "out").rglob("results_*.json")
    model = content.CHECKER if name == "hf" else content.TEACHER
    told = json.loads(saved.read_text())["config"]
    assert told["model_sha"] == hub.repositories["models", model].commit
