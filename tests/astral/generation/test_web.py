"""The web search against a server that speaks Tavily's protocol, and fails as told."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from harness_astral.generation.web import Snippet, as_rows, provider_for, read_snippets, search_all

from harness.asking.store import Store
from harness.errors import DataError, HarnessError

KEY = "tvly-planted-0123456789"
QUERIES = {"a, b": "gnome news", "c": "cloud news"}


class SearchServer:
    """Answers ``POST /search`` as Tavily does; faults are statuses, ``slow`` or ``garbage``."""

    def __init__(self, faults: dict[str, Sequence[str]]) -> None:
        self.faults, self.asked = faults, Counter[str]()
        self.payloads: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.handle(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        payload = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        query, key = payload["query"], request.headers["Authorization"].removeprefix("Bearer ")
        turn = self.asked[query]
        self.asked[query] += 1
        self.payloads.append(payload)
        self.keys.add(key)
        script = self.faults.get(query, ())
        fault = script[turn] if turn < len(script) else ""
        status = int(fault) if fault.isdigit() else 200
        if fault == "slow":
            self.over.wait(2)
        results = [
            {"title": f"{query} {k}", "url": f"https://example.org/{k}?q={query}", "score": 0.5,
             "content": f"Excerpt {k} on  {query}:\n3.5 of 10. " + "x" * 600 * (k == 1)}
            for k in range(0 if fault == "none" else 5)
        ]  # fmt: skip
        reply = {"query": query, "results": results} if status == 200 else {
            "detail": {"error": f"the server says {fault} to {key}"}
        }  # fmt: skip
        body = b"<html>" if fault == "garbage" else json.dumps(reply).encode()
        try:
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass  # a client that has hung up


@contextmanager
def searching(
    monkeypatch: pytest.MonkeyPatch, faults: dict[str, Sequence[str]] | None = None
) -> Iterator[SearchServer]:
    server = SearchServer(faults or {})
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("TAVILY_API_KEY", KEY)
    monkeypatch.setenv("TAVILY_BASE_URL", f"http://127.0.0.1:{server.http.server_port}")
    try:
        yield server
    finally:
        server.over.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def found(store: Path, **changes: Any) -> list[Snippet]:
    given: dict[str, Any] = {"most": 2, "backoff": 0.01, "timeout": 0.5}
    return search_all(QUERIES, "tavily", Store(store), **given | changes)


def test_snippets_of_each_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with searching(monkeypatch) as server:
        snippets = found(tmp_path / "run.jsonl")
        assert found(tmp_path / "run.jsonl") == snippets
    assert server.asked == {"gnome news": 1, "cloud news": 1}, "what was found is not asked again"
    assert server.keys == {KEY} and {own["max_results"] for own in server.payloads} == {2}
    assert [one.category for one in snippets] == ["a, b", "a, b", "c", "c"]
    assert (
        snippets[0].text == "Excerpt 0 on gnome news: 3.5 of 10." and len(snippets[1].text) == 500
    )
    assert len({one.id for one in snippets}) == 4 and snippets[2].provider == "tavily"


def test_faults_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = {"gnome news": ["slow", "500", "garbage"], "cloud news": ["429", "503"]}
    with searching(monkeypatch) as calm:
        expected = found(tmp_path / "calm.jsonl")
    with searching(monkeypatch, faults) as rough:
        assert found(tmp_path / "rough.jsonl") == expected
    assert calm.asked.total() == 2 and rough.asked == {"gnome news": 4, "cloud news": 3}
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("faults", "asked", "says"),
    [
        (["500"] * 9, 4, "failed in 4 tries; HTTPError"),
        (["slow"] * 9, 4, "failed in 4 tries; TimeoutError"),
        (["401"] * 9, 1, "failed in 1 tries; InvalidAPIKeyError"),
        (["403"] * 9, 1, "failed in 1 tries; ForbiddenError"),
        (["none"], 1, "found nothing; give the category other search words"),
    ],
)
def test_a_search_that_fails_in_the_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    faults: list[str],
    asked: int,
    says: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    store = tmp_path / "run.jsonl"
    with searching(monkeypatch, {"cloud news": faults}) as server:
        with pytest.raises(HarnessError, match=says) as told:
            found(store, timeout=0.1)
        assert server.asked["cloud news"] == asked
        assert "'c' ('cloud news')" in str(told.value) and "\n" not in str(told.value)
        assert KEY not in f"{told.value!r} {told.getrepr(style='long')} {caplog.text}"
        server.faults = {}
        assert len(found(store)) == 4 and server.asked["gnome news"] == 1, "a rerun goes on"
    assert KEY not in store.read_text()


def test_which_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    assert provider_for(None) == "ddgs"
    with pytest.raises(HarnessError, match="TAVILY_API_KEY is not set"):
        provider_for("tavily")
    with pytest.raises(HarnessError, match="--web bing: use one of tavily, ddgs"):
        provider_for("bing")
    monkeypatch.setenv("TAVILY_API_KEY", KEY)
    assert provider_for(None) == "tavily" and provider_for("ddgs") == "ddgs"


def test_ddgs_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ddgs
    from ddgs.exceptions import RatelimitException

    calls: list[tuple[str, int]] = []

    class Client:
        def __init__(self, timeout: int) -> None:
            assert timeout == 20

        def text(self, query: str, max_results: int) -> list[dict[str, str]]:
            calls.append((query, max_results))
            if len(calls) == 1:
                raise RatelimitException("slow down")
            return [{"title": "T", "href": "https://example.org", "body": f"On {query}."}]

    monkeypatch.setattr(ddgs, "DDGS", Client)
    snippets = search_all(QUERIES, "ddgs", Store(tmp_path / "run.jsonl"), most=3, backoff=0.01)
    assert calls == [("gnome news", 3), ("gnome news", 3), ("cloud news", 3)]
    assert [one.text for one in snippets] == ["On gnome news.", "On cloud news."]
    assert snippets[0].url == "https://example.org" and snippets[0].provider == "ddgs"


def test_replay(tmp_path: Path) -> None:
    rows = [Snippet(f"{k}", name, "q", "T", "Text.", "u", "ddgs") for k, name in enumerate(QUERIES)]
    file = tmp_path / "snippets.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in as_rows([*rows, rows[0]])))
    assert read_snippets(file, list(QUERIES)) == rows == read_snippets(tmp_path, list(QUERIES))
    assert read_snippets(file, ["c"]) == rows[1:]
    with pytest.raises(DataError, match="has no snippet of the category 'd'"):
        read_snippets(file, ["c", "d"])
    for broken, says in (
        ('{"id": "1"}', "row 1: missing column"),
        (json.dumps(as_rows(rows)[0] | {"text": 3}), "row 1: text is not as in"),
        (json.dumps(as_rows(rows)[0] | {"more": ""}), "row 1: .*more"),
        ("{", "line 1: not valid JSON"),
    ):
        file.write_text(broken + "\n")
        with pytest.raises(DataError, match=says):
            read_snippets(file, ["c"])
    with pytest.raises(DataError, match="no such file"):
        read_snippets(tmp_path / "none.jsonl", ["c"])
