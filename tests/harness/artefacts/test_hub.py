"""Faults of the hub's clients as a user is told them; tests/hub has them from a server."""

from __future__ import annotations

import pytest
from huggingface_hub import constants, errors

from harness.artefacts.hub import commit_of, reason, unopened

NAME = "owner/name"
PAGE = f"https://huggingface.co/datasets/{NAME}"


@pytest.fixture(autouse=True)
def _online_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)


class Answer:
    """What an exception tells of the answer that it is of."""

    def __init__(self, status: int, path: str = "", **headers: str) -> None:
        self.status_code, self.headers = status, headers
        self.url = f"https://huggingface.co/{path}"


class Refused(Exception):
    """An exception of any client of the hub's."""

    def __init__(self, answer: Answer, said: str = "") -> None:
        super().__init__(said)
        self.response = answer


def _wrapped(cause: Exception, *around: Exception) -> Exception:
    """An exception around another, as clients build upon clients."""
    for outer in around:
        try:
            raise outer from cause
        except Exception as made:
            cause = made
    return cause


def _said(error: BaseException) -> str:
    return reason(error, NAME, kind="dataset")


def test_a_fault_is_found_below_what_others_made_of_it() -> None:
    busy = Refused(Answer(429, **{"Retry-After": "60"}), "429 Client Error")
    error = _wrapped(busy, errors.LocalEntryNotFoundError("check your connection"), OSError("?"))
    assert "asked too often from here (429): run again in 60 seconds; with a token" in _said(error)
    later = _said(Refused(Answer(429, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})))
    assert "run again in a few minutes" in later


@pytest.mark.parametrize("status", [500, 502, 504])
def test_the_hub_itself(status: int) -> None:
    assert f"the hub itself fails ({status}): run again later" in _said(Refused(Answer(status)))


def test_the_token_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Refused(Answer(401), "Invalid credentials in Authorization header")
    assert f"there is no {PAGE}, or it is private and no token is set" in _said(refused)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_abc")
    assert "the hub refuses the token in use (401)" in _said(refused)
    assert "hf_abc" not in _said(refused)


def test_the_page_is_that_of_the_repository_that_was_refused() -> None:
    """A model's tokenizer may lie in another repository."""
    other = Refused(Answer(401, "api/models/some/tokenizer/revision/main"))
    said = reason(_wrapped(other, OSError("not a valid model identifier")), NAME)
    assert "there is no https://huggingface.co/some/tokenizer, or" in said


def test_datasets_takes_its_causes_away() -> None:
    missing = type("DatasetNotFoundError", (FileNotFoundError,), {})
    assert f"accept its terms at {PAGE}" in _said(missing("Dataset 'x' is a gated dataset on"))
    assert f"there is no {PAGE}" in _said(missing("Dataset 'x' doesn't exist on the Hub"))
    assert "no such revision" in _said(missing("Revision 'v9' doesn't exist for dataset 'x'"))
    failed = type("DatasetGenerationError", (Exception,), {})("An error occurred")
    assert "of other columns" in _said(_wrapped(ValueError("of other columns"), failed))
    assert "has no rows" in _said(ValueError("BatchSize must be greater than 0, got 0"))


def test_what_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ConnectionRefusedError("[Errno 111] Connection refused")
    assert "the hub cannot be reached ([Errno 111] Connection refused)" in _said(refused)
    cut = type("RemoteProtocolError", (Exception,), {})("peer closed connection")
    assert "the transfer was cut" in _said(cut)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for error in (refused, errors.LocalEntryNotFoundError("no cached snapshot")):
        assert "HF_HUB_OFFLINE is set, and it is not in the cache" in _said(error)


def test_what_is_not_known_keeps_its_own_words_and_no_credentials() -> None:
    told = _said(ValueError("odd\nat https://me:secret@host/x?key=1"))
    assert told == "odd at https://host/x"
    assert len(_said(ValueError("word " * 200))) < 210


def test_a_folders_own_fault(tmp_path) -> None:
    assert unopened(ConnectionError("of no account"), str(tmp_path)) == "of no account"
    assert commit_of(str(tmp_path)) is None
    assert commit_of("nobody/nothing") is None
