"""A real server of vLLM, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

MODEL = "teacher"
_SECONDS = 200  # until it answers, on a busy core
_SETTINGS = {  # small steps cut prompts into chunks; small blocks keep prefixes of short prompts
    "--served-model-name": MODEL,
    "--dtype": "float32",
    "--max-model-len": "512",
    "--max-num-batched-tokens": "64",
    "--max-num-seqs": "48",
    "--block-size": "32",
    "--kv-cache-memory-bytes": str(2**26),
}


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        url: Its address, without a path.
        process: Its first process.
        log: What all of them have written.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, body: Mapping[str, Any], path: str = "/v1/completions") -> requests.Response:
        """Send a request; ``body`` is completed by what every test's request has."""
        usual = {"model": MODEL, "temperature": 0, "max_tokens": 12}
        # Python's JSON has NaN
        content = json.dumps(usual | dict(body))
        headers = {"content-type": "application/json"}
        return requests.post(self.url + path, data=content, headers=headers, timeout=120)

    @property
    def alive(self) -> bool:
        """Whether it answers, and its engine does."""
        healthy = requests.get(f"{self.url}/health", timeout=120).ok
        return healthy and self.ask({"prompt": "a"}).ok


def command(path: str, settings: Mapping[str, Any], port: int, *more: str) -> list[str]:
    """What starts a server with the part ``steering``."""
    config = {"paperharness": {"steering": dict(settings)}}
    options = [text for option in _SETTINGS.items() for text in option]
    return [
        *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", path),
        *("--host", "127.0.0.1", "--port", str(port), "--enforce-eager", *options),
        *("--additional-config", json.dumps(config), *more),
    ]


@contextmanager
def serving(path: str, settings: Mapping[str, Any], log: Path, *more: str) -> Iterator[Server]:
    """Start a server, and end all of its processes.

    Args:
        path: The model.
        settings: Of the part ``steering``.
        log: Takes what it writes.
        *more: Further options of ``vllm serve``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as written:
        process = subprocess.Popen(
            command(path, settings, port, *more),
            stdout=written,
            stderr=subprocess.STDOUT,
            env=os.environ | {"VLLM_NO_USAGE_STATS": "1"},
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(server)
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):  # the engine's own processes
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(server: Server) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        assert server.process.poll() is None, server.log.read_text()[-3000:]
        with suppress(requests.ConnectionError):
            if requests.get(f"{server.url}/health", timeout=5).ok:
                return
        time.sleep(0.3)
    raise AssertionError(f"no answer after {_SECONDS} s: {server.log.read_text()[-3000:]}")
