r"""What stands before and behind an answer: the chat template's frame, and the token that ends it.

    prompt      <s><|user|>\nTell me more.\n<|assistant|>\n
    whole       <s><|user|>\nTell me more.\n<|assistant|>\nIt is late.</s>\n
    response                                               It is late.</s>

The prompt is the template of all messages before the answer, with the beginning of an answer. It
must be how the template of the whole begins: one that opens a thought in its prompt (DeepSeek-R1)
or puts an empty one there (Qwen3 without thinking) and words the whole otherwise would have a tag
twice, or an answer learnt inside of a thought. Such an exchange is refused.

A response goes up to the token that ends the turn, its end token or another (``<end_of_turn>``),
and not on to what a template puts behind it. Without a template it ends with the end token. The
text of an end token inside of an answer is tokenized as text, so that nothing ends there; at its
very end it is left out, as the turn ends anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import DataError
from harness.errors import one_line

_MARK = "An answer."
_ASKED = {"role": "user", "content": "x"}
_ANSWER = {"role": "assistant", "content": _MARK}
_OPENS = re.compile(r"[<\[◁](?!/)[^\s<>\[\]◁▷/]*(?:think|thought|reason)[^\s<>\[\]◁▷]*[>\]▷]", re.I)
_CLOSES = re.compile(
    r"[<\[◁](?:/|\|?end)[^\s<>\[\]◁▷]*(?:think|thought|reason)[^\s<>\[\]◁▷]*[>\]▷]", re.I
)

UNLIKE = "the chat template's prompt is not how the answered exchange begins: thoughts, mostly"
TWICE = "a thought is opened by the chat template and by the answer"
UNCLOSED = "the chat template opens a thought that the answer does not close"
BEHIND = "the chat template ends it otherwise than other answers"
ENDED = "the text of an end token in the answer"


@dataclass(frozen=True)
class Framed:
    """An exchange as text.

    Attributes:
        prompt: What stands before the answer.
        answer: The answer, without its end.
        special: Whether the text of a special token is in it.
        literal: Whether one of these would end it, so that all are read as text.
    """

    prompt: str
    answer: str
    special: bool = False
    literal: bool = False


class Framing:
    """Frames answers, and gives their tokens.

    Args:
        tokenizer: The student's tokenizer.
        template: A chat template; empty for none.
        options: What the template is told besides.

    Attributes:
        end: The token that ends an answer; None where a template has none.
        fault: Why the template's prompt cannot stand before a plain answer; None where it can.
        ahead: What the template puts between its prompt and a plain answer.

    Raises:
        DataError: There is neither a template nor an end token, or the template fails.
    """

    def __init__(
        self, tokenizer: Any, template: str, options: Mapping[str, Any] | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._options = {**(options or {}), "tokenize": False}
        if not template and tokenizer.eos_token_id is None:
            raise DataError("the tokenizer has neither a chat template nor an end token")
        added = {str(token): token.special for token in tokenizer.added_tokens_decoder.values()}
        special = {*tokenizer.all_special_tokens, *(text for text in added if added[text])}
        self._special = _any_of(special)
        self._opening = self._behind = self._before_end = self.ahead = ""
        self.end: int | None = tokenizer.eos_token_id
        self.fault: str | None = None
        end = self._around(_any_of({*added, *special})) if template else tokenizer.eos_token
        if template:
            self.end = None if end is None else tokenizer.convert_tokens_to_ids(end)
        self._ends = {end, tokenizer.eos_token} - {None, ""} if end else set()
        if template:
            found = self.frame([_ASKED, _ANSWER], "an exchange")
            if isinstance(found, str):
                self.fault = found
            else:
                self.ahead = found.answer.partition(_MARK)[0]

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: the turn's, and the tokenizer's."""
        found = (self.end, self._tokenizer.eos_token_id)
        return frozenset(token for token in found if token is not None)

    def _around(self, token: re.Pattern[str]) -> str | None:
        """See what the template puts around an answer; returns the token that ends it."""
        before = self._render([_ASKED], "a question")
        prompt = self._render([_ASKED], "a question", asks=True)
        self._opening = prompt.removeprefix(before) if prompt.startswith(before) else ""
        self._behind = self._render([_ASKED, _ANSWER], "an exchange").rpartition(_MARK)[2]
        found = token.search(self._behind)
        self._before_end = self._behind[: found.start()] if found else self._behind
        return found.group() if found else None

    def _render(
        self, messages: Sequence[Mapping[str, str]], where: str, *, asks: bool = False
    ) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages),
                chat_template=self._template,
                add_generation_prompt=asks,
                **self._options,
            )
        except Exception as cause:  # templates raise what they like
            reason = one_line(cause, 200)
            raise DataError(f"{where}: the chat template refuses it: {reason}") from cause
        return str(text)

    def frame(self, messages: Sequence[Mapping[str, str]], where: str) -> Framed | str:
        """The last message as the answer to those before it, or why it cannot be.

        Raises:
            DataError: The template refuses them.
        """
        prompt = self._render(messages[:-1], where, asks=True)
        whole = self._render(messages, where)
        if not whole.startswith(prompt):
            return UNLIKE
        answer = whole[len(prompt) :]
        if not answer.endswith(self._behind):
            return BEHIND
        answer = answer[: len(answer) - len(self._behind)]
        thoughts = [*_OPENS.finditer(self._opening), *_CLOSES.finditer(self._opening)]
        if thoughts and _OPENS.match(answer.lstrip()):
            return TWICE
        last = max(thoughts, key=lambda found: found.end(), default=None)
        if last and not _CLOSES.fullmatch(last.group()) and not _CLOSES.search(answer):
            return UNCLOSED
        return self.plain(prompt, answer, messages[-1]["content"])

    def plain(self, prompt: str, answer: str, content: str | None = None) -> Framed | str:
        """A prompt and an answer that stand as they are, or why they cannot.

        Args:
            prompt: What stands before the answer.
            answer: What is learnt.
            content: What of the answer is the data's; by default all of it.
        """
        answer, content = (
            self._unended(answer),
            self._unended(answer if content is None else content),
        )
        inside = self._special.findall(content)
        literal = not self._ends.isdisjoint(inside)
        if literal and len(self._special.findall(answer)) > len(inside):
            return ENDED  # the template's own tokens are no text
        return Framed(prompt, answer, bool(inside), literal)

    def alone(self, prompt: str, answer: str) -> Framed | str:
        """An answer behind a prompt that the template has made already, or why it cannot be."""
        if self.fault:
            return self.fault
        if _OPENS.search(self._opening + self.ahead) and _OPENS.match(answer.lstrip()):
            return TWICE
        return self.plain(prompt, self.ahead + answer, answer)

    def _unended(self, text: str) -> str:
        """A text without the end tokens at its end."""
        while end := next((e for e in self._ends if text.rstrip().endswith(e)), None):
            text = text.rstrip().removesuffix(end)
        return text

    def tokens(self, framed: Sequence[Framed]) -> list[list[int]]:
        """Token ids of each answer, its end included."""
        found: list[list[int]] = [[] for _ in framed]
        end = [] if self.end is None else [self.end]
        for literal in (False, True):
            places = [n for n, one in enumerate(framed) if one.literal is literal]
            if not places:
                continue
            texts = [framed[n].answer + self._before_end for n in places]
            options = {"split_special_tokens": True} if literal else {}
            read = self._tokenizer(texts, add_special_tokens=False, verbose=False, **options)
            for n, ids in zip(places, read["input_ids"], strict=True):
                found[n] = [*ids, *end]
        return found


def _any_of(texts: set[str]) -> re.Pattern[str]:
    longest_first = sorted(filter(str.strip, texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
