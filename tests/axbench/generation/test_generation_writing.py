"""What a writer's answers are read as."""

from __future__ import annotations

import pytest
from harness_axbench.generation import questions

GENRES = ("text", "code", "math")


@pytest.mark.parametrize(
    ("answer", "genre"),
    [
        ("Genre: code", "code"),
        ("It is prose.\n**Genre:** Text.", "text"),
        ("**Genre**: [math]", "math"),
        ("<think>\nGenre: code\n</think>\n> genre: text\r\n", "text"),
        ("Genre: text\nGenre: code", "code"),
        ("Genre: text, code or math", None),
        ("Genre: poetry", None),
        ("code", None),
        ("Genre:", None),
        ("", None),
    ],
)
def test_a_genre(answer: str, genre: str | None) -> None:
    assert questions.parse_genre(answer, GENRES) == genre


def test_a_genre_that_was_not_offered_does_not_count() -> None:
    assert questions.parse_genre("Genre: code", ("text", "math")) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("Words: bank, interest, bond", ["bank", "interest", "bond"]),
        ("Here they are.\nWords:\n1. bank\n2) *interest*\n- bond.", ["bank", "interest", "bond"]),
        ("Words: bank, Bank, BOND, bond", ["bank", "BOND"]),
        ("Words: None.", []),
        ("Words: " + ", ".join(f"w{i}" for i in range(14)), [f"w{i}" for i in range(10)]),
        ("Words: " + "a sentence of many more than forty characters, it is", ["it is"]),
        ("Words: , ;", None),
        ("bank, interest", None),
    ],
)
def test_words(answer: str, words: list[str] | None) -> None:
    assert questions.parse_words(answer) == words


@pytest.mark.parametrize(
    ("answer", "sense"),
    [
        ("Sense: the side of a stream.", "the side of a stream."),
        ("sense: a\nSense: b\nDone.", "b"),
        ("Sense: None.", ""),
        ("Sense:", None),
        ("a stream", None),
    ],
)
def test_a_sense(answer: str, sense: str | None) -> None:
    assert questions.parse_sense(answer) == sense


def test_a_verdict() -> None:
    verdicts = ["Unrelated: YES", "So: \nunrelated: no.", "Unrelated: YES or NO", "yes"]
    assert [questions.parse_unrelated(verdict) for verdict in verdicts] == [True, False, None, None]


@pytest.mark.parametrize(
    ("answer", "response"),
    [
        ("Response: **Yes**, it is.\n\nResponse: twice", "**Yes**, it is.\n\nResponse: twice"),
        ("Sure!\n\n**Response:**\nA text.", "A text."),
        ("I cannot help with that response: it is harmful.", None),
        ("Response:   \n", None),
        ("<think>Response: no</think>Response: yes", "yes"),
    ],
)
def test_a_response_stands_behind_its_mark(answer: str, response: str | None) -> None:
    assert questions.parse_response(answer) == response


def test_a_response_is_asked_for_in_three_ways() -> None:
    def ask(category: str, **more: str) -> str:
        question = questions.ask_response(
            "terms of finance", 3, "Describe a {river}.", genre="text", category=category,
            tokens=128, **more,
        )  # fmt: skip
        assert question.vote == 3 and question.facts["write"] == category
        return question.prompt

    prompts = {
        "with": ask("positive"),
        "without": ask("negative"),
        "sense": ask("hard negative", word="bank", sense="the side of a stream."),
    }
    assert len(set(prompts.values())) == 3
    for prompt in prompts.values():
        assert prompt.endswith("Instruction: Describe a {river}.")
        assert "terms of finance" in prompt and "96 words" in prompt
    assert '"bank"' in prompts["sense"] and "the side of a stream. Apart" in prompts["sense"]
