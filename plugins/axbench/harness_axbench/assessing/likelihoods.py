"""How related and how fluent a response is, by what an unsteered model makes of it.

Of a response y with n tokens to an instruction x, in nats a token, with the empty instruction ∅:

    fluent(x, y)  = log P(y | ∅) / n
    related(x, y) = (log P(y | x) − log P(y | ∅)) / n          (pointwise mutual information)

What is much and what is little the model's own answers say: 64 of them, sampled at temperature 1 to
the instructions of the training negatives. They are fluent and related. Where one word in ten is
another answer's they are not fluent, and beside another's instruction not related. A rating is

    0 at the upper quartile of the bad ones, 2 at the lower quartile of the good ones,

a straight line between, and 0 or 2 beyond (``scale``). One word in ten is our choice, made on the
testbed. A loop is likely and not fluent: where fewer of a response's trigrams of words are
different than in nine of ten own answers, its fluency falls in proportion.

The measure of a local model is kept in the cache folder, and taken once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from harness import ArtefactError, HarnessError
from harness.artefacts.cache import cache_folder
from harness.artefacts.checksums import fingerprint
from harness.artefacts.reading import read_record
from harness.artefacts.writing import write_json
from harness.models.checkpoints import not_loaded, place_of
from harness_axbench.assessing.scale import Scale

OWN = 64
TOKENS = 128
"""Of an own answer, at most; as the tasks' responses."""
GARBLED = 0.1
"""Share of words that make an answer not fluent."""
_SEED = 42
_BATCH = 32
"""Own answers written at once, whatever the batch size: what is drawn depends on it."""
VERSION = 1
"""Of how the measure is taken."""
log = logging.getLogger(__name__)
Pair = tuple[str, str]
"""An instruction and a response."""


@dataclass(frozen=True)
class Measure:
    """What is much and what is little, by a model's own answers.

    Args:
        related: From relatedness to its rating.
        fluent: From fluency to its rating.
        varied: Share of trigrams that are different, which nine of ten own answers have.
    """

    related: Scale
    fluent: Scale
    varied: float


class Likelihoods:
    """An unsteered model, and its own answers as the measure.

    Args:
        pretrained: A transformers model: its folder, its id, or ``testbed:NAME``.
        instructions: What its own answers are to.
        options: Further arguments of lm-eval's ``hf``: revision, dtype, device, batch_size.

    Raises:
        HarnessError: The model cannot be loaded.
    """

    def __init__(self, pretrained: str, instructions: Sequence[str], **options: Any) -> None:
        import torch
        from lm_eval.models.huggingface import HFLM

        place = place_of(pretrained)
        self._content = fingerprint(place)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            options = {"device": device, "batch_size": _BATCH} | options
            self._lm: Any = HFLM(place, **options)
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as cause:
            raise HarnessError(f"judge 'proxy': {not_loaded(pretrained, place, cause)}") from cause
        self._options = {name: str(value) for name, value in options.items()}
        self._instructions = list(dict.fromkeys(instructions))[:OWN]
        self._known: dict[Pair, float] = {}

    def ratings(self, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
        """Relatedness and fluency of each response to its instruction; 0 of an empty one."""
        measure = self._measure
        bare = self._nats([("", response) for _, response in pairs])
        given = self._nats(pairs)
        return [
            (
                measure.related.rating(one - none),
                measure.fluent.rating(none) * min(1.0, different(response) / measure.varied),
            )
            if response.strip()
            else (0.0, 0.0)
            for (_, response), one, none in zip(pairs, given, bare, strict=True)
        ]

    @cached_property
    def _measure(self) -> Measure:
        place = self._kept()
        if place is not None and place.is_file():
            with suppress(ArtefactError):  # a damaged one is taken again
                return read_record(place, Measure)
        measure = self._taken()
        if place is not None:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_json(place, asdict(measure))
            except (OSError, HarnessError) as cause:
                log.warning("the proxy's measure is not kept: %s", cause)
        return measure

    def _kept(self) -> Path | None:
        """Where the measure is kept, by all that it depends on; None for a model on the hub."""
        if self._content is None:
            return None
        on = {
            "version": VERSION,
            "model": self._content,
            "options": self._options,
            "instructions": self._instructions,
            "software": {name: version(name) for name in ("lm_eval", "torch", "transformers")},
        }
        key = hashlib.sha256(json.dumps(on, sort_keys=True).encode()).hexdigest()[:16]
        return cache_folder() / "measures" / f"{key}.json"

    def _taken(self) -> Measure:
        answers = self._answers()
        own = [pair for pair in zip(self._instructions, answers, strict=True) if pair[1].strip()]
        if len(own) < 2:
            raise HarnessError("judge 'proxy': the model answers nothing; name another pretrained")
        texts = [text for _, text in own]
        bare = self._nats([("", text) for text in texts])
        moved = self._nats([(own[place - 1][0], text) for place, text in enumerate(texts)])
        related = Scale.between(
            np.subtract(moved, bare).tolist(), np.subtract(self._nats(own), bare).tolist()
        )
        garbled = self._nats([("", text) for text in _garbled(texts)])
        fluent = Scale.between(garbled, bare)
        if related is None or fluent is None:
            what = "sentences from garbled ones" if related else "answers to one instruction from "
            raise HarnessError(
                f"judge 'proxy': the model's likelihoods do not tell {what}"
                f"{'' if related else 'those to another'}: name another model as pretrained"
            )
        varied = float(np.quantile([different(text) for text in texts], 0.1))
        return Measure(related, fluent, max(varied, 1e-9))

    def _answers(self) -> list[str]:
        """The model's own answers, the same each time."""
        import torch

        options = {"until": [], "max_gen_toks": TOKENS, "do_sample": True, "temperature": 1.0}
        asked = [
            _request("generate_until", self._context(one), options) for one in self._instructions
        ]
        given, self._lm.batch_size_per_gpu = self._lm.batch_size_per_gpu, _BATCH
        try:
            with torch.random.fork_rng():
                torch.manual_seed(_SEED)
                return list(self._lm.generate_until(asked, disable_tqdm=True))
        finally:
            self._lm.batch_size_per_gpu = given

    def _nats(self, pairs: Sequence[Pair]) -> list[float]:
        """Nats a token, log P of each response given its instruction; 0 of an empty one."""
        new = [p for p in sorted(set(pairs)) if p not in self._known and p[1].strip()]
        asked = [_request("loglikelihood", self._context(i), response) for i, response in new]
        found = self._lm.loglikelihood(asked, disable_tqdm=True) if asked else []
        for pair, (nats, _) in zip(new, found, strict=True):
            tokens = self._lm.tok_encode(pair[1], add_special_tokens=False)
            self._known[pair] = nats / max(1, len(tokens))
        return [self._known.get(pair, 0.0) for pair in pairs]

    def _context(self, instruction: str) -> str:
        """What the model answers to: the chat template's, where its tokenizer has one."""
        if not getattr(self._lm.tokenizer, "chat_template", None):
            return instruction
        turn = [{"role": "user", "content": instruction}]
        return str(self._lm.apply_chat_template(turn))


def _garbled(texts: Sequence[str]) -> list[str]:
    """The texts with one word in ten, at least one, replaced by a word of any of them."""
    rng = random.Random(_SEED)
    bag = [word for text in texts for word in text.split()]
    found = []
    for text in texts:
        words = text.split()
        for place in rng.sample(range(len(words)), max(1, round(GARBLED * len(words)))):
            words[place] = rng.choice(bag)
        found.append(" ".join(words))
    return found


def _request(kind: str, *arguments: Any) -> Any:
    from lm_eval.api.instance import Instance

    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def different(text: str) -> float:
    """The share of a text's trigrams of words that are different; 1 where it has none.

    Example:
        >>> different("so it goes so it goes so it")
        0.5
    """
    words = text.split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0
