"""``steered-completions``: a server of vLLM that steers (``engine.serving``), as lm-eval's model.

    lm_eval --model steered-completions --model_args
        model=NAME,tokenizer=M,base_url=http://HOST:PORT/v1/completions,steering=DIR,method=…

It is lm-eval's ``local-completions``, whose requests say how each document is steered;
``steered-chat-completions`` is ``local-chat-completions``. The dictionary is read here for what a
concept and a factor mean, and every request names its SHA-256 and the method: a server that steers
with another refuses it. A server that does not steer at all would let pass what it does not know;
so before anything else it is asked for something that one that steers refuses.

A sampled answer is drawn by its request's own seed where the server takes seeds; on a CPU it does
not. With ``batch_size`` above 1, a request has prompts of one steering alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import requests as http
from aiohttp import ClientError
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

from harness import HarnessError, Prompt
from harness.artefacts.reading import loads
from harness.asking.special import TextEncoder
from harness.errors import one_line
from harness.models.prompt_tokens import PromptsInTokens
from harness.models.requests import in_groups, notes_of
from harness.secrets import bare_address, masked
from harness.testbed import resolve
from harness_axbench.engine.edits import KEY
from harness_axbench.engine.serving import NO_SEED, XARGS
from harness_axbench.models.vllm_settings import check_method
from harness_axbench.models.wrapping import SteeringPart
from harness_axbench.requests import STEERING
from harness_axbench.steering.fit import check_reading
from harness_axbench.steering.positions import Positions, check_scored
from harness_axbench.steering.steering import Steering

_NOBODY = -1  # a concept's id that no dictionary has
_SECONDS = 60


class ServedSteering(SteeringPart):
    """Put in front of ``local-completions`` or a subclass of it; arguments are both classes'.

    Args:
        model: What the server calls the model; ``pretrained`` is the same.
        base_url: The endpoint.
        tokenizer: Model id or path, or ``testbed:NAME``; by default the model's.

    Raises:
        HarnessError: As ``SteeringPart``; or the server cannot be reached, does not steer, or
            steers with another dictionary or method.
    """

    cannot_load = "the server of {} cannot be asked"
    no_matter = frozenset(
        {"auth_token", "batch_size", "ca_cert_path", "header", "max_retries", "model"}
        | {"num_concurrent", "timeout", "verify_certificate"}
    )
    backend: ClassVar[str | None] = None
    base_url: str
    model: str
    header: Mapping[str, str]
    verify_certificate: bool
    _seed: int
    _batch_size: int

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        model: str | None = None,
        base_url: str | None = None,
        tokenizer: str | None = None,
        **kwargs: Any,
    ) -> None:
        name = model or pretrained
        if not name or not base_url:
            raise HarnessError(
                f"{self.model_name} needs model=NAME,base_url=http://HOST:PORT/v1/…, a server "
                "started by vllm serve with paperharness installed"
            )
        if (backend := kwargs.setdefault("tokenizer_backend", self.backend)) != self.backend:
            raise HarnessError(
                f"{self.model_name} runs with tokenizer_backend={self.backend}, not {backend}"
            )
        if tokenizer is not None:
            kwargs["tokenizer"] = resolve(tokenizer)
        super().__init__(name, base_url=base_url, **kwargs)

    def checked(self, pretrained: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        check_method(self.plan, self.model_name)
        return super().checked(pretrained, kwargs)

    def check_fit(self, pretrained: Any) -> None:
        """Its weights are the server's to look at."""
        if self.tokenizer is not None:
            check_reading(self.plan, self.tokenizer, self.add_bos_token)

    def attach(self) -> None:
        super().attach()
        self._positions = Positions.parse(self.plan.positions)
        self._check_server()

    def seed(self) -> int:
        return self._seed

    # The server

    @property
    def _place(self) -> str:
        return bare_address(self.base_url)

    def _check_server(self) -> None:
        """Refuse a server that would not steer as is meant; look whether it takes seeds."""
        answer = self._answer({XARGS: self._meant() | {"concept": _NOBODY, "factor": 0}})
        if answer.ok:
            raise HarnessError(
                f"{self._place} does not steer: install paperharness there and start it with "
                f'--additional-config \'{{"paperharness": {{"{KEY}": {{"dictionary": "DIR", '
                f'"method": "{self.plan.method}"}}}}}}\''
            )
        if not _message_of(answer).startswith(f"{KEY}: no concept {_NOBODY};"):
            raise self._told(answer)
        answer = self._answer({"seed": 1, "temperature": 1})
        self._takes_seeds = answer.ok
        if not answer.ok and NO_SEED not in _message_of(answer):
            raise self._told(answer)

    def _told(self, answer: http.Response) -> HarnessError:
        return HarnessError(f"{self._place} answers {answer.status_code}: {_message_of(answer)}")

    def _answer(self, what: Mapping[str, Any]) -> http.Response:
        try:
            return http.post(
                self.base_url,
                json={"model": self.model, "max_tokens": 1, **self.shortest(), **what},
                headers=self.header,
                verify=self.verify_certificate,
                timeout=_SECONDS,
            )
        except (http.RequestException, OSError) as cause:
            said = masked(one_line(cause, 400))
            raise HarnessError(f"{self._place} cannot be reached: {said}") from cause

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (http.RequestException, ClientError, OSError) as cause:
            said = masked(one_line(cause, 400))
            raise HarnessError(f"{self._place}: {said}; the server's words are above") from cause

    # What it is asked

    def shortest(self) -> dict[str, Any]:
        """A prompt, as the endpoint takes it."""
        raise NotImplementedError

    def prompts_of(self, messages: Any) -> list[Prompt | None]:
        """The prompts of one request."""
        raise NotImplementedError

    def write(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        stock = super().write
        return self._unmixed(requests, lambda own: stock(own, disable_tqdm))

    def score(self, kind: str, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        if any(notes_of(request.args[0]).get(STEERING) for request in requests):
            check_scored(self._positions)
        stock = super().score
        return self._unmixed(requests, lambda own: stock(kind, own, disable_tqdm))

    def _unmixed(self, requests: list[Any], ask: Any) -> list[Any]:
        with self._asking():
            if self._batch_size == 1:
                found: list[Any] = ask(requests)
                return found
            return in_groups(requests, ask)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        self.refuse_detection(requests)
        return super().loglikelihood(requests, disable_tqdm)

    def _create_payload(self, messages: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = super()._create_payload(messages, *args, **kwargs)
        prompts = [one for one in self.prompts_of(messages) if one is not None]
        steered = {notes_of(prompt).get(STEERING) for prompt in prompts}
        if len(prompts) != len(self.prompts_of(messages)) or len(steered) != 1:
            raise HarnessError(f"{self.model_name}: a request has not one steering")
        (steering,) = steered
        if not self._takes_seeds:
            del found["seed"]
        elif len(prompts) == 1:
            found["seed"] = prompts[0].seed
        return found if steering is None else found | {XARGS: self._xargs(steering)}

    def _meant(self) -> dict[str, Any]:
        return {"dictionary": self.plan.found.sha256, "method": self.plan.method}

    def _xargs(self, steering: Steering) -> dict[str, Any]:
        how = {"intervention": steering.intervention, "positions": steering.positions}
        factor = {} if steering.factor is None else {"factor": steering.factor}
        return self._meant() | {"concept": steering.concept_id} | factor | how


class _Completions(LocalCompletionsAPI):  # type: ignore[misc]  # lm-eval is untyped
    """lm-eval's ``local-completions``, which reads texts as its ``hf`` and ``vllm`` do."""

    @cached_property
    def _encoder(self) -> TextEncoder:
        return TextEncoder(self.tokenizer, self.add_bos_token)

    def tok_encode(
        self,
        string: str | Sequence[str],
        left_truncate_len: int | None = None,
        add_special_tokens: bool | None = None,
        **_: Any,
    ) -> list[Any]:
        usual = add_special_tokens in (None, self.add_bos_token)
        special = {} if usual else {"add_special_tokens": add_special_tokens}
        texts = [string] if isinstance(string, str) else list(string)
        found = self._encoder([str(text) for text in texts], **special)["input_ids"]
        if left_truncate_len:
            found = [ids[-left_truncate_len:] for ids in found]
        return found[0] if isinstance(string, str) else found


class SteeredCompletions(ServedSteering, PromptsInTokens, _Completions):
    """``local-completions``, steered; prompts are sent as token ids."""

    model_name = "steered-completions"
    backend = "huggingface"

    def __init__(self, pretrained: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("add_bos_token", None)
        if not kwargs.setdefault("tokenized_requests", True):
            raise HarnessError(f"{self.model_name} sends token ids: tokenized_requests=True")
        super().__init__(pretrained, **kwargs)

    def shortest(self) -> dict[str, Any]:
        return {"prompt": "a"}

    def prompts_of(self, messages: Any) -> list[Prompt | None]:
        return [getattr(one, "prompt", None) for one in messages]


class _Turns(list[Any]):
    """A chat's messages, with the prompt that they were."""

    prompt: Prompt


class SteeredChat(ServedSteering, LocalChatCompletion):  # type: ignore[misc]
    """lm-eval's ``local-chat-completions``, steered."""

    model_name = "steered-chat-completions"

    def shortest(self) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": "a"}]}

    def prompts_of(self, messages: Any) -> list[Prompt | None]:
        return [messages.prompt]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        chats = []
        for request in requests:
            chat = getattr(request.args[0], "prompt", None)
            if chat is None:
                raise HarnessError(f"{self.model_name} asks in turns: give --apply_chat_template")
            chats.append(replace(request, arguments=(chat, *request.args[1:])))
        return super().generate_until(chats, disable_tqdm)

    def create_message(self, messages: Sequence[Prompt], generate: bool = False) -> _Turns:
        (chat,) = messages
        found = _Turns(json.loads(chat))
        found.prompt = chat
        return found


def _message_of(answer: http.Response) -> str:
    """What a server says is wrong."""
    try:
        said = loads(answer.text)["error"]["message"]
    except (ValueError, TypeError, KeyError):
        said = answer.text
    return masked(one_line(str(said), 300))
