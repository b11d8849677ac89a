"""One rule of what is secret, no laxer than any there was."""

from __future__ import annotations

import doctest
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness.cli
from harness import secrets
from harness.cli.app import build
from harness.secrets import HIDDEN, public, seal, without_secrets

SECRET = [
    "api_key",
    "apikey",
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "bearer",
    "authorization",
    "auth",
    "auth_token",
    "use_auth_token",
    "credentials",
    "credential",
    "header",
    "headers",
    "cookie",
    "cookies",
    "hf_token",
    "HF_TOKEN",
    "openaiApiKey",
    "api_key_2",
    "aws_access_key_id",
    "X-Api-Key",
    "X-Amz-Signature",
    "sig",
    "sas_token",
    "private_key_pem",
    "jwt",
    "API_KEY2",
]
HARMLESS = [
    "tokenizer",
    "tokenizer_backend",
    "tokenizer_mode",
    "tokenizer_revision",
    "tokenized_requests",
    "author",
    "use_fast_tokenizer",
    "add_bos_token",
    "prefix_token_id",
    "custom_prefix_token_id",
    "think_end_token",
    "keyword",
    "max_tokens",
    "max_num_batched_tokens",
    "bos_token",
    "eos_token",
    "pad_token",
    "max_new_tokens",
    "signal",
    "design",
    "patience",
    "path",
    "model",
]


def test_examples() -> None:
    assert doctest.testmod(secrets).failed == 0


@pytest.mark.parametrize("name", SECRET)
def test_both_sides_hide(name: str) -> None:
    assert secrets.is_secret(name)
    assert public(seal({"deep": {name: "planted"}})) == {"deep": {}}
    assert without_secrets({"deep": [{name: "planted", "a": 1}]}) == {
        "deep": [{name: HIDDEN, "a": 1}]
    }


@pytest.mark.parametrize("name", HARMLESS)
def test_both_sides_show(name: str) -> None:
    assert public(seal({name: "x"})) == {name: "x"} == without_secrets({name: "x"})


PLANTED = "planted-Zq7vX2"
KEYS = (
    "sk-proj-abcdefghij0123456789",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "ghp_abcdefghijklmnopqrstuvwxyz0123",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "q8Zr3LxT0vB6nYk2WmP5sHc7",
)
PLAIN = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "Gemma3ForConditionalGeneration2",
    "TheBloke/Mistral-7B-Instruct-v0.2-GPTQ",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "/tmp/pytest-of-root/pytest-12/test_a_name_that_is_long_0/model",
    "https://huggingface.co/docs/transformers/installation",
    "2026-11-30T10:11:12.123456",
    "the quick brown fox: 12/13",
)


@pytest.mark.parametrize("text", KEYS)
def test_keys_are_known_by_their_looks(text: str) -> None:
    for around in ("{}", "sent {} twice", "key='{}'", '{{"a": "{}"}}'):
        assert secrets.masked(around.format(text)) == around.format(HIDDEN)
    sealed = seal({"foo": [text]})
    assert str(sealed) == "{'foo': [(hidden)]}" and secrets.unseal(sealed) == {"foo": [text]}


@pytest.mark.parametrize("text", PLAIN)
def test_names_paths_and_digests_stay(text: str) -> None:
    assert secrets.masked(text) == text
    assert seal({"foo": text}) == {"foo": text}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me@host/v1", "https://host/v1"),
        ("https://me:pw@host:8000/v1", "https://host:8000/v1"),
        ("https://host/v1?sig=abc", "https://host/v1"),
        ("https://host/v1#token=abc", "https://host/v1"),
        ("cannot reach s3://id:pw@bucket/x.", "cannot reach s3://bucket/x."),
        ("https:/me:pw@host/as/a/path", "https:/host/as/a/path"),
        ("http://[::1", "(not an address)"),
        ("a 'git+ssh://me@host/x' b http://h/?a=b", "a 'git+ssh://host/x' b http://h/"),
    ],
)
def test_addresses_wherever_they_stand(text: str, clean: str) -> None:
    assert secrets.masked(text) == clean
    assert without_secrets([{"deep": text}]) == [{"deep": clean}]


NAMES = st.sampled_from(SECRET) | st.from_regex(
    r"[a-z]{0,5}_?(api_?key|Token|SECRET)_?[0-9]?", fullmatch=True
)
PLANTS = st.builds(lambda name: {name: PLANTED}, NAMES) | st.sampled_from(
    [
        {"base_url": f"https://me:{PLANTED}@host/v1"},
        {"address": f"see https://host/v1?code={PLANTED} and more"},
        {"headers": [{"Authorization": f"Bearer {PLANTED}"}]},
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from(PLAIN)
ARGUMENTS = st.recursive(
    PLANTS,
    lambda inner: (
        st.lists(inner | LEAVES, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(HARMLESS), inner | LEAVES, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(ARGUMENTS)
def test_what_is_planted_is_never_seen(arguments: Any) -> None:
    sealed = seal(arguments)
    assert secrets.unseal(sealed) == arguments
    for shown in (sealed, secrets.public(sealed), without_secrets(arguments)):
        assert PLANTED not in json.dumps(shown, default=str) + repr(shown)
    assert PLANTED not in secrets.struck(f"cannot make a model of {arguments}")
    record = logging.getLogRecordFactory()("a", logging.INFO, "a", 1, "with %s", (arguments,), None)
    assert PLANTED not in record.getMessage()


def test_errors_are_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    seal({"api_key": PLANTED})
    try:
        raise RuntimeError(f"refused: {PLANTED}")
    except RuntimeError as cause:
        logging.getLogger("elsewhere").error("no answer: %s", cause, exc_info=True)
    assert PLANTED not in caplog.text and "refused: (hidden)" in caplog.text


ADDRESS = f"https://me:{PLANTED}@127.0.0.1:9/v1?key={PLANTED}"
JUDGE = json.dumps(
    {
        "model": "local-completions",
        "model_args": {
            "model": "m",
            "base_url": ADDRESS,
            "openaiApiKey": PLANTED,
            "more": [{"token": PLANTED}],
        },
        "retries": 0,
        "backoff": 0,
    }
)
COMMANDS = {
    "plugins": [ADDRESS],
    "doctor": [ADDRESS],
    "demo": ["--out", "made"],
    "export": [ADDRESS, "--to", "csv", "--out", "made"],
    "leaderboard": [ADDRESS],
    "score": [ADDRESS, "--judge", JUDGE],
    "compare": [ADDRESS, ADDRESS],
    "view": [ADDRESS, "--out", "made"],
    "run": [ADDRESS],
    "testbed path": [ADDRESS],
    "testbed export": [f"/dev/null/{ADDRESS}"],
    "astral report": [ADDRESS, "--out", "made", "--suite", ADDRESS],
    "astral show": [ADDRESS],
    "astral coverage": [ADDRESS],
    "astral generate": ["--out", "made", "--generator", JUDGE, "--seeds", "testbed"],
    "axbench train": ["--out", "made", "--model", ADDRESS, "--layer", "1", "--data", ADDRESS],
    "axbench import": ["--from", ADDRESS, "--out", "made"],
    "axbench export": [ADDRESS, "--concept", "1", "--factor", "1", "--out", "made"],
    "axbench inspect": [ADDRESS],
    "axbench generate": ["--concepts", ADDRESS, "--out", "made", "--writer", JUDGE],
    "axbench report": [ADDRESS, "--out", "made"],
    "axbench show": [ADDRESS],
    "factcg score": ["--model", ADDRESS, "a", "b"],
    "factcg generate": ["--out", "made", "--writer", JUDGE, "--source", ADDRESS],
    "factcg train": ["--out", "made", "--model", ADDRESS, "--stage1", ADDRESS],
    "specdecode bench": ["--target", ADDRESS, "--drafters", ADDRESS, "--out", "made"],
    "taid report": [ADDRESS, "--out", "made"],
    "taid objectives": [ADDRESS],
    "taid distill": ["--out", "made", "--student", ADDRESS, "--teacher", ADDRESS],
    "taid capture": ["--out", "made", "--teacher", ADDRESS],
}


def leaves(command: Any, *path: str) -> Iterator[str]:
    for name, below in getattr(command, "commands", {}).items():
        yield from leaves(below, *path, name)
    if not hasattr(command, "commands"):
        yield " ".join(path)


def test_every_command_is_tried() -> None:
    assert sorted(leaves(build())) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if command == "demo":
        (tmp_path / "made").write_text("")  # a folder in a file: it ends before any work
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", *command.split(), *COMMANDS[command]])
    with pytest.raises(SystemExit) as end:
        harness.cli.main()
    shown = "".join(capfd.readouterr())
    assert end.value.code and shown and PLANTED not in shown
    assert not list(tmp_path.glob("made/*"))
