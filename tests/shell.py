"""A shell whose ``harness`` and ``lm_eval`` are forked from a process that has imported all."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import threading
from pathlib import Path

from forking import Forking

_SHIM = """#!{python} -SE
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({socket!r})
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
asked.sendall(json.dumps([words, os.getcwd(), dict(os.environ)]).encode() + b"\\n")
status, out, err = json.loads(asked.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
"""


class Shell:
    """Puts both commands on a path, and answers them.

    Args:
        folder: Where they lie; its own, with a short name.
    """

    def __init__(self, folder: Path) -> None:
        self._forking = Forking(folder)
        self._listening = socket.socket(socket.AF_UNIX)
        place = folder / "s"
        self._listening.bind(str(place))
        self._listening.listen()
        bin_ = folder / "bin"
        bin_.mkdir()
        for name in ("harness", "lm_eval"):
            shim = bin_ / name
            shim.write_text(_SHIM.format(python=sys.executable, socket=str(place)))
            shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
        self.environment = {"PATH": f"{bin_}:{os.environ['PATH']}"}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End both."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        self._forking.close()

    def _serve(self) -> None:
        while True:
            try:
                asked, _ = self._listening.accept()
            except OSError:
                return
            with asked, asked.makefile("rw") as lines:
                words, folder, environment = json.loads(lines.readline())
                ran = self._forking.start(*words, cwd=Path(folder), **environment)
                lines.write(json.dumps([ran.wait(), ran.output, ran.errors]) + "\n")
