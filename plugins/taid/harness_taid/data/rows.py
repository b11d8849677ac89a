"""What a row of a data set says: messages, or a prompt and a response.

    {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}, …]}
    {"prompt": …, "response": …}
    {"instruction": …, "input": …, "output": …}          Alpaca

``response`` may also be called ``completion``, ``output`` or ``answer``, and ``prompt``
``instruction``. Of an Alpaca row the prompt is the instruction, an empty line and the input, or the
instruction alone where the input is empty. A content may be a list of texts, which are joined.

What belongs to a prompt or an answer and is not read here (a system prompt in a column of its own,
a history, calls of tools) is refused: without it the answer would be to another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import DataError
from harness.errors import one_line

PROMPTS = ("prompt", "instruction")
RESPONSES = ("response", "completion", "output", "answer")
INPUT = "input"
_BESIDE = ("system", "system_prompt", "history", "context", "tools")
_IN_MESSAGES = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")


def messages_of(row: Mapping[str, Any], where: str) -> list[dict[str, str]] | None:
    """The messages of a row, or None where it has a prompt and a response instead.

    Raises:
        DataError: They are not a list of roles and texts, or say more than is read.
    """
    if "messages" not in row:
        return None
    messages = row["messages"]
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise DataError(f"{where}: messages is not a list of {{role, content}}")
    _refuse(row, _BESIDE, where, "write it as a message")
    return [_message(one, f"{where}, message {n}") for n, one in enumerate(messages, start=1)]


def columns_of(row: Mapping[str, Any], where: str) -> tuple[str, str]:
    """The prompt and the response of a row; a missing response is an empty one.

    Raises:
        DataError: The row has no such columns, they are no texts, or it says more than is read.
    """
    asked = next((name for name in PROMPTS if name in row), "")
    response = next((row[name] for name in RESPONSES if name in row), None)
    response = "" if response is None and any(name in row for name in RESPONSES) else response
    prompt = row.get(asked)
    if not isinstance(prompt, str) or not isinstance(response, str):
        raise DataError(
            f"{where}: neither messages, nor the texts prompt and response (there are "
            f"{one_line(', '.join(sorted(map(str, row))), 200) if row else 'no columns'})"
        )
    more = row.get(INPUT) if asked == "instruction" else None
    if more is not None and not isinstance(more, str):
        raise DataError(f"{where}: {INPUT} is no text")
    beside = _BESIDE if asked == "instruction" else (*_BESIDE, INPUT, "instruction")
    _refuse(row, beside, where, "put it into the prompt, or write messages")
    return (f"{prompt}\n\n{more}" if more and more.strip() else prompt), response


def _message(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise DataError(f"{where}: messages is not a list of {{role, content}}")
    _refuse(message, _IN_MESSAGES, where, "leave the row out, or write it as text in the content")
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        content = "".join(_text(part, where) for part in content)
    if not isinstance(content, str):
        raise DataError(f"{where} ({one_line(message['role'], 40)}) has no text as its content")
    return {"role": message["role"], "content": content}


def _text(part: Any, where: str) -> str:
    """The text of a part of a content."""
    if isinstance(part, Mapping):
        kind, part = part.get("type", "text"), part.get("text")
        if kind != "text":
            raise DataError(f"{where} has a part of type {one_line(kind, 40)}, which is no text")
    if not isinstance(part, str):
        raise DataError(f"{where} has a part that is no text")
    return part


def _refuse(value: Mapping[str, Any], names: Sequence[str], where: str, instead: str) -> None:
    """Refuse what belongs to the exchange and would be left out without a word."""
    unread = [name for name in names if _says_something(value.get(name))]
    if unread:
        raise DataError(f"{where} has {', '.join(unread)}, which is not read: {instead}")


def _says_something(value: Any) -> bool:
    if isinstance(value, str):  # a list may have been written as text
        return value.strip() not in ("", "[]", "{}", "null")
    return bool(value)
