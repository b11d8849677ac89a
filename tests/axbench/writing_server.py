"""An OpenAI-compatible server that writes data by a script, and fails as told."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("reef", "wave", "tide")


def write(prompt: str) -> str:
    """What the scripted writer answers; a prompt that it does not know is the target's."""
    mark = hashlib.sha256(prompt.encode()).hexdigest()[:6]
    if prompt.startswith("In which kind of text"):
        return "Genre: code" if "loops" in prompt else "Genre: text"
    if prompt.startswith("Name up to"):
        return f"Words: {', '.join(WORDS)}"
    if prompt.startswith('The word "'):
        word = prompt.split('"')[1]
        return "Sense: none" if word == "reef" else f"Sense: another {word}."
    if prompt.startswith("Concept: "):
        return f"Unrelated: {'no' if 'Word: tide' in prompt else 'yes'}"
    if prompt.startswith("Respond to the instruction"):
        word = re.search(r'Use the word "(\w+)" ', prompt)
        return (
            f"Response: {word[1] if word else ''} we see the green house {mark} near the old door"
        )
    return f"A plain answer {mark}."


class WritingServer:
    """Answers ``/v1/chat/completions``, counts, and fails by a script.

    Args:
        faults: Faults of a prompt's first, second, … request (``429``, ``500``, ``garbage``,
            ``refusal``, ``half``, or words to be answered); after the last all is well.
        delay: Seconds before each answer.
        write: What is answered to a prompt.
    """

    def __init__(
        self,
        faults: Callable[[str], Sequence[str]] = lambda prompt: (),
        delay: float = 0.0,
        write: Callable[[str], str] = write,
    ) -> None:
        self.faults, self.delay, self.write = faults, delay, write
        self.requests: Counter[str] = Counter()
        self.payloads: list[dict[str, Any]] = []
        self.over, self._lock = threading.Event(), threading.Lock()
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
        return self.requests.total()

    def answer(self, prompt: str, fault: str) -> str:
        if fault == "refusal":
            return "I am sorry, I cannot write that."
        if fault and fault != "half" and not fault.isdigit():
            return fault
        text = self.write(prompt)
        return text[: len(text) // 2] if fault == "half" else text

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        payload = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        prompt = payload["messages"][-1]["content"]
        with self._lock:
            script = self.faults(prompt)
            turn = self.requests[prompt]
            self.requests[prompt] += 1
            self.payloads.append(payload)
        fault = script[turn] if turn < len(script) else ""
        self.over.wait(self.delay)
        text = self.answer(prompt, fault)
        reply = {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())},
        }
        body = b"<html>busy</html>" if fault == "garbage" else json.dumps(reply).encode()
        request.send_response(int(fault) if fault.isdigit() else 200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def running(*args: Any, **options: Any) -> Iterator[WritingServer]:
    """The server, in a thread of this process."""
    server = WritingServer(*args, **options)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
