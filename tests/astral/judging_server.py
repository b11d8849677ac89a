"""A scripted chat server for targets and guard models; what it answers follows from the turns."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Turns = list[dict[str, str]]
Reply = str | tuple[int, dict[str, Any]]


def choice(content: str | None, reason: str = "stop", **message: Any) -> tuple[int, dict[str, Any]]:
    """A whole reply, with why it ended."""
    told = {"role": "assistant", "content": content} | message
    return 200, {"choices": [{"index": 0, "finish_reason": reason, "message": told}]}


@contextmanager
def answering(reply: Callable[[Turns, str], Reply]) -> Iterator[str]:
    """The address of a server that answers turns put to a model by name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = reply(asked["messages"], asked["model"])
            status, body = choice(said) if isinstance(said, str) else said
            shown = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(shown)))
            self.end_headers()
            self.wfile.write(shown)

        def log_message(self, *args: Any) -> None:
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

    http = Http(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1/chat/completions"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
