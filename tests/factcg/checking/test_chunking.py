from __future__ import annotations

import itertools
import re
import time

import pytest
from harness_factcg.checking import families
from harness_factcg.checking.chunking import (
    Chunker,
    chunks,
    count_spaced,
    count_words,
    fitted,
    halves,
    pack,
    split_sentences,
)
from harness_factcg.checking.planning import Planner
from hypothesis import given
from hypothesis import strategies as st

from factcg import tiny

WORDS = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(["Dr.", "U.S.", "end.", "Why?", "\n", "3.5", "“Yes!”", "e.g.", "...", "好。"]),
)
TEXTS = st.lists(WORDS, max_size=60).map(" ".join)


def solid(text: str) -> str:
    return re.sub(r"\s", "", text)


@given(TEXTS, st.integers(1, 20))
def test_chunks_keep_every_sign_in_order_and_none_is_empty_or_too_long(text, size):
    found = chunks(text, size)
    assert solid("".join(found)) == solid(text)
    for chunk in found:
        assert chunk == chunk.strip() != ""
        assert 1 <= count_words(chunk) <= size


@given(TEXTS, st.integers(12, 40))
def test_words_that_fit_are_never_broken(text, size):
    assert " ".join(chunks(text, size)).split() == text.split() or any(
        count_words(word) > size or "。" in word or "！" in word or "？" in word
        for word in text.split()
    )


@given(TEXTS, st.integers(1, 20))
def test_packing_is_greedy(text, size):
    found = chunks(text, size)
    for chunk, following in itertools.pairwise(found):
        first = split_sentences(following)[0]
        if count_words(first) < size:
            whole = [s for s in split_sentences(text) if first in s]
            broken = any(count_words(sentence) > size for sentence in whole)
            assert broken or count_words(chunk) + count_words(first) > size


@given(TEXTS)
def test_sentences_keep_every_sign(text):
    found = split_sentences(text)
    assert solid("".join(found)) == solid(text)
    assert all(sentence == sentence.strip() != "" for sentence in found)


@given(TEXTS.filter(lambda text: len(text.strip()) > 1))
def test_halves_are_shorter_and_lose_nothing(text):
    first, second = halves(text)
    assert first.strip()
    assert second.strip()
    assert solid(first + second) == solid(text)


def test_sentences_of_a_real_paragraph():
    text = (
        'Dr. J. R. Smith of Acme Inc. met Sen. Lee in the U.S. on Jan. 5, e.g. for tea. "Why now?" '
        "he asked. It cost 3.5 million... perhaps. No. 7 won! Was it “fair?” Yes.\nTITLE: News\n\n"
        "他来了。她走了。 End"
    )
    assert split_sentences(text) == [
        "Dr. J. R. Smith of Acme Inc. met Sen. Lee in the U.S. on Jan. 5, e.g. for tea.",
        '"Why now?" he asked.',
        "It cost 3.5 million... perhaps.",
        "No. 7 won!",
        "Was it “fair?”",
        "Yes.",
        "TITLE: News",
        "他来了。",
        "她走了。",
        "End",
    ]


def test_word_tokens_by_hand():
    assert count_words("Anna's dog, 3.5 kg, is well-fed.") == 9
    assert count_words(" \n") == 0


def test_packing_by_hand():
    text = "Anna lives in Rome. Ben plays chess. Clara owns a cat."
    assert chunks(text, 10) == ["Anna lives in Rome.\nBen plays chess.", "Clara owns a cat."]
    assert chunks(text, 9) == ["Anna lives in Rome.\nBen plays chess.", "Clara owns a cat."]
    assert chunks(text, 8) == ["Anna lives in Rome.", "Ben plays chess.", "Clara owns a cat."]
    assert chunks(text, 3) == [
        "Anna lives in",
        "Rome.",
        "Ben plays",
        "chess.",
        "Clara owns a",
        "cat.",
    ]
    assert chunks("?!?!? a", 2) == ["?!", "?!", "? a"]


def test_no_text_no_chunks():
    assert chunks(" \n ") == []
    with pytest.raises(ValueError, match="holds nothing"):
        chunks("a", 0)
    with pytest.raises(ValueError, match="cannot be halved"):
        halves(" a ")


def test_halves_prefer_sentences_then_words_then_signs():
    assert halves("Anna lives. Ben sings. I am.") == ("Anna lives.", "Ben sings.\nI am.")
    assert halves("one two three") == ("one two", "three")
    assert halves("abcde") == ("ab", "cde")


@pytest.mark.parametrize("text", ["." * 50_000, "a" * 50_000, "a." * 25_000, "( " * 25_000])
def test_degenerate_texts_take_no_time(text):
    assert solid("".join(chunks(text))) == solid(text)


TOKENIZERS = {"bytes": tiny.causal_tokenizer(), "unigrams": tiny.deberta_tokenizer()}


def count_tokens(kind):
    def count(texts):
        encode = TOKENIZERS[kind]
        return [len(encode(text, add_special_tokens=False)["input_ids"]) for text in texts]

    return count


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("joint", [" ", "\n"])
@given(text=TEXTS, size=st.integers(4, 40))
def test_chunks_in_tokens_keep_everything_and_the_budget(kind, joint, text, size):
    count = count_tokens(kind)
    found = Chunker(size, joint=joint, count=count)([text])[text]
    assert solid("".join(found)) == solid(text)
    for chunk, length in zip(found, count(found), strict=True):
        assert chunk == chunk.strip() != ""
        assert length <= size or len(chunk) == 1


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=TEXTS, size=st.integers(8, 40))
def test_packing_in_tokens_is_greedy(kind, text, size):
    count = count_tokens(kind)

    def longest(sentence):
        return max(count([sentence, " " + sentence]))

    sentences = split_sentences(text)
    if all(longest(sentence) <= size for sentence in sentences):
        rest, left = [], size
        for sentence in sentences:
            if not rest or longest(sentence) > left:
                rest.append([])
                left = size
            rest[-1].append(sentence)
            left -= longest(sentence)
        found = Chunker(size, joint=" ", count=count)([text])[text]
        assert found == [" ".join(part) for part in rest]


def test_chunks_in_tokens_by_hand():
    # letters, with one for the joint where there is one
    chunker = Chunker(10, joint=" ", count=lambda texts: [len(text) for text in texts])
    assert chunker(["Ab c. De f. Ghij klm no.", "Xy."]) == {
        "Ab c. De f. Ghij klm no.": ["Ab c.", "De f.", "Ghij", "klm no."],
        "Xy.": ["Xy."],
    }


def test_a_document_may_stay_whole():
    assert Chunker(None)([" One.  Two.\nThree. ", " "]) == {
        " One.  Two.\nThree. ": ["One.  Two.\nThree."],
        " ": [],
    }


def test_chunks_of_another_joint():
    assert Chunker(10, joint=" ")(["One. Two.\nThree."]) == {
        "One. Two.\nThree.": ["One. Two. Three."]
    }


def test_packing_lets_a_longer_text_stand_alone():
    assert pack([("a", 1), ("b", 9), ("c", 2), ("d", 2)], 4, "-") == ["a", "b", "c-d"]


@given(st.lists(st.text("ab", min_size=1, max_size=30), max_size=8), st.integers(1, 10))
def test_everything_is_measured_once_and_nothing_is_lost(texts, most):
    seen = []

    def measure(some):
        seen.extend(some)
        return [len(text) if len(text) <= most else None for text in some]

    lengths, parts = fitted(texts, measure, halves)
    assert len(seen) == len(set(seen))
    assert set(parts) == set(texts)
    for text, pieces in parts.items():
        assert "".join(pieces) == text
        assert all(lengths[piece] == len(piece) <= most for piece in pieces)


def test_words_between_white_space():
    """Commas, stops and dashes are word tokens; between white space only a dash alone is a word."""
    document = "Anna, Ben: run. Clara – David sing. Emma's well."
    assert [count_words(s) for s in split_sentences(document)] == [6, 5, 3]
    assert [count_spaced(s) for s in split_sentences(document)] == [3, 4, 2]
    assert chunks(document, 7, " ", count_spaced) == [
        "Anna, Ben: run. Clara – David sing.",
        "Emma's well.",
    ]
    assert chunks(document, 9, " ", count_spaced) == [document]
    assert chunks("a-b-c d e f g.", 2, " ", count_spaced) == ["a-b-c d", "e f", "g."]


def test_minichecks_t5_packs_as_its_authors_do():
    """500 words between white space; a sentence of 3 such words has 5 word tokens."""
    document = " ".join(f"Room-{k}, see page." for k in range(300))
    family = families.find("minicheck", "seq2seq")
    planner = Planner(tiny.t5_tokenizer(), family, max_length=10**6)
    assert [len(chunk.split()) for chunk in planner.chunks(document)] == [498, 402]


def test_long_lines_are_split_in_linear_time():
    for unit in ("Anna is in Rome, as ever. ", "Anna. ", "word "):
        document = unit * (1_000_000 // len(unit))
        started = time.process_time()
        split_sentences(document)
        assert time.process_time() - started < 2
    started = time.process_time()
    first, second = halves("word " * 200_000)
    assert abs(len(first) - len(second)) < 10 and time.process_time() - started < 2
