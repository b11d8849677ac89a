"""Yes or No as a language model's next word: both log-probabilities for one token of generation.

lm-eval's ``vllm`` scores "… Answer: Yes" and "… Answer: No" as two texts, by the log-probability of
each of their tokens (vLLM's ``prompt_logprobs``), and for that computes the whole prompt anew,
twice: such requests do not read the prefix cache (``SamplingParams.skip_reading_prefix_cache``).
Here the prompt is read once, one token is generated, and vLLM is asked for the log-probabilities of
two given tokens at that place (``SamplingParams.logprob_token_ids``).

The margin log P(Yes) − log P(No) is exact. Both figures are gathered from the model's log-softmax
over the whole vocabulary in float32, before temperature, penalties or masks
(``logprobs_mode=raw_logprobs``); neither word has to be among the likeliest, and which token is
generated does not matter. With the logits 3.1 of Yes and 1.6 of No it is 1.5, whatever the others.

The prompt is what the tokens of prompt + " Yes" and of prompt + " No" have in common, and the words
are the one token each that follows. So the margin equals that of the two texts.

Prompts are asked in the order of their tokens, so that those with a common beginning (a document)
follow each other: the depth-first order of the tree of prefixes, in which a prefix is computed once
though the cache holds no more than one prompt (Zheng et al. 2024, *SGLang*, arXiv 2312.07104,
theorem 3.1).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from harness import HarnessError
from harness.asking.special import TextEncoder
from harness.asking.store import Store, key_of

Ids = npt.NDArray[np.int32]

_PARTNER = {"Yes": "No", "yes": "no", "YES": "NO"}
_SLICE = 256  # prompts a call of the engine: what a kill may lose


class Words(NamedTuple):
    """How a task writes its two answers, with the space before them."""

    yes: str
    no: str


def words(continuation: str) -> tuple[Words, bool] | None:
    """Both answers that go with one of them, and whether that one is Yes; None for other texts.

    >>> words(" No")
    (Words(yes=' Yes', no=' No'), False)
    """
    bare = continuation.lstrip()
    space = continuation[: len(continuation) - len(bare)]
    for yes, no in _PARTNER.items():
        if bare in (yes, no):
            return Words(space + yes, space + no), bare == yes
    return None


class Question(NamedTuple):
    """A prompt's tokens, and the tokens that Yes and No are behind it."""

    ids: Ids
    yes: int
    no: int


@dataclass(frozen=True)
class Reading:
    """What the model says next.

    ``yes`` and ``no`` are log-probabilities (nats), ``likeliest`` is the token with the highest.
    ``cached_tokens`` of the ``prompt_tokens`` came from vLLM's prefix cache, and ``seconds`` is the
    prompt's share of its call's time, by the tokens computed; both are 0 of a reading that the
    store had.
    """

    yes: float
    no: float
    likeliest: int
    prompt_tokens: int
    cached_tokens: int = 0
    seconds: float = 0.0

    @property
    def margin(self) -> float:
        """Log-odds of Yes against No, in nats."""
        return self.yes - self.no


class Encoder:
    """A tokenizer that gives the tokens of a prompt as they stand before either word.

    Called as the (fast) tokenizer itself is, with the same options; ``add_special_tokens=False``
    gives the tokens of a text that is no prompt.

    Args:
        tokenizer: The model's.
        words: The two answers.
        example: One of the prompts, behind which the words are read.
        add_bos_token: lm-eval's argument of that name; None leaves it to the tokenizer. A prompt
            that begins with the beginning-of-sequence token, as chat templates write it, gets none.

    Raises:
        HarnessError: A word is not one token behind the example.

    Attributes:
        yes: The token that Yes is.
        no: The token that No is.
    """

    def __init__(
        self, tokenizer: Any, words: Words, example: str, *, add_bos_token: bool | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._words = words
        self._encode = TextEncoder(tokenizer, add_bos_token)
        yes, no = self._encode([example + word for word in words], verbose=False)["input_ids"]
        if len(yes) != len(no) or yes[:-1] != no[:-1] or yes[-1] == no[-1]:
            raise self._many_tokens(example)
        self.yes: int = yes[-1]
        self.no: int = no[-1]

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """The tokenizer's added tokens by their ids."""
        found: Mapping[int, Any] = self._tokenizer.added_tokens_decoder
        return found

    def __call__(self, text: str | Sequence[str], **options: Any) -> Mapping[str, list[Any]]:
        """The tokenizer's output for one text or several, without the word's token.

        Raises:
            HarnessError: A word is not one token behind a text.
        """
        if options.get("add_special_tokens") is False:
            plain: Mapping[str, list[Any]] = self._tokenizer(text, **options)
            return plain
        texts = [text] if isinstance(text, str) else list(text)
        batch = self._encode([one + self._words.yes for one in texts], **options)
        for one, ids in zip(texts, batch["input_ids"], strict=True):
            if ids[-1] != self.yes:
                raise self._many_tokens(one)
        found = {name: [row[:-1] for row in rows] for name, rows in batch.items()}
        return {name: rows[0] for name, rows in found.items()} if isinstance(text, str) else found

    def _many_tokens(self, text: str) -> HarnessError:
        written = " and ".join(
            f"{word!r} is {self._tokenizer.tokenize(word)}" for word in self._words
        )
        return HarnessError(
            f"each answer must be one token of its own behind {text[-20:]!r}, but in this model's "
            f"tokenizer {written}; give other answers, --model_args no=WORD,yes=WORD, or use "
            "--model vllm, which scores longer ones"
        )


def by_prefix(questions: Sequence[Question]) -> list[int]:
    """Places of the questions in the order of their tokens: common beginnings follow each other."""
    return sorted(range(len(questions)), key=lambda k: questions[k].ids.astype(">i4").tobytes())


class Reader:
    """Asks a vLLM engine for the next word.

    Args:
        generate: ``LLM.generate`` with what all calls have in common.
        identity: What all readings depend on: weights, number format, settings; JSON-able.
        store: Keeps every reading; those it has are not computed again.
        order: Gives the order in which questions are asked.
    """

    def __init__(
        self,
        generate: Callable[..., Sequence[Any]],
        *,
        identity: Mapping[str, Any],
        store: Store | None = None,
        order: Callable[[Sequence[Question]], list[int]] = by_prefix,
    ) -> None:
        self._generate = generate
        self._identity = dict(identity)
        self._store = store
        self.order = order

    def read(self, questions: Sequence[Question], bar: tqdm[None]) -> list[Reading]:
        """Readings in the order of the questions.

        Args:
            questions: Distinct ones.
            bar: Moved on by each question.

        Raises:
            HarnessError: The model gives NaN.
        """
        found = self._known(questions)
        missing = [place for place in range(len(questions)) if place not in found]
        missing = [missing[k] for k in self.order([questions[place] for place in missing])]
        bar.update(len(found))
        for start in range(0, len(missing), _SLICE):
            places = missing[start : start + _SLICE]
            asked = [questions[place] for place in places]
            for place, question, reading in zip(places, asked, self._ask(asked), strict=True):
                found[place] = reading
                self._keep(question, reading)
            bar.update(len(places))
        return [found[place] for place in range(len(questions))]

    def _ask(self, questions: Sequence[Question]) -> list[Reading]:
        from vllm import SamplingParams, TokensPrompt

        started = time.monotonic()
        outputs = self._generate(
            [TokensPrompt(prompt_token_ids=question.ids.tolist()) for question in questions],
            sampling_params=[
                SamplingParams(
                    temperature=0,
                    max_tokens=1,
                    logprob_token_ids=[question.yes, question.no],
                    detokenize=False,
                )
                for question in questions
            ],
        )
        cached = [output.num_cached_tokens or 0 for output in outputs]
        computed = [len(q.ids) - known for q, known in zip(questions, cached, strict=True)]
        pace = (time.monotonic() - started) / sum(computed)  # seconds a token
        return [
            _reading(question, output.outputs[0], known, pace * own)
            for question, output, known, own in zip(
                questions, outputs, cached, computed, strict=True
            )
        ]

    def _key(self, question: Question) -> str:
        ids, yes, no = question
        return key_of(**self._identity, ids=ids.tobytes().hex(), yes=yes, no=no)

    def _known(self, questions: Sequence[Question]) -> dict[int, Reading]:
        if self._store is None:
            return {}
        found = {}
        for place, question in enumerate(questions):
            value = self._store.get(self._key(question))
            if value is not None:
                yes, no, likeliest = value
                found[place] = Reading(yes, no, likeliest, len(question.ids))
        return found

    def _keep(self, question: Question, reading: Reading) -> None:
        if self._store is not None:
            value = [reading.yes, reading.no, reading.likeliest]
            self._store.put(self._key(question), value)


def _reading(question: Question, answer: Any, cached: int, seconds: float) -> Reading:
    found = answer.logprobs[0]
    yes, no = found[question.yes].logprob, found[question.no].logprob
    if math.isnan(yes) or math.isnan(no):
        raise HarnessError("the model gives NaN in its number format; try dtype=float32")
    return Reading(yes, no, answer.token_ids[0], len(question.ids), cached, seconds)
