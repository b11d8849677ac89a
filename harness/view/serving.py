"""A folder of pages on this machine's own address, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.view.folder import is_view

HOST = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files of one folder, no list of a folder, and says nothing of each request."""

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


def check_port(port: int) -> None:
    """See that a port can be served on, before any work is done.

    Raises:
        HarnessError: It cannot.
    """
    _server(port, _Quiet).server_close()


def _server(port: int, handler: Callable[..., _Quiet]) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OSError as cause:
        raise HarnessError(
            f"port {port} cannot be served on ({cause.strerror}); give another with --port"
        ) from cause


def serve(folder: Path, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve pages to this machine alone; returns at Ctrl-C.

    Args:
        folder: What ``write_view`` wrote.
        port: The port; 0 for any that is free.
        on_ready: Called with the address.

    Raises:
        HarnessError: The folder holds no such pages, or the port is taken.
    """
    if not is_view(folder):
        raise HarnessError(f"{folder} holds no pages of samples; write them with harness view")
    with _server(port, partial(_Quiet, directory=str(folder))) as server:
        on_ready(f"http://{HOST}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
