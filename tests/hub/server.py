"""A hub on loopback: what ``huggingface_hub`` and ``datasets`` ask of huggingface.co, to read it.

    GET  /api/{models,datasets}/OWNER/NAME[/revision/REV]      what a repository is
    GET  /api/{models,datasets}/OWNER/NAME/tree/REV[/FOLDER]   its files and folders
    POST /api/{models,datasets}/OWNER/NAME/paths-info/REV      some of them
    GET  /api/{models,datasets}/OWNER/NAME/refs                its branches
    HEAD, GET /[datasets/]OWNER/NAME/resolve/REV/FILE          a file, by ranges if wanted
    HEAD, GET /store/SHA256                                    large files, on another host
    HEAD, GET /elsewhere/FILE                                  files of other sites

What it is asked to write is in ``uploads``. Files in the store are redirected to, as those of the
hub are, and asking the store with a token is an error: the token is the hub's alone. Xet, the hub's
other protocol, is not spoken, so that clients take files by HTTP. Every answer to be given may be
put in the place of by a fault.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from hub.repositories import File, Repository
from hub.uploads import Uploads

_API = re.compile(
    r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(/.*)?)?"
)
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_PAGE = 50  # entries of a tree an answer


@dataclass
class Fault:
    """What is answered in the place of the answer.

    Attributes:
        path: A regular expression; requests whose method and path it finds are answered so.
        status: The status; 0 sends a part of the right answer's body and hangs up, -1 hangs up.
        headers: Headers of the answer.
        body: Its body.
        share: The part of a body that is sent before hanging up.
        times: How many requests are answered so; None for all.
    """

    path: str
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    share: float = 0.5
    times: int | None = None


@dataclass(frozen=True)
class Asked:
    """A request, for the log."""

    method: str
    path: str
    token: str | None
    status: int


class Refusal(Exception):
    """An answer that is none of a file: its status, and the hub's code and words for why."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **headers}
        if code:
            self.headers["X-Error-Code"] = code


class Hub:
    """The server.

    Args:
        tokens: Tokens of accounts that there are.

    Attributes:
        repositories: By kind and name.
        elsewhere: Files of other sites, by name.
        asked: Every request, in order.
        uploads: What it was asked to write.
    """

    def __init__(self, *tokens: str) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.elsewhere: dict[str, bytes] = {}
        self.tokens = frozenset(tokens)
        self.asked: list[Asked] = []
        self.uploads = Uploads(self)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._http = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        """For ``HF_ENDPOINT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """The address of the file store: a host of another name."""
        return f"http://localhost:{self.port}/store"

    def add(self, kind: str, name: str, contents: Mapping[str, bytes], **more: Any) -> Repository:
        """Put a repository there, or in the place of the one of that name."""
        made = Repository(kind, name, contents, **more)
        self.repositories[kind, name] = made
        return made

    @contextmanager
    def holding(
        self, kind: str, name: str, contents: Mapping[str, bytes] | None, **more: Any
    ) -> Iterator[None]:
        """A context in which a repository has other files, or is gone."""
        before = self.repositories.pop((kind, name), None)
        if contents is not None:
            self.add(kind, name, contents, **more)
        try:
            yield
        finally:
            self.repositories.pop((kind, name), None)
            if before is not None:
                self.repositories[kind, name] = before

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """A context in which some requests are answered with a fault."""
        with self._lock:
            self._faults += faults
        try:
            yield
        finally:
            with self._lock:
                self._faults = [one for one in self._faults if one not in faults]

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that answers a request, counted; None where the right answer is given."""
        with self._lock:
            for fault in self._faults:
                if fault.times != 0 and re.search(fault.path, f"{method} {path}"):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    # What is asked for

    def repository(self, kind: str, name: str, token: str | None) -> Repository:
        """A repository that an account may know of.

        Raises:
            Refusal: It is not there, or the token is no account's.
        """
        if token is not None and token not in self.tokens:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        found = self.repositories.get((kind, name))
        hidden = found is not None and found.private and token not in (found.readers or ())
        if found is None or hidden:
            status = 404 if token else 401  # the hub tells nobody whether it is private
            raise Refusal(status, "RepoNotFound", "Repository not found")
        return found

    def file(
        self, kind: str, name: str, revision: str, path: str, token: str | None
    ) -> tuple[Repository, File]:
        """A file that an account may read.

        Raises:
            Refusal: It is not there, or the account may not read it.
        """
        found = self.repository(kind, name, token)
        if not found.has_revision(revision):
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if found.readers is not None and token not in found.readers:
            if token is None:
                said = f"Access to {found.name} is restricted. You must have access to it and be "
                raise Refusal(401, "GatedRepo", f"{said}authenticated to access it. Please log in.")
            said = f"Access to {found.name} is restricted and you are not in the authorized list."
            raise Refusal(403, "GatedRepo", said)
        if path not in found.files:
            commit = {"X-Repo-Commit": found.commit}
            raise Refusal(404, "EntryNotFound", "Entry not found", **commit)
        return found, found.files[path]

    def stored(self, sha256: str) -> File:
        """A file of the store.

        Raises:
            Refusal: It is not there.
        """
        if sha256 in self.uploads.stored:
            return File(self.uploads.stored[sha256], apart=False)
        for repository in self.repositories.values():
            for file in repository.files.values():
                if file.apart and file.sha256 == sha256:
                    return file
        raise Refusal(404, "", "no such file in the store")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has hung up is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits until its headers are acknowledged
    server_hub: Hub
    _share: float | None = None

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""

    def _answer(self) -> None:
        hub, path = self.server_hub, unquote(urlsplit(self.path).path)
        self._body = self._read()
        fault = hub.fault(self.command, path)
        if fault is not None and fault.status < 0:
            self._hang_up()
            return
        if fault is not None and fault.status:
            self._send(fault.status, dict(fault.headers), fault.body.encode())
            return
        self._share = None if fault is None else fault.share
        try:
            self._right_answer(path)
        except Refusal as refusal:
            self._send(
                refusal.status, refusal.headers, json.dumps({"error": str(refusal)}).encode()
            )

    def _read(self) -> bytes:
        """The body, of a stated length or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        held = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            held += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return held

    @property
    def _token(self) -> str | None:
        given = self.headers.get("Authorization")
        return given.removeprefix("Bearer ") if given else None

    def _right_answer(self, path: str) -> None:
        hub = self.server_hub
        written = hub.uploads.answer(self.command, path, self._token, self._body)
        if written is not None:
            self._send_json(written)
        elif path.startswith("/store/"):
            if self._token is not None:
                raise Refusal(400, "", "a token was sent to the file store")
            self._send_file(hub.stored(path.removeprefix("/store/")), {})
        elif path.startswith("/elsewhere/"):
            if self._token is not None:
                raise Refusal(400, "", "a token was sent elsewhere")
            content = hub.elsewhere.get(path.removeprefix("/elsewhere/"))
            if content is None:
                raise Refusal(404, "", "404: Not Found")
            self._send_file(File(content, apart=False), {})
        elif found := _API.fullmatch(path):
            self._send_json(self._api(*found.groups()))
        elif found := _FILE.fullmatch(path):
            kind = "datasets" if found[1] else "models"
            repository, file = hub.file(kind, found[2], found[3], found[4], self._token)
            self._send_file(file, {"X-Repo-Commit": repository.commit})
        else:
            raise Refusal(404, "", "Sorry, we can't find the page you are looking for.")

    def _api(self, kind: str, name: str, what: str | None, rest: str | None) -> Any:
        repository = self.server_hub.repository(kind, name, self._token)
        revision, _, folder = (rest or "").lstrip("/").partition("/")
        if what == "refs":
            own = [{"name": b, "ref": f"refs/heads/{b}"} for b in repository.branches]
            branches = [one | {"targetCommit": repository.commit} for one in own]
            return {"branches": branches, "tags": [], "converts": []}
        if what is not None and not repository.has_revision(revision):
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if what in (None, "revision"):
            return repository.info()
        if what == "paths-info":
            wanted = parse_qs(self._body.decode())["paths"]
            return [repository.entry(path) for path in wanted if repository.has(path)]
        asked = parse_qs(urlsplit(self.path).query)
        recursive = asked.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = repository.entries(folder, recursive=recursive)
        if entries is None:
            raise Refusal(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        return self._page(entries, int(asked.get("cursor", ["0"])[0]))

    def _page(self, entries: list[Any], start: int) -> list[Any]:
        """A page of a long answer, with the address of the next."""
        after = start + _PAGE
        if after < len(entries):
            base = re.sub(r"[?&]cursor=\d+", "", self.path)
            mark = "&" if "?" in base else "?"
            self._next = f'<{self.server_hub.address}{base}{mark}cursor={after}>; rel="next"'
        return entries[start:after]

    def _send_json(self, value: Any) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if following := self.__dict__.pop("_next", None):
            headers["Link"] = following
        self._send(200, headers, json.dumps(value).encode())

    def _send_file(self, file: File, headers: dict[str, str]) -> None:
        size = len(file.content)
        headers |= {"ETag": file.etag, "Accept-Ranges": "bytes"}
        if file.apart and "X-Repo-Commit" in headers:
            headers |= {"X-Linked-Size": str(size), "X-Linked-Etag": file.etag}
            headers["Location"] = f"{self.server_hub.store}/{quote(file.sha256)}"
            self._send(302, headers, b"Found. Redirecting to the store")
            return
        headers["Content-Type"] = "application/octet-stream"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            self._send(200, headers, file.content)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        if first > last:
            self._send(416, headers | {"Content-Range": f"bytes */{size}"}, b"")
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._send(206, headers, file.content[first : last + 1])

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        path = urlsplit(self.path).path
        self.server_hub.asked.append(Asked(self.command, path, self._token, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self._share is None or status not in (200, 206):
            self.wfile.write(body)
            return
        self.wfile.write(body[: int(len(body) * self._share)])
        self._hang_up()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
