"""Whose row it is: a request is known by the tokens that the model reads of it."""

from __future__ import annotations

from typing import Any

import pytest

from harness import HarnessError, Prompt
from harness.models.scoring import turns


def asked(context: list[int], continuation: list[int], note: str | None = None) -> Any:
    return (Prompt("p", "", 0, {"edit": note}), "c"), context, continuation


def notes(rows: list[Prompt]) -> list[Any]:
    return [row.notes["edit"] for row in rows]


def test_rows_are_known_by_their_tokens() -> None:
    """The example of the module: the last token of a continuation is not read."""
    a, b, c = asked([5, 6], [1], "a"), asked([7], [2], "b"), asked([5, 6], [3], "c")
    first, second = turns([a, b, c], 10)
    assert (first.members, second.members) == ([0, 1], [2])
    assert notes(first.rows([[5, 6], [7, 0]])) == ["a", "b"]
    assert notes(first.rows([[7, 0, 0]])) == ["b"]
    assert notes(second.rows([[5, 6]])) == ["c"]


def test_what_is_treated_alike_takes_one_turn() -> None:
    """Choices of one letter, and a longer continuation of the same context."""
    letters = [asked([5, 6], [letter], "a") for letter in (1, 2, 3)]
    (only,) = turns([*letters, asked([5, 6], [1, 2], "b")], 10)
    assert only.members == [0, 1, 2, 3]
    assert notes(only.rows([[5, 6], [5, 6, 1]])) == ["a", "b"]


def test_long_texts_are_known_by_their_ends() -> None:
    """Of nine tokens and a model that reads four, the last five count, and the last is not read."""
    one, other = asked([1, 2, 3, 4, 5, 6, 7], [8, 9], "a"), asked([0, 4, 5, 6, 7], [8, 9], "b")
    first, second = turns([one, other], 4)
    assert notes(first.rows([[5, 6, 7, 8]])) == ["a"]
    assert notes(second.rows([[5, 6, 7, 8]])) == ["b"]


def test_zeros_that_are_read_are_not_taken_for_padding() -> None:
    """(5, 0) and (5,) look alike in a batch of two tokens: they take turns."""
    first, second = turns([asked([5, 0], [1], "a"), asked([5], [1], "b")], 10)
    assert notes(first.rows([[5, 0]])) == ["a"]
    assert notes(second.rows([[5, 0]])) == ["b"]


def test_nobodys_row_is_told() -> None:
    (only,) = turns([asked([5, 6], [1], "a")], 10)
    with pytest.raises(HarnessError, match="a row of the batch is no request's") as told:
        only.rows([[6, 5]])
    assert "\n" not in str(told.value)
