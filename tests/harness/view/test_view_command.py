from __future__ import annotations

import _thread
import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from seen_runs import line, run

from harness.cli.view import view
from harness.errors import HarnessError
from harness.view import serve
from harness.view.serving import HOST


def test_it_says_what_was_written_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "a", {"quiz": [line(0), line(1), "{"], "astral_safety": [line(0)]})
    view([tmp_path], out=tmp_path / "view")
    assert capsys.readouterr().out == (
        f"wrote {tmp_path}/view/index.html\n"
        "3 samples, 3 documents, 2 tasks, 1 run, 1 sample without texts "
        "(safety suites; --show-text shows them), 1 broken line left out\n"
    )


@pytest.mark.parametrize(
    ("results", "out", "serving", "said"),
    [
        (None, None, False, "give results"),
        (None, "view", False, "give results"),
        (["a"], None, False, "--out FOLDER"),
        (["a"], None, True, "holds no pages"),
        (["nowhere"], "view", False, "no such file or folder"),
        (["nowhere"], None, False, "no such file or folder"),
    ],
)
def test_what_is_missing_is_one_line(
    results: list[str] | None, out: str | None, serving: bool, said: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    given = None if results is None else [tmp_path / one for one in results]
    with pytest.raises(HarnessError, match=said):
        view(given, out=None if out is None else tmp_path / out, serve=serving, port=0)


def test_a_file_that_is_cut_between_two_lines_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run(tmp_path / "a", {"quiz": [line(number) for number in range(5)]})
    results = json.loads(file.read_text())
    file.write_text(json.dumps(results | {"n-samples": {"quiz": {"original": 9, "effective": 7}}}))
    view([tmp_path], out=tmp_path / "view")
    told = capsys.readouterr()
    assert told.out.endswith("5 samples, 5 documents, 1 task, 1 run, 2 samples missing\n")
    (warning,) = [line for line in told.err.splitlines() if line.strip()]
    assert warning.startswith("warning: ") and "holds 5 of 7 samples; it is cut" in warning
    page = (tmp_path / "view" / "index.html").read_text()
    assert "2 samples are missing: a file is cut or damaged" in page


def test_a_taken_port_is_told_before_any_work(tmp_path: Path) -> None:
    run(tmp_path / "a", {"quiz": [line(0)]})
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HarnessError, match=f"port {port} cannot be served on"):
            view([tmp_path / "a"], out=tmp_path / "view", serve=True, port=port)
    assert not (tmp_path / "view").exists()


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Shells switch Ctrl-C off for what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_pages_are_served_to_this_machine_until_ctrl_c(tmp_path: Path) -> None:
    run(tmp_path / "a", {"quiz": [line(0)]})
    view([tmp_path], out=tmp_path / "view")
    (tmp_path / "secret").write_text("secret")
    found: dict[str, int] = {}

    def fetch(place: str) -> None:
        for name in ("", "data/texts-0.js", "data/", "../secret", "%2e%2e/secret"):
            try:
                with urlopen(f"{place}{name}") as answer:
                    found[name] = answer.status
            except HTTPError as error:
                with error:
                    found[name] = error.code
        _thread.interrupt_main()

    serve(tmp_path / "view", 0, lambda place: threading.Thread(target=fetch, args=[place]).start())
    assert found == {
        "": 200, "data/texts-0.js": 200, "data/": 404, "../secret": 404, "%2e%2e/secret": 404
    }  # fmt: skip
