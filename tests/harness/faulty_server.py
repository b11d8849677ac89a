"""An OpenAI-compatible chat server that fails as told, and counts what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def rate(prompt: str) -> str:
    """A verdict that only this prompt gets: the number it ends with, modulo 3."""
    number = int(prompt.rpartition(" ")[2])
    return f"Item {number} is what it is.\nRating: [[{number % 3}]]"


def _reset(request: BaseHTTPRequestHandler) -> None:
    """Hang up so that the client gets a reset, and no answer."""
    linger = struct.pack("ii", 1, 0)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    request.connection.close()


_BROKEN: dict[str, Callable[[BaseHTTPRequestHandler], object]] = {
    "hang-up": lambda request: request.connection.shutdown(socket.SHUT_RDWR),
    "reset": _reset,
    "headless": lambda request: request.wfile.write(b"HTTP/1.1 200 OK\r\n"),
    "no-http": lambda request: request.wfile.write(b"\x00\x01\x02 what?\r\n\r\n"),
    "chunk": lambda request: request.wfile.write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"
    ),
    "gzip": lambda request: request.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    ),
}


class FaultyServer:
    """Answers ``/v1/chat/completions`` from a script of faults.

    Args:
        faults: Faults of a prompt's first, second, … request; after the last all is well.
        answer: The answer to a prompt when all is well.
        delay: Seconds before each answer.
    """

    def __init__(
        self,
        faults: Callable[[str], Sequence[str]] = lambda prompt: (),
        answer: Callable[[str], str] = rate,
        delay: float = 0.0,
    ) -> None:
        self.faults, self.answer, self.delay = faults, answer, delay
        self.requests: Counter[str] = Counter()
        self.payloads: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that has hung up

        self.http = Http(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1/chat/completions"

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        payload = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        prompt = payload["messages"][-1]["content"]
        with self.lock:
            turn = self.requests[prompt]
            self.requests[prompt] += 1
            self.payloads[prompt].append(payload)
            self.headers.append(dict(request.headers))
        script = self.faults(prompt)
        fault = script[turn] if turn < len(script) else "ok"
        self.over.wait(3.0 if fault == "slow" else self.delay)
        if fault in _BROKEN:
            _BROKEN[fault](request)
            request.close_connection = True
            return
        status, kind, body = self.reply(fault, prompt, request.headers.get("Authorization", ""))
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body) + (100 if fault == "cut" else 0)))
        if fault == "429":
            request.send_header("Retry-After", "1")
        request.end_headers()
        request.wfile.write(body)

    def reply(self, fault: str, prompt: str, echoed: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        if fault.isdigit():
            message = f"the server says {fault} to {echoed}"
            return int(fault), "application/json", json.dumps({"error": message}).encode()
        content: dict[str, Any] = {
            **{"empty": "", "null": None, "unrated": "I like it.", "blank": " \n\t", "odd": 7},
            **{"parts": [{"type": "text"}], "twice": "Rating: [[0]] or Rating: [[2]]"},
            **{"flood": "x" * 200_000, "surrogate": "\ud83d", "refusal": "I cannot rate this."},
        }
        text = content[fault] if fault in content else self.answer(prompt)
        choices = [{"index": 0, "message": {"role": "assistant", "content": text}}]
        odd = {"choiceless": {"choices": []}, "error": {"error": {"message": "busy"}}}
        odd |= {"list": [1], "number": 7, "messageless": {"choices": [{"index": 0}]}}
        body = json.dumps(odd.get(fault, {"choices": choices})).encode()
        if fault == "no-utf8":
            return 200, "application/json", body.replace(b"content", b"content\xff")
        if fault == "deep":
            return 200, "application/json", b"[" * 50_000
        if fault == "garbage":
            return 200, "text/html", b"<html>upstream has a bad day</html>"
        return 200, "application/json", body[: len(body) // 2] if fault in ("half", "cut") else body


@contextmanager
def running(*args: Any, **options: Any) -> Iterator[FaultyServer]:
    """The server, in a thread of this process."""
    server = FaultyServer(*args, **options)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
