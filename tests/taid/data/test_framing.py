"""Answers in the frames of chat templates: thoughts, ends of turns, tokens written as text."""

from __future__ import annotations

import pytest
from harness_taid.data.exchanges import Encoder, Limits
from harness_taid.data.framing import BEHIND, TWICE, UNCLOSED, UNLIKE, Framing

from harness.errors import DataError
from taid import tiny

THOUGHT = "<think>\nIt is about Ben.\n</think>\n\n"


def template(opening, answer, behind="{{ eos_token }}"):
    """A template of one question: what its prompt ends with, and how it words an answer."""
    text = (
        "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% else %}"
        f"<|assistant|>{answer}{behind}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}<|assistant|>{opening}{{% endif %}}"
    )
    return text.replace("\\n", "{{ '\\n' }}")


PLAIN = "{{ m.content }}"
WITHOUT_THOUGHT = "{{ m.content.split('</think>')[-1].lstrip() }}"
R1 = template("<think>\\n", WITHOUT_THOUGHT)
R1_KEPT = template("<think>\\n", PLAIN)
EMPTY_THOUGHT = template("<think>\\n\\n</think>\\n\\n", PLAIN)
QWEN3 = template(
    "",
    "{% if '</think>' in m.content %}{{ m.content }}{% else %}"
    "<think>\\n\\n</think>\\n\\n{{ m.content }}{% endif %}",
)
OPENED_AND_REPEATED = template("<think>\\n", "<think>\\n{{ m.content }}")
ENDED_OTHERWISE = template("", PLAIN, "{% if 'B' in m.content %}!{% else %}</s>{% endif %}")


@pytest.fixture(scope="module")
def words():
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def turned():
    """A tokenizer whose turns end with a token of their own, as Gemma's do."""
    words = tiny.tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    return words


def framed(words, chosen, answer):
    turns = [{"role": "user", "content": "A."}, {"role": "assistant", "content": answer}]
    found = Framing(words, chosen).frame(turns, "r")
    return found if isinstance(found, str) else (found.prompt, found.answer)


def encoded(words, chosen, *answers):
    rows = [{"prompt": "A.", "response": answer} for answer in answers]
    return Encoder(words, chosen, Limits()).encode(rows, "rows")


def responses(words, chosen, *answers):
    return [words.decode(one.ids[one.prompt :]) for one in encoded(words, chosen, *answers).items]


@pytest.mark.parametrize(
    ("chosen", "answer", "right"),
    [
        (R1, THOUGHT + "Ben.", UNLIKE),
        (R1, "Ben.", UNLIKE),
        (R1_KEPT, THOUGHT + "Ben.", ("<|user|>A.<|assistant|><think>\n", THOUGHT[8:] + "Ben.")),
        (R1_KEPT, "Ben.", UNLIKE),
        (EMPTY_THOUGHT, THOUGHT + "Ben.", UNLIKE),
        (EMPTY_THOUGHT, "Ben.", UNLIKE),
        (QWEN3, THOUGHT + "Ben.", ("<|user|>A.<|assistant|>", THOUGHT + "Ben.")),
        (QWEN3, "Ben.", ("<|user|>A.<|assistant|>", "<think>\n\n</think>\n\nBen.")),
        (OPENED_AND_REPEATED, "Ben.", UNCLOSED),
        (OPENED_AND_REPEATED, THOUGHT + "Ben.", TWICE),
        (OPENED_AND_REPEATED, THOUGHT[8:] + "Ben.",
         ("<|user|>A.<|assistant|><think>\n", THOUGHT[8:] + "Ben.")),
        (ENDED_OTHERWISE, "Ben.", BEHIND),
    ],
)  # fmt: skip
def test_a_prompt_is_how_the_answered_exchange_begins(words, chosen, answer, right):
    assert framed(words, chosen, answer) == right


def test_rows_that_a_template_words_otherwise_are_counted(words):
    found = encoded(words, R1_KEPT, THOUGHT + "Ben.", "It is late.", "It is late.")
    assert len(found.items) == 1 and found.dropped == {UNLIKE: 2}
    assert f"2 dropped ({UNLIKE})" in found.told("rows")
    with pytest.raises(DataError, match=r"no row of 1 can be used \(1: the chat template's"):
        encoded(words, R1, THOUGHT + "Ben.")


def test_an_answer_is_learnt_up_to_the_end_of_its_turn(turned):
    gemma = template("\\n", "\\n{{ m.content }}", "<end_of_turn>\\n")
    assert responses(turned, gemma, "It is late.") == ["It is late.<end_of_turn>"]
    with_space = template("", PLAIN, " {{ eos_token }}\\n")
    assert responses(turned, with_space, "It is late.") == ["It is late. </s>"]
    assert Framing(turned, gemma).ends == {turned.convert_tokens_to_ids("<end_of_turn>"), 2}
    endless = template("", PLAIN, "\\n")
    assert responses(turned, endless, "It is late.") == ["It is late.\n"]


@pytest.mark.parametrize("chosen", ["", template("", PLAIN)])
def test_the_text_of_an_end_token_ends_nothing(words, chosen):
    found = encoded(words, chosen, "Say </s> first. It is late.", "It is late.")
    (one, other) = (item.ids[item.prompt :].tolist() for item in found.items)
    assert words.decode(one) == "Say </s> first. It is late.</s>"
    assert one.count(words.eos_token_id) == other.count(words.eos_token_id) == 1
    assert (found.special, found.cut) == (1, 0)
    assert found.told("rows").endswith("1 with the text of a special token in the response")
    rows = encoded(words, chosen, "It is late.</s>", "It is late. </s>\n", "It is <|user|> late.")
    assert [words.decode(i.ids[i.prompt :]) for i in rows.items[:2]] == [
        "It is late.</s>", "It is late. </s>",
    ]  # fmt: skip
    assert rows.special == 1
