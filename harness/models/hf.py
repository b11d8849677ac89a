"""The base of a wrapper of lm-eval's ``hf``: each forward pass with the rows that it is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.artefacts.checksums import fingerprint
from harness.errors import HarnessError
from harness.models.draws import own_draws
from harness.models.requests import Place, Prompt, in_groups, treated
from harness.models.scoring import Turn, turns
from harness.models.wrapping import Wrapper


class HFWrapper(Wrapper):
    """Put in front of ``HFLM`` or a subclass of it.

    Sampled answers belong to their request: each row draws from a stream of its own (``draws``), so
    that they are the same at any batch size and beside any other rows.

    Attributes:
        uniform: Whether all rows of a batch must have equal notes.
    """

    no_matter = frozenset({"batch_size", "max_batch_size", "device"})
    uniform: bool = False
    model: Any
    tokenizer: Any
    _model: Any
    backend: str
    _rows: Sequence[Prompt | None] = ()
    _row_by_row = False
    _turn: Turn | None = None

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        found["settings"]["dtype"] = str(self.model.dtype)
        if isinstance(peft := self.arguments.get("peft"), str):
            found["settings"]["adapter"] = str(fingerprint(peft))
        return found

    @contextmanager
    def standing_in(self, name: str, model: Any) -> Iterator[None]:
        """A context in which another model answers, as it is: without the notes of this one.

        Args:
            name: Its id or path, with whatever else tells it apart.
            model: A transformers model with the same tokenizer.
        """
        own, self._model, self.stand_in = self._model, model, name
        try:
            yield
        finally:
            self._model, self.stand_in = own, None

    def autocast(self) -> AbstractContextManager[Any]:
        """The mixed precision of lm-eval's ``hf``, for passes made beside its own."""
        dtype = self.mixed_precision_dtype
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: the model's, and the tokenizer's end of turn."""
        ends = self.model.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        return frozenset(token for token in (*named, self.eot_token_id) if token is not None)

    # Whole texts: each row by its own notes, where the model can tell its rows apart

    def score(self, kind: str, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        stock = super().score
        if kind == "loglikelihood" and self.backend == "causal" and not self.uniform:
            self._row_by_row = True
            try:
                return stock(kind, requests, disable_tqdm)
            finally:
                self._row_by_row = False

        def in_context(group: list[Any]) -> list[Any]:
            with self.passes([_prompt(group[0])], None):
                return stock(kind, group, disable_tqdm)

        if self.world_size > 1 and len(set(map(treated, requests))) > 1:
            raise HarnessError(
                f"{kind} of rows that are treated differently runs in one process only"
            )
        return in_groups(requests, in_context)

    def _loglikelihood_tokens(self, requests: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        stock = super()._loglikelihood_tokens
        if not self._row_by_row:
            return stock(requests, *args, **kwargs)
        answers: list[Any] = [None] * len(requests)
        for turn in turns(requests, self.max_length):
            self._turn = turn
            try:
                made = stock([requests[i] for i in turn.members], *args, **kwargs)
            finally:
                self._turn = None
            for i, answer in zip(turn.members, made, strict=True):
                answers[i] = answer
        return answers

    def _model_call(self, inps: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._turn is None:
            return super()._model_call(inps, *args, **kwargs)
        with self.passes(self._turn.rows(inps.tolist()), None):
            return super()._model_call(inps, *args, **kwargs)

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> Any:
        """Try batches of made-up tokens, all rows treated as some request is."""
        if self._turn is None:
            return super()._detect_batch_size(*args, **kwargs)
        turn, self._turn = self._turn, None
        try:
            with self.passes([next(iter(turn.prompts.values()))], None):
                return super()._detect_batch_size(*args, **kwargs)
        finally:
            self._turn = turn

    # Answers: each row by its own notes, each pass by its own positions

    def write(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        stock = super().write
        if not self.uniform:
            return stock(requests, disable_tqdm)
        return in_groups(requests, lambda group: stock(group, disable_tqdm))

    def tok_encode(self, string: str, *args: Any, **kwargs: Any) -> list[int]:
        found: list[int] = super().tok_encode(string, *args, **kwargs)
        if not args and kwargs.get("add_special_tokens") is None:
            self.warn_of_bos(self.model.config, found)
        return found

    def tok_batch_encode(self, strings: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        """Encode a batch and note whose rows they are, for the generation that follows."""
        self._rows = [s if isinstance(s, Prompt) else None for s in strings]
        ids, mask = super().tok_batch_encode([str(s) for s in strings], *args, **kwargs)
        self.warn_of_bos(self.model.config, ids[0][mask[0].bool()].tolist())
        return ids, mask

    def _model_generate(self, context: Any, max_length: int, stop: Any, **kwargs: Any) -> Any:
        rows, width = self._rows, context.shape[1]
        seeds = [row.seed if row is not None else 0 for row in rows]
        drawn = own_draws(self.model.generation_config, kwargs, seeds, width, max_length)
        mask = kwargs.get("attention_mask")
        lengths = [width] * len(rows) if mask is None else mask.sum(-1).tolist()
        with self.every_pass(rows, lengths):
            return super()._model_generate(context, max_length, stop, **(drawn or kwargs))

    @contextmanager
    def every_pass(self, rows: Sequence[Prompt | None], lengths: Sequence[int]) -> Iterator[None]:
        """A context in which ``passes`` is entered around each pass of the model in place.

        Args:
            rows: The prompt of each row; a batch of a multiple of them has copies of each.
            lengths: Tokens of each row's prompt.
        """
        if type(self).passes is Wrapper.passes:  # no part edits
            yield
            return
        open_: list[ExitStack] = []

        def begin(_module: nn.Module, args: Any, kwargs: Any) -> None:
            starts = _starts(args, kwargs)
            copies, rest = divmod(len(starts), len(rows))
            if rest:
                raise HarnessError(f"a batch of {len(starts)} rows for {len(rows)} prompts")
            spread = [k // copies for k in range(len(starts))]
            places = [Place(s, lengths[k]) for s, k in zip(starts, spread, strict=True)]
            open_.append(ExitStack())
            open_[-1].enter_context(self.passes([rows[k] for k in spread], places))

        def end(_module: nn.Module, _args: Any, _output: Any) -> None:
            open_.pop().close()

        forwarding = _forwarding(self.model)
        handles = [
            forwarding.register_forward_pre_hook(begin, with_kwargs=True),
            forwarding.register_forward_hook(end),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            while open_:  # a pass that raised
                open_.pop().close()


def _forwarding(model: Any) -> nn.Module:
    """The module that generation calls: an adapter's wrapper is not."""
    unwrap = getattr(model, "get_base_model", None)
    found: nn.Module = unwrap() if unwrap else model
    return found


def _starts(args: Any, kwargs: Any) -> list[int]:
    """The position of each row's first token in a call of a transformers model.

    Texts are padded on either side of them; a mask covers all that the model has read.
    """
    given = kwargs.get("input_ids", args[0] if args else None)
    if given is None:
        given = kwargs["inputs_embeds"]
    rows, width = given.shape[:2]
    mask, past = kwargs.get("attention_mask"), kwargs.get("cache", kwargs.get("past_key_values"))
    if isinstance(mask, Tensor) and mask.dim() == 2:
        own = mask[:, -width:]
        padded = (own.cumsum(-1) == 0).sum(-1)  # before the text, in this pass
        before = mask[:, : mask.shape[1] - width].sum(-1)
        starts: list[int] = (before - padded).tolist()
        return starts
    return [int(past.get_seq_length()) if past is not None else 0] * rows


def _prompt(request: Any) -> Prompt | None:
    prompt = request.args[0]
    return prompt if isinstance(prompt, Prompt) else None
