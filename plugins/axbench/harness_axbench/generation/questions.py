"""What the writer is asked while concept data are made, and how its answers are read.

The steps are those of Wu et al. 2025 (arXiv 2501.17148), §3.1 and its appendix; the wording is our
own. Every answer has a marked line ("Genre: …") or a marked rest ("Response: …"): an answer without
its mark cannot be used and is asked for again. So a refusal, which has no mark, never becomes data.
A model's thoughts up to ``</think>`` are not read.

Worked example: to the question for words of "terms related to finance" a writer answers

    Words: bank, interest, bond

    >>> parse_words("Words: bank, interest, bond")
    ['bank', 'interest', 'bond']

Each question also carries its facts, from which ``testbed-writer`` answers; real models do not see
them. Its vote is the concept's number: two concepts of the same description get independent
answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from harness.asking.assistant import Question

MOST_WORDS = 10
_WORDS_A_TOKEN = 0.75
_LONGEST_WORD = 40  # characters; what is longer is a sentence, not a word

_GENRE = """\
In which kind of text does the concept below occur most naturally? The kinds are: {genres}, where \
text means ordinary prose.

Concept: {concept}

Answer with one line of this form, naming one kind:
Genre: KIND"""

_WORDS = """\
Name up to {most} single words that are typical of the concept below and that also have another \
meaning, one that has nothing to do with the concept.

Concept: {concept}

Answer with one line of this form, or with "Words: none" if there is no such word:
Words: FIRST, SECOND, THIRD"""

_SENSE = """\
The word "{word}" is typical of this concept: {concept}

Describe in one short sentence another meaning of the word, one that has nothing to do with the \
concept. Answer with one line of this form, or with "Sense: none" if there is no such meaning:
Sense: DESCRIPTION"""

_UNRELATED = """\
Concept: {concept}
Word: {word}
Meaning of the word: {sense}

Is the word in this meaning entirely unrelated to the concept? Answer with one line of this form:
Unrelated: YES or NO"""

_RESPONSE = """\
Respond to the instruction below. {wish} Write about {words} words: the response alone, nothing \
about these directions. Begin with "Response:".

Instruction: {instruction}"""

_WITH = (
    "Work this concept into your response from its beginning, so that a reader cannot miss it, "
    "while the response still answers the instruction. Concept: {concept}."
)
_WITHOUT = (
    "Keep clear of this concept: your response has neither the concept nor words that are typical "
    "of it. Concept: {concept}."
)
_OTHER_SENSE = (
    'Use the word "{word}" early in your response, in this meaning only: {sense}. Apart from the '
    "word, keep clear of this concept: {concept}."
)


def wording() -> str:
    """A content hash of the questions: data made with another wording are other data."""
    parts = (_GENRE, _WORDS, _SENSE, _UNRELATED, _RESPONSE, _WITH, _WITHOUT, _OTHER_SENSE)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def ask_genre(concept: str, number: int, genres: Sequence[str]) -> Question:
    """Which of the genres a concept belongs to."""
    prompt = _GENRE.format(concept=concept, genres=", ".join(genres))
    return Question(prompt=prompt, facts={"write": "genre", "concept": concept}, vote=number)


def ask_words(concept: str, number: int) -> Question:
    """Up to ten words of a concept that may have another sense."""
    prompt = _WORDS.format(concept=concept, most=MOST_WORDS)
    return Question(prompt=prompt, facts={"write": "words", "concept": concept}, vote=number)


def ask_sense(concept: str, number: int, word: str) -> Question:
    """Another sense of a word."""
    facts = {"write": "sense", "concept": concept, "word": word}
    prompt = _SENSE.format(concept=concept, word=word)
    return Question(prompt=prompt, facts=facts, vote=number)


def ask_unrelated(concept: str, number: int, word: str, sense: str) -> Question:
    """Whether a sense of a word is entirely unrelated to the concept."""
    facts = {"write": "unrelated", "concept": concept, "word": word, "sense": sense}
    prompt = _UNRELATED.format(concept=concept, word=word, sense=sense)
    return Question(prompt=prompt, facts=facts, vote=number)


def ask_response(
    concept: str,
    number: int,
    instruction: str,
    *,
    genre: str,
    category: str,
    tokens: int,
    word: str = "",
    sense: str = "",
) -> Question:
    """A response to an instruction.

    Args:
        concept: The concept's description.
        number: The concept's number.
        instruction: What to respond to.
        genre: The instruction's genre; a fact for the testbed's writer.
        category: ``positive`` (with the concept), ``negative`` (without it) or ``hard negative``
            (with ``word`` in the sense ``sense``).
        tokens: What is kept of the response, in tokens; the writer is told a length in words.
        word: A word of the concept.
        sense: Another sense of the word.
    """
    wish = {"positive": _WITH, "negative": _WITHOUT, "hard negative": _OTHER_SENSE}[category]
    wish = wish.format(concept=concept, word=word, sense=sense.rstrip("."))
    words = max(1, round(tokens * _WORDS_A_TOKEN))
    prompt = _RESPONSE.format(wish=wish, words=words, instruction=instruction)
    facts = {"write": category, "concept": concept, "instruction": instruction, "genre": genre}
    if word:
        facts |= {"word": word, "sense": sense}
    return Question(prompt=prompt, facts=facts, vote=number)


def ask_plain(instruction: str, genre: str) -> Question:
    """The instruction as it is, which makes a training negative."""
    facts = {"write": "plain", "instruction": instruction, "genre": genre}
    return Question(prompt=instruction, facts=facts)


def parse_genre(answer: str, genres: Sequence[str]) -> str | None:
    """The genre that the answer names; None unless it is exactly one of the genres."""
    named = _last_line("genre", answer).rstrip(".").casefold()
    return named if named in genres else None


def parse_words(answer: str) -> list[str] | None:
    """The words, at most ten and each once; none for "none"; None where no word can be read."""
    parts = re.split(r"[,;\n]", _rest("words", answer))
    words = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", part).strip(" \t.\"'*`") for part in parts]
    if words and words[0].casefold() == "none":
        return []
    short = [word for word in words if word and len(word) <= _LONGEST_WORD]
    unique: dict[str, str] = {}
    for word in short:
        unique.setdefault(word.casefold(), word)
    return list(unique.values())[:MOST_WORDS] or None


def parse_sense(answer: str) -> str | None:
    """The sense; empty for "none"; None where none can be read."""
    sense = _last_line("sense", answer)
    if not sense:
        return None
    return "" if sense.rstrip(".").casefold() == "none" else sense


def parse_unrelated(answer: str) -> bool | None:
    """The verdict; None where none can be read."""
    verdict = _last_line("unrelated", answer).rstrip(".").casefold()
    return {"yes": True, "no": False}.get(verdict)


def parse_response(answer: str) -> str | None:
    """What stands behind "Response:"; None where there is nothing."""
    return _rest("response", answer) or None


def parse_plain(answer: str) -> str | None:
    """The whole answer, stripped; None where it is empty."""
    return answer.strip() or None


def _behind(name: str, answer: str) -> list[str]:
    """What stands behind each ``name:`` that begins a line, plain or in bold, up to the end."""
    spoken = answer.rpartition("</think>")[2]
    mark = rf"^[ \t#>]*(?P<bold>\*\*|__)?{name}(?(bold)(?::(?P=bold)|(?P=bold):)|:)"
    found = re.finditer(mark, spoken, re.IGNORECASE | re.MULTILINE)
    return [spoken[match.end() :] for match in found]


def _last_line(name: str, answer: str) -> str:
    """What stands behind the last ``name:``, up to the line's end; empty where nothing does."""
    found = _behind(name, answer)
    return found[-1].partition("\n")[0].strip(" \t\r*_`\"'[]<>") if found else ""


def _rest(name: str, answer: str) -> str:
    """What stands behind the first ``name:``, to the end; empty where nothing does."""
    found = _behind(name, answer)
    return found[0].strip() if found else ""
