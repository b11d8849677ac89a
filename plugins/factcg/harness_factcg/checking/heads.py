"""What of a model's output is the answer: a classifier's logits, or those of the tokens No and Yes.

- A classifier gives log-odds of its label "supported" (``verdicts.log_odds``).
- An encoder-decoder is asked for one decoder step: m = z_Yes − z_No.
- A causal language model goes on after the prompt: m = z_Yes − z_No, which is
  log P(Yes) − log P(No).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.modeling_layers import GenericForSequenceClassification

from harness import ArtefactError, HarnessError
from harness_factcg.checking.families import Family
from harness_factcg.checking.verdicts import log_odds, supported_label


class Head(Protocol):
    """Reads answers off a model."""

    @property
    def side(self) -> str:
        """Where shorter prompts of a batch are padded: left or right."""

    def margins(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-odds [batch] of "supported" in float32, from ids and mask [batch, tokens]."""

    def read_at(self, model: Any, ids: torch.Tensor) -> torch.Tensor | None:
        """Whether a decoder is read at a position [batch, tokens]; None where it is at several."""

    def key(self) -> dict[str, Any]:
        """What a stored score depends on beside model and prompt."""


@dataclass(frozen=True)
class ClassifierHead:
    """The logits [batch, labels] of a sequence classifier."""

    supported: int
    side = "right"

    def margins(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return log_odds(model(input_ids=ids, attention_mask=mask).logits, self.supported)

    def read_at(self, model: Any, ids: torch.Tensor) -> torch.Tensor | None:
        """At the last token that is no padding, as transformers' decoders have it."""
        if not isinstance(model, GenericForSequenceClassification):
            return None
        position = torch.arange(ids.shape[1], device=ids.device)
        last: torch.Tensor = (position * (ids != model.config.pad_token_id)).argmax(1)
        return position == last[:, None]

    def key(self) -> dict[str, Any]:
        return {"supported": self.supported}


@dataclass(frozen=True)
class Seq2SeqHead:
    """The first decoder step of an encoder-decoder.

    ``no`` and ``yes`` are token ids, ``start`` is the token that decoding starts with.
    """

    no: int
    yes: int
    start: int
    side = "right"

    def margins(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        start = ids.new_full((len(ids), 1), self.start)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
        first = logits[:, 0].float()
        found: torch.Tensor = first[:, self.yes] - first[:, self.no]
        return found

    def read_at(self, model: Any, ids: torch.Tensor) -> torch.Tensor | None:
        return None

    def key(self) -> dict[str, Any]:
        return {"no_token": self.no, "yes_token": self.yes}


@dataclass(frozen=True)
class CausalHead:
    """The token after the prompt of a causal language model; ``no`` and ``yes`` are token ids."""

    no: int
    yes: int
    side = "left"

    def margins(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        options: dict[str, Any] = {"attention_mask": mask, "use_cache": False}
        takes = inspect.signature(model.forward).parameters
        if "position_ids" in takes:
            options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        if "logits_to_keep" in takes:
            options["logits_to_keep"] = 1
        last = model(input_ids=ids, **options).logits[:, -1].float()
        found: torch.Tensor = last[:, self.yes] - last[:, self.no]
        return found

    def read_at(self, model: Any, ids: torch.Tensor) -> torch.Tensor | None:
        position = torch.arange(ids.shape[1], device=ids.device)
        return (position == ids.shape[1] - 1).expand_as(ids)

    def key(self) -> dict[str, Any]:
        return {"no_token": self.no, "yes_token": self.yes}


def head_for(model: Any, tokenizer: Any, family: Family, supported: int | None = None) -> Head:
    """The head of a model.

    Args:
        model: A transformers model of the family's head.
        tokenizer: Its tokenizer.
        family: How it is asked.
        supported: Number of a classifier's label "supported", where the label names do not tell.

    Raises:
        HarnessError: There is no such label, none that can be told, or an answer is no single
            token.
        ArtefactError: An encoder-decoder's configuration does not say how decoding starts.
    """
    if family.head != "classifier":
        if supported is not None:
            raise HarnessError(
                f"supported={supported}: the checkpoint has no labels, it answers {family.no!r} or "
                f"{family.yes!r}; use no= and yes="
            )
        no, yes = answer_tokens(tokenizer, family)
        if family.head == "causal":
            return CausalHead(no, yes)
        start = getattr(model.config, "decoder_start_token_id", None)
        if start is None:
            raise ArtefactError("the checkpoint's config.json lacks decoder_start_token_id")
        return Seq2SeqHead(no, yes, start)
    config = model.config
    label = supported_label(config.id2label) if supported is None else supported
    if not 0 <= label < config.num_labels:
        raise HarnessError(f"supported={label}: the model has {config.num_labels} label(s)")
    return ClassifierHead(label)


def answer_tokens(tokenizer: Any, family: Family) -> tuple[int, int]:
    """Token ids of the answers No and Yes of a model that is no classifier.

    A causal model's answer follows the prompt, after a space unless the template ends in white
    space. An encoder-decoder's begins its output; it may also be the name of a token.

    Raises:
        HarnessError: An answer is more than one token, or both are the same.
    """
    resolved = family.resolved(tokenizer)
    found = [_answer(tokenizer, resolved, word) for word in (family.no, family.yes)]
    for word, ids in zip((family.no, family.yes), found, strict=True):
        if len(ids) != 1:
            pieces = tokenizer.convert_ids_to_tokens(ids)
            raise HarnessError(
                f"the answer {word!r} is {len(ids)} tokens of this model's tokenizer ({pieces}), "
                "where one is needed: give other answers, --model_args no=WORD,yes=WORD"
            )
    (no,), (yes,) = found
    if no == yes:
        raise HarnessError(
            f"the answers {family.no!r} and {family.yes!r} are the same token of this model's "
            "tokenizer: give other answers, --model_args no=WORD,yes=WORD"
        )
    return no, yes


def _answer(tokenizer: Any, family: Family, word: str) -> Sequence[int]:
    """Ids of an answer where it stands."""

    def encode(text: str) -> list[int]:
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [int(token) for token in ids]

    if family.head == "causal":
        prompt = family.prompt("A document.", "A claim.")
        before, all_ids = encode(prompt), encode(prompt + _space(prompt) + word)
        same = all_ids[: len(before)] == before
        return all_ids[len(before) :] if same else all_ids
    ids = encode(word)
    token = tokenizer.convert_tokens_to_ids(word)
    if len(ids) != 1 and token is not None and token != tokenizer.unk_token_id:
        return [int(token)]
    return ids


def _space(prompt: str) -> str:
    return "" if prompt[-1:].isspace() else " "
