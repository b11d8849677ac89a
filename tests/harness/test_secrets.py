"""One rule of what is secret, no laxer than any there was."""

from __future__ import annotations

import doctest

import pytest

from harness import secrets
from harness.asking.secrets import public, seal
from harness.reports.values import without_secrets

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
    "model",
]


def test_examples() -> None:
    assert doctest.testmod(secrets).failed == 0


@pytest.mark.parametrize("name", SECRET)
def test_both_sides_hide(name: str) -> None:
    assert secrets.is_secret(name)
    assert public(seal({"deep": {name: "planted"}})) == {"deep": {}}
    assert without_secrets({"deep": [{name: "planted", "a": 1}]}) == {"deep": [{"a": 1}]}


@pytest.mark.parametrize("name", HARMLESS)
def test_both_sides_show(name: str) -> None:
    assert public(seal({name: "x"})) == {name: "x"} == without_secrets({name: "x"})
