"""What clients send to a server of vLLM, checked before the server reads it.

A server lets pass what it does not know, and hands to its engine what an endpoint happens to hand
on: what a client asks of a part could get lost on the way, and the answer would look like any
other. So each JSON body is shown to the parts first (``EnginePart.receive``). What they find wrong
is answered with status 400, streams too; and of a request that asks something of a part, each
request to the engine must say so itself (``EnginePart.admit``), or it ends with status 400 there.
Beam search, for one, makes requests of its own and drops what the client's had besides.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any

from harness.engine.parts import Asked
from harness.engine.seams import need
from harness.errors import HarnessError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_SERVERS = ("vllm.entrypoints.launchers.api_server.entry", "vllm.entrypoints.openai.api_server")
_MIDDLEWARE = "init_entrypoints_middleware"
_ASKED: ContextVar[frozenset[str]] = ContextVar("asked", default=frozenset())
_guarded: list[Asked] = []


def guard(parts: Sequence[Asked]) -> None:
    """Let this process show the parts what it receives, if it is about to become a server.

    Raises:
        HarnessError: This vLLM builds its servers in another way.
    """
    if not any(name in sys.modules for name in _SERVERS):
        return
    home = sys.modules["vllm.entrypoints"]
    need(home, f"launchers.app.{_MIDDLEWARE}")
    if not _guarded:
        app_module = home.launchers.app
        stock = getattr(app_module, _MIDDLEWARE)

        @wraps(stock)
        def with_guard(args: Any, app: Any, *others: Any, **kwargs: Any) -> Any:
            app.add_middleware(Guard, parts=_guarded)  # the innermost: behind the server's keys
            return stock(args, app, *others, **kwargs)

        setattr(app_module, _MIDDLEWARE, with_guard)
    _guarded[:] = parts


def not_handed_on(name: str) -> None:
    """Refuse a request to the engine that lacks what a client has asked of a part.

    Args:
        name: The part's.

    Raises:
        HarnessError: The client's request in whose course this is called has asked it.
    """
    if name in _ASKED.get():
        raise HarnessError(
            "the server does not hand this on to its engine in requests of this kind (such as beam "
            "search), and would answer as if you had not asked for it"
        )


class Guard:
    """Middleware of a server.

    Args:
        app: What it is in front of.
        parts: The engine's.
    """

    def __init__(self, app: App, parts: Sequence[Asked]) -> None:
        self._app, self._parts = app, parts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Hand a request on, or answer it; as ASGI says."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        messages = await _all_of(receive)

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        try:
            asked = self._asked(b"".join(one.get("body", b"") for one in messages))
        except HarnessError as problem:
            await _refuse(send, str(problem))
            return
        token = _ASKED.set(asked)
        try:
            await self._app(scope, again, send)
        finally:
            _ASKED.reset(token)

    def _asked(self, content: bytes) -> frozenset[str]:
        """The parts that something is asked of."""
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):  # the server says so itself, or it is an upload
            return frozenset()
        found = set()
        for one in self._parts:
            try:
                if isinstance(body, dict) and one.part.receive(body, one.settings):
                    found.add(one.name)
            except HarnessError as problem:
                raise HarnessError(f"{one.name}: {problem}") from problem
        return frozenset(found)


async def _all_of(receive: Receive) -> list[Message]:
    """A request's messages up to the end of its body, or to the client's leaving."""
    found = [await receive()]
    while found[-1]["type"] == "http.request" and found[-1].get("more_body"):
        found.append(await receive())
    return found


async def _refuse(send: Send, problem: str) -> None:
    """Answer as the server does where a request is not valid."""
    error = {"message": problem, "type": "BadRequestError", "param": "vllm_xargs", "code": 400}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})
