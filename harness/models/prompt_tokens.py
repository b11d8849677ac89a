"""How a request's tokens keep their prompt on the way through lm-eval.

lm-eval's ``vllm`` and its models behind an API turn prompts into lists of token ids, which it cuts,
joins and sorts before it asks. Here these lists are ``PromptTokens``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.models.requests import Prompt, in_groups
from harness.models.wrapping import Wrapper


class PromptTokens(list[int]):
    """A request's tokens, which keep its prompt when they are cut or continued."""

    def __init__(self, tokens: Sequence[int], prompt: Prompt | None) -> None:
        super().__init__(tokens)
        self.prompt = prompt

    def __add__(self, more: Any) -> Any:
        return PromptTokens([*self, *more], self.prompt)

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return PromptTokens(found, self.prompt) if isinstance(place, slice) else found


class PromptsInTokens(Wrapper):
    """Put in front of an lm-eval model's class that makes lists of token ids."""

    _window: Prompt | None = None

    def tok_encode(self, string: str | Sequence[str], *args: Any, **kwargs: Any) -> Any:
        found = super().tok_encode(string, *args, **kwargs)
        if isinstance(string, str):
            return PromptTokens(found, string) if isinstance(string, Prompt) else found
        return [
            PromptTokens(ids, text) if isinstance(text, Prompt) else ids
            for ids, text in zip(found, string, strict=True)
        ]

    def score(self, kind: str, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        stock = super().score
        if kind == "loglikelihood":
            return stock(kind, requests, disable_tqdm)

        def ask(group: list[Any]) -> list[Any]:
            first = group[0].args[0]
            self._window = first if isinstance(first, Prompt) else None
            try:
                return stock(kind, group, disable_tqdm)
            finally:
                self._window = None

        return in_groups(requests, ask)

    def _loglikelihood_tokens(self, requests: Sequence[Any], disable_tqdm: bool = False) -> Any:
        marked = []
        for key, context, continuation in requests:  # windows of rolling requests have no key
            given = self._window if key is None else key[0]
            prompt = given if isinstance(given, Prompt) else None
            marked.append((key, PromptTokens(context, prompt), continuation))
        return super()._loglikelihood_tokens(marked, disable_tqdm=disable_tqdm)
