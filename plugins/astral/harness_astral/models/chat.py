"""Chat models behind an API, with what the provider refused told apart from what the model said.

lm-eval's own chat models drop why an answer has no text, and give up a run at a request that the
provider's policy refuses (HTTP 400). ``astral-chat`` and ``astral-openai-chat`` are the same models
(``local-chat-completions``, ``openai-chat-completions``, with their arguments), whose answers carry
a trace: ``finish_reason`` where it is not ``stop``, and ``refused_by_provider`` with the reason
where

- ``finish_reason`` is ``content_filter`` (what was said until then is not kept);
- the request fails with HTTP 400 or 403 and an error whose code or type is one of ``POLICY``, as
  Azure's ``content_filter`` and OpenAI's ``content_policy_violation`` are.

Every other failure is lm-eval's to retry and to report. A message's ``refusal`` is the model's own,
in words: it is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval.models.openai_completions import LocalChatCompletion, OpenAIChatCompletion

from harness import Completion
from harness.artefacts.reading import loads
from harness.artefacts.writing import whole
from harness_astral.requests import FILTERED, REFUSED_BY_PROVIDER

POLICY = frozenset(
    (
        *("content_filter", "content_policy_violation", "content_filtered"),
        *("responsibleaipolicyviolation", "invalid_prompt", "moderation_blocked"),
    )
)
_STATUSES = (400, 403)
_NAMES = ("code", "type")


def policy_of(status: int, body: str) -> str | None:
    """The code by which a provider says that its policy refuses a request; None for other errors.

    >>> policy_of(400, '{"error": {"code": "content_filter", "message": "…"}}')
    'content_filter'
    >>> policy_of(400, '{"error": {"code": "context_length_exceeded"}}') is None
    True
    """
    if status not in _STATUSES:
        return None
    try:
        told = loads(body)["error"]
        inner = told.get("innererror") or {}
        codes = [str(part.get(name)) for part in (told, inner) for name in _NAMES]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return next((code for code in codes if code.lower() in POLICY), None)


def _refused(code: str) -> dict[str, Any]:
    """A reply in the place of one that was refused; ``_completion`` knows it by its reason."""
    message = {"role": "assistant", "content": None}
    return {"choices": [{"index": 0, "finish_reason": FILTERED, "message": message, "code": code}]}


def _completion(choice: Mapping[str, Any], text: str | None) -> Completion | None:
    """An answer with its trace; None where lm-eval is to fill in its own placeholder."""
    reason = choice.get("finish_reason")
    if reason == FILTERED:
        code = str(choice.get("code", FILTERED))
        return Completion("", {"finish_reason": FILTERED, REFUSED_BY_PROVIDER: code})
    message = choice.get("message") or {}
    said = text or message.get("refusal")
    trace = {} if reason in (None, "stop") else {"finish_reason": reason}
    return Completion(whole(said), trace) if isinstance(said, str) else None


class _Policed:
    """A reply of aiohttp, or what stands in its place."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body, self.ok, self.status = body, True, 200

    def raise_for_status(self) -> None:
        """All is well."""

    async def json(self) -> dict[str, Any]:
        return self._body


class _Request:
    """A request of aiohttp; its policy errors become replies."""

    def __init__(self, request: Any) -> None:
        self._request = request

    async def __aenter__(self) -> Any:
        reply = await self._request.__aenter__()
        if reply.ok:
            return reply
        code = policy_of(reply.status, await reply.text())
        return reply if code is None else _Policed(_refused(code))

    async def __aexit__(self, *error: Any) -> Any:
        return await self._request.__aexit__(*error)


class _Session:
    """A session of aiohttp whose requests are those above."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def post(self, *args: Any, **options: Any) -> _Request:
        return _Request(self._session.post(*args, **options))


class _Told:
    """What is added to lm-eval's chat models."""

    def parse_generations(self, outputs: Any, **options: Any) -> list[Any]:
        """The answers, with their traces."""
        found: list[Any] = []
        for reply in outputs if isinstance(outputs, list) else [outputs]:
            texts = super().parse_generations(outputs=reply, **options)  # type: ignore[misc]
            choices = reply.get("choices") if isinstance(reply, Mapping) else None
            by_index = {choice.get("index", 0): choice for choice in choices or ()}
            found += [
                _completion(by_index.get(place, {}), text) for place, text in enumerate(texts)
            ]
        return found

    def model_call(self, *args: Any, **options: Any) -> Any:
        """One request; a policy's refusal is a reply."""
        import requests

        try:
            return super().model_call(*args, **options)  # type: ignore[misc]
        except requests.HTTPError as error:
            reply = error.response
            code = None if reply is None else policy_of(reply.status_code, reply.text)
            if code is None:
                raise
            return _refused(code)

    async def amodel_call(self, session: Any, *args: Any, **options: Any) -> Any:
        """One of several requests at the same time."""
        return await super().amodel_call(_Session(session), *args, **options)  # type: ignore[misc]


class ToldChat(_Told, LocalChatCompletion):  # type: ignore[misc]  # lm-eval is untyped
    """``astral-chat``: ``local-chat-completions`` that tells what the provider refused."""


class ToldOpenAIChat(_Told, OpenAIChatCompletion):  # type: ignore[misc]  # lm-eval is untyped
    """``astral-openai-chat``: ``openai-chat-completions`` likewise."""
