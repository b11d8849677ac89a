"""What a server's clients send, shown to parts; without a server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, MutableMapping
from types import ModuleType
from typing import Any

import pytest

from harness.engine import guard as guarding
from harness.engine.guard import Guard, guard, not_handed_on
from harness.engine.parts import Asked, Settings
from harness.errors import HarnessError

POST = {"type": "http", "method": "POST"}


class Part:
    """Is asked by the key ``please``; refuses ``no``."""

    def open(self, front: Any, settings: Settings) -> None: ...

    def attach(self, runner: Any, settings: Settings) -> None: ...

    def receive(self, body: Mapping[str, Any], settings: Settings) -> bool:
        if body.get("please") == "no":
            raise HarnessError(f"never, {settings['name']}")
        return "please" in body

    def admit(self, request: Any, settings: Settings) -> bool:
        return "please" in request


PARTS = [Asked("polite", Part(), {"name": "Anna"})]


class App:
    """A server: reads a request whole, and makes one to the engine, in a task of its own."""

    def __init__(self, request: str = "") -> None:
        self.request = request
        self.read = b""
        self.refused = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (message := await receive())["type"] == "http.request":
            self.read += message["body"]
            if not message.get("more_body"):
                break
        await asyncio.create_task(self._engine())

    async def _engine(self) -> None:
        try:
            if not PARTS[0].part.admit(self.request, {}):
                not_handed_on("polite")
        except HarnessError as problem:
            self.refused = str(problem)


def ask(
    app: App, content: bytes, scope: Mapping[str, Any] = POST, chunk: int = 5
) -> list[MutableMapping[str, Any]]:
    """Send a request in chunks; what is sent back."""
    sent: list[MutableMapping[str, Any]] = []
    pieces = [content[k : k + chunk] for k in range(0, len(content), chunk)] or [b""]

    async def receive() -> MutableMapping[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        body = pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Guard(app, PARTS)(dict(scope), receive, send))
    return sent


def test_a_request_is_handed_on_whole() -> None:
    for content in (b'{"prompt": "a long one"}', b"", b"\xff no json", b"[1]", b'{"please"'):
        app = App()
        assert not ask(app, content)
        assert (app.read, app.refused) == (content, "")


def test_what_a_part_refuses_is_answered_with_status_400() -> None:
    app = App()
    start, body = ask(app, b'{"please": "no"}')
    assert start["status"] == 400
    error = json.loads(body["body"])["error"]
    assert error["message"] == "polite: never, Anna"
    assert (error["code"], error["type"]) == (400, "BadRequestError")
    assert app.read == b""


def test_what_is_asked_must_reach_the_engine() -> None:
    lost, kept = App("nothing"), App("please")
    for app in (lost, kept):
        assert not ask(app, b'{"please": 1}')
    assert "does not hand this on" in lost.refused
    assert kept.refused == ""


def test_the_next_request_asks_for_itself() -> None:
    async def both() -> list[str]:
        apps = []
        for content in (b'{"please": 1}', b"{}"):
            app = App("nothing")
            guarded, messages = Guard(app, PARTS), [{"type": "http.request", "body": content}]

            async def receive(messages: Any = messages) -> Any:
                return messages.pop()

            await guarded(dict(POST), receive, receive)
            apps.append(app)
        return [app.refused for app in apps]

    first, second = asyncio.run(both())
    assert first
    assert not second
    not_handed_on("polite")  # nobody asks


@pytest.mark.parametrize("scope", [{"type": "websocket"}, {"type": "http", "method": "GET"}])
def test_other_connections_are_let_through(scope: dict[str, Any]) -> None:
    app = App()
    assert not ask(app, b'{"please": "no"}', scope)


def test_a_client_that_leaves_is_the_servers_to_see() -> None:
    async def leaves() -> Any:
        return {"type": "http.disconnect"}

    asyncio.run(Guard(App(), PARTS)(dict(POST), leaves, leaves))


def test_servers_alone_are_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "_guarded", [])
    for name in guarding._SERVERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    guard(PARTS)
    assert guarding._guarded == []


def test_a_server_is_guarded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind what it puts in front of itself, such as the check of keys."""
    added: list[Any] = []

    class Server:
        def add_middleware(self, kind: Any, **options: Any) -> None:
            added.append((kind, options))

    def stock(args: Any, app: Any) -> None:
        app.add_middleware("keys")

    home, launchers, app = ModuleType("vllm.entrypoints"), ModuleType("l"), ModuleType("app")
    vars(home)["launchers"], vars(launchers)["app"] = launchers, app
    monkeypatch.setitem(sys.modules, "vllm.entrypoints", home)
    monkeypatch.setitem(sys.modules, guarding._SERVERS[0], ModuleType("entry"))
    monkeypatch.setattr(guarding, "_guarded", [])
    vars(app)["init_entrypoints_middleware"] = stock
    guard(PARTS)
    guard(PARTS)
    vars(app)["init_entrypoints_middleware"](None, Server())
    assert added == [(Guard, {"parts": PARTS}), ("keys", {})]
