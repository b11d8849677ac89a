"""Words, tokens, order and frames: all of vllm-fact-checker that needs no engine."""

from __future__ import annotations

import numpy as np
import pytest
from harness_factcg.checking import families
from harness_factcg.checking.verdicts import Pair, prompt
from harness_factcg.models.framing import Frame, Row, find_row, framed
from harness_factcg.models.next_word import Encoder, Question, Words, by_prefix, words
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from harness.errors import HarnessError
from harness.testbed import resolve

SPACED = Words(" Yes", " No")


@pytest.fixture(scope="module")
def teacher() -> PreTrainedTokenizerFast:
    """Puts <s> before a text; Yes and No are one token each."""
    return AutoTokenizer.from_pretrained(resolve("testbed:teacher"))


@pytest.mark.parametrize(
    ("continuation", "found"),
    [
        (" Yes", (Words(" Yes", " No"), True)),
        ("No", (Words("Yes", "No"), False)),
        ("\nno", (Words("\nyes", "\nno"), False)),
        (" YES", (Words(" YES", " NO"), True)),
        (" Yes.", None),
        (" maybe", None),
        ("", None),
    ],
)
def test_words(continuation: str, found: object) -> None:
    assert words(continuation) == found


def test_the_encoder_gives_the_prompt_before_either_word(teacher: PreTrainedTokenizerFast) -> None:
    text = prompt("Anna lives in Rome.", "Anna lives in Rome.")
    encoder = Encoder(teacher, SPACED, text)
    assert teacher.convert_ids_to_tokens([encoder.yes, encoder.no]) == ["ĠYes", "ĠNo"]
    other = text.replace("Rome", "Paris")
    found = encoder([text, other], return_offsets_mapping=True)
    assert found["input_ids"] == teacher([text, other])["input_ids"]
    assert [len(row) for row in found["offset_mapping"]] == [len(i) for i in found["input_ids"]]
    assert encoder(text)["input_ids"] == found["input_ids"][0]
    for word, token in ((" Yes", encoder.yes), (" No", encoder.no)):
        assert teacher(text + word)["input_ids"] == [*found["input_ids"][0], token]


def test_one_beginning_of_sequence(teacher: PreTrainedTokenizerFast) -> None:
    """None is put before a text that has one, as chat templates write it."""
    chat = "<s><|user|>\nIs it?\n<|assistant|>\n"
    encoder = Encoder(teacher, Words("Yes", "No"), chat)
    first, second = encoder([chat, "Is it?\n"])["input_ids"]
    assert first == teacher(chat, add_special_tokens=False)["input_ids"]
    assert first.count(1) == second.count(1) == 1
    assert second == teacher("Is it?\n")["input_ids"]
    without = Encoder(teacher, SPACED, "Is it?", add_bos_token=False)
    assert 1 not in without("Is it?")["input_ids"]


def test_texts_that_are_no_prompts_are_counted_alone(teacher: PreTrainedTokenizerFast) -> None:
    encoder = Encoder(teacher, SPACED, "Is it?")
    plain = teacher("A garden.", add_special_tokens=False)["input_ids"]
    assert encoder("A garden.", add_special_tokens=False)["input_ids"] == plain


def test_a_word_of_several_tokens_is_refused(teacher: PreTrainedTokenizerFast) -> None:
    message = r"must be one token .*' Nonsensical' is \['ĠN', .*no=WORD,yes=WORD.*--model vllm"
    with pytest.raises(HarnessError, match=message) as refused:
        Encoder(teacher, Words(" Yes", " Nonsensical"), "Is it?")
    assert "\n" not in str(refused.value)
    with pytest.raises(HarnessError, match="one token of its own"):
        Encoder(teacher, Words(" Yes", " Yes"), "Is it?")


def test_common_beginnings_follow_each_other() -> None:
    prompts = [(5, 300, 1), (5, 7), (2, 9, 9), (5, 300), (70000, 1), (5, 7, 4)]
    asked = [Question(np.array(ids, dtype=np.int32), 0, 1) for ids in prompts]
    order = by_prefix(asked)
    assert [prompts[k] for k in order] == sorted(prompts)


def test_a_row_is_found_in_what_stands_around_it() -> None:
    pair = Pair("Anna lives in Rome.", "Anna lives.")
    plain = find_row(prompt(*pair), pair, SPACED)
    assert plain == Row(Frame("", "", SPACED), pair)
    example = prompt("Ben lives in Paris.", "Ben lives.") + " Yes\n\n"
    chat = f"<s><|user|>\n{example}{prompt(*pair)}\n<|assistant|>\n"
    row = find_row(chat, pair, Words("Yes", "No"))
    assert row is not None
    assert row.frame.opening == f"<s><|user|>\n{example}"
    assert row.frame.closing == "\n<|assistant|>\n"
    family = framed(families.find("factcg", "causal"), row.frame)
    assert family.prompt(*pair) == chat
    before, after = family.frame(pair.claim)
    assert before + "Another text." + after == chat.replace("Anna lives in Rome.", "Another text.")


def test_white_space_around_a_document_counts_for_nothing() -> None:
    """Chat templates strip a message; a plain prompt keeps what the document begins with."""
    pair = Pair("\n Anna lives in Rome.", "Anna lives.")
    bare = find_row(prompt(*pair), pair, SPACED)
    assert bare is not None
    assert bare.frame == Frame("", "", SPACED)
    chat = find_row(f"<|user|>\n{prompt(*pair).strip()}\n", pair, SPACED)
    assert chat is not None
    assert chat.frame.opening == "<|user|>\n"


def test_a_prompt_worded_otherwise_is_no_row() -> None:
    pair = Pair("Anna lives in Rome.", "Anna lives.")
    assert find_row("Anna lives in Rome. So: Anna lives. Right?", pair, SPACED) is None


def test_frames_may_hold_what_looks_like_a_templates_fields() -> None:
    family = framed(
        families.find("factcg", "causal"), Frame("{claim} {document} ", "{sep}", SPACED)
    )
    assert family.prompt("Text.", "Claim.").startswith("{claim} {document} Text.")
    assert family.prompt("Text.", "Claim.").endswith("Answer:{sep}")
