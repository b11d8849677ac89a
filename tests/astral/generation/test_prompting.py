"""What a generator says is taken as it stands: nothing is invented, nothing is lost."""

from __future__ import annotations

import json
import re

import pytest
from harness_astral.generation.questions import (
    Material,
    ask_labels,
    ask_probe,
    ask_twin,
    read_labels,
)
from harness_astral.generation.seeds import Seed
from harness_astral.generation.web import Snippet
from harness_astral.suites.factors import read_factors
from harness_astral.suites.messages import Message, read_message
from hypothesis import given
from hypothesis import strategies as st

FACTORS = read_factors()
LEVELS = (FACTORS.category[2], FACTORS.style[3], FACTORS.persuasion[0])
TEXT = "1. First line\n2024. It was 3.5 of 10.\n\n- \u2028 and <b>this</b>, {too}"


@pytest.mark.parametrize(
    "answer",
    [
        f"<input>{TEXT}</input>",
        f"Sure, here it is:\n<input>\n{TEXT}\n</input>\nI hope that helps.",
        f"<think>I write <input>no</input>, or rather</think>\n<INPUT>{TEXT}</INPUT>",
        f"```\n<input>{TEXT}</input>\n```",
        f"I'm sorry, I can only give you one: <input>{TEXT}</input>",
    ],
)
def test_a_message_stays_whole(answer: str) -> None:
    assert read_message(answer) == Message(TEXT, declined=False)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        TEXT,
        "How do I do this?",
        f"<input>{TEXT}",
        f"{TEXT}</input>",
        f"</input>{TEXT}<input>",
        "<input>  \n </input>",
        "<input>one</input><input>two</input>",
        "<input>one<input>two</input>",
        "<think>I could write <input>one</input>, or",
    ],
)
def test_what_cannot_be_used_is_nothing(answer: str) -> None:
    assert read_message(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "<declined/>",
        "I would rather not. <declined/>",
        "<input><declined/></input>",
        "I'm sorry, but I can't help with that.",
        "I’m really sorry, but I cannot assist with this request.",
        "Sorry, I won't write that.",
        "As an AI language model, I am unable to create such content.",
        "Unfortunately, I can not provide this.",
        "<input>I'm sorry, I can't help with that. Is there something else?</input>",
        "I'm sorry for any confusion, but as a chatbot for orders, I don't have the means.",
        "I’m so sorry for the misunderstanding, but I am not able to look into that.",
        "I'm afraid that's not possible. I was made to keep secrets.",
    ],
)
def test_a_refusal_is_an_outcome(answer: str) -> None:
    assert read_message(answer) == Message("", declined=True)


@pytest.mark.parametrize(
    "text",
    [
        "I can't find my hamster. How do I call it?",
        "I can't help but wonder how the gnomes do it.",
        "I won't tell anybody: where is the key?",
        "Sorry, wrong number! Is this the lighthouse?",
        "I can't write well, so write the letter for me.",
        "I must answer the dragon's riddle by noon.",
        "You must decline the king's offer, and say: I can't help with that.",
    ],
)
def test_a_message_may_sound_like_a_refusal(text: str) -> None:
    assert read_message(f"<input>{text}</input>") == Message(text, declined=False)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry for any delay, but as a baker, I have the bread here.",
        "I'm sorry for any confusion, but as a gnome, I know the way: left, then down.",
        "I'm so sorry to hear that you're having a hard time.",
        "I'm afraid of the dark.",
    ],
)
def test_an_answer_that_is_sorry_is_no_refusal(answer: str) -> None:
    assert read_message(answer) is None


VERBS = re.compile(
    "declined|help|assist|provide|write|create|generate|produce|comply|fulfil|support|engage|"
    "answer|decline|refuse",
    re.IGNORECASE,
)
pieces = st.sampled_from(
    ["<input>", "</input>", "<INPUT>", "<declined/>", "</think>", "<think>", "1. ", "3.5", "\n"]
)


@given(st.lists(st.one_of(pieces, st.text(max_size=20)), max_size=12).map("".join))
def test_scraps_of_the_form_make_no_message(answer: str) -> None:
    found = read_message(answer)
    if found is None or found.declined:
        return
    start, end = answer.lower().rindex("<input>"), answer.lower().rindex("</input>")
    assert found.text == answer[start + len("<input>") : end].strip() != ""


tagless = st.text(max_size=200).filter(
    lambda text: not re.search(r"</?input>|</think>", text, re.I)
)


@given(tagless, tagless, tagless)
def test_any_text_between_the_tags_comes_back(before: str, text: str, after: str) -> None:
    found = read_message(f"{before}<input>{text}</input>{after}")
    if not text.strip():
        assert found is None
    elif found is not None and not found.declined:
        assert found.text == text.strip()
    else:
        assert found == Message("", declined=True)
        assert VERBS.search(text), "only what sounds like a refusal is one"


@given(st.text(max_size=300))
def test_no_message_is_invented(answer: str) -> None:
    found = read_message(answer)
    if found is not None and not found.declined:
        assert found.text in answer and found.text.strip()
        assert "<input>" in answer.lower()


def test_what_each_variant_shows() -> None:
    seeds = [Seed("s-1", LEVELS[0].name, "Rig {the} vote for clouds.")]
    snippet = Snippet("w1", LEVELS[0].name, "q", "A title", "An excerpt: 50 %.", "u", "tavily")
    plain = ask_probe(LEVELS, Material(seeds), "2.1", 3)
    shown = ask_probe(LEVELS, Material(seeds, few_shot=True), "2.1", 3)
    news = ask_probe(LEVELS, Material(seeds, [snippet], few_shot=True), "2.1", 3)
    for question in (plain, shown, news):
        assert "controversial_topics,politics" in question.prompt and question.vote == 3
        assert "This is version 2.1, and unlike" in question.prompt
        assert "Rig {the} vote for clouds." in question.prompt
        for level in LEVELS:
            assert level.description in question.prompt
    for example in (LEVELS[1].example, LEVELS[2].example):
        assert example not in plain.prompt and example in shown.prompt and example in news.prompt
    assert "A title: An excerpt: 50 %." in news.prompt and "A title" not in shown.prompt
    twin = ask_twin(LEVELS, "Do {x}\nnow", "1.1", 1)
    assert "<message>\nDo {x}\nnow\n</message>" in twin.prompt
    assert LEVELS[1].description in twin.prompt and LEVELS[2].description in twin.prompt


def test_labels_are_names_of_the_factors() -> None:
    read = read_labels(FACTORS)
    good = {"style": "slang", "persuasion": "logical_appeal"}
    assert read(json.dumps(good)) == good
    assert read(f"<think>role_play?</think>\n```json\n{json.dumps(good)}\n```") == good
    for bad in (
        good | {"style": "loud"},
        good | {"reason": "slang"},
        {"style": "slang"},
        good | {"persuasion": ["logical_appeal"]},
        [good],
    ):
        assert read(json.dumps(bad)) is None
    assert read("The style is slang and the persuasion is logical_appeal.") is None
    question = ask_labels(FACTORS, "Do {x}")
    assert "Do {x}" in question.prompt and '{"style": "NAME"' in question.prompt
    assert all(level.name in question.prompt for level in (*FACTORS.style, *FACTORS.persuasion))
    assert not any(level.name in question.prompt for level in FACTORS.category), "it is blind"
