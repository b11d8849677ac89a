r"""``hf-pair``: a target with a drafter beside it, measured along the target's own answers.

    lm_eval --model hf-pair --model_args pretrained=TARGET,drafter=DRAFTER \
        --tasks specdecode_coupling …

Rows with ``coupling_draws`` are answered by the target, x_t = argmax_v [ln p_t(v) + G(k, t, v)]
(Daliri, Musco and Suresh 2024, arXiv 2408.07978), with k of the seed and the prompt. At each token
p_t and the drafter's q_t on the same prefix are compared (``coupling``); draw r = 1 … R has the key
of the prompt's r-th repeat. All other requests are the target's alone, as with lm-eval's ``hf``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from tqdm import tqdm

from harness.errors import HarnessError
from harness.responses import Completion
from harness_specdecode.coupling import closed_forms, record, sampled_hits
from harness_specdecode.couplings import gumbel_sample
from harness_specdecode.data import DRAWS
from harness_specdecode.noise import Noise, request_key
from harness_specdecode.stepping import Stepper
from harness_specdecode.tasks import TRACE

_Base: Any = object  # whatever the mixin is put in front of
_AUTO_BATCH = 8
_MEASURED = ("until", "max_gen_toks", "do_sample", "temperature")

log = logging.getLogger(__name__)


class PairMixin(_Base):  # type: ignore[misc]  # lm-eval is untyped
    """Puts a drafter beside an ``HFLM`` or a subclass of it; put it in front of that class.

    Args:
        pretrained: The target: model id or path, ``testbed:NAME``, or a loaded model.
        drafter: The drafter: model id or path, or ``testbed:NAME``; of the same vocabulary.
        drafter_revision: The drafter's revision on the hub.
        drafter_dtype: Its weights' dtype; ``auto`` takes the checkpoint's.
        seed: Seed of the shared noise.
        **kwargs: As for ``HFLM``.

    Raises:
        HarnessError: A model cannot be loaded, or the two do not share a vocabulary.
    """

    model: Any
    tokenizer: Any

    def __init__(
        self,
        pretrained: Any,
        *,
        drafter: str | None = None,
        drafter_revision: str = "main",
        drafter_dtype: str = "auto",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        from harness.testbed import resolve

        if not drafter:
            raise HarnessError("no drafter: give --model_args pretrained=TARGET,drafter=DRAFTER")
        path = resolve(pretrained) if isinstance(pretrained, str) else pretrained
        try:
            super().__init__(pretrained=path, **kwargs)
        except (OSError, ValueError, AssertionError, RuntimeError, TypeError) as cause:
            raise HarnessError(f"model {pretrained} cannot be loaded: {cause}") from cause
        if self.backend != "causal":
            raise HarnessError(f"model {pretrained} is no causal language model")
        self._drafter_name = drafter
        self.drafter = self._opened(resolve(drafter), drafter_revision, drafter_dtype)
        self.noise = Noise(int(seed), self.device)

    def _opened(self, path: str, revision: str, dtype: str) -> Any:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
            model = AutoModelForCausalLM.from_pretrained(path, revision=revision, dtype=dtype)
        except (OSError, ValueError, AttributeError, AssertionError, RuntimeError) as cause:
            raise HarnessError(f"drafter {self._drafter_name} cannot be loaded: {cause}") from cause
        own, other = self.tokenizer.get_vocab(), tokenizer.get_vocab()
        if own != other:
            differing = len(set(own.items()) ^ set(other.items()))
            raise HarnessError(
                f"drafter {self._drafter_name} has another vocabulary than the target "
                f"({len(other)} and {len(own)} tokens, {differing} entries differ): take a drafter "
                f"with the target's tokenizer"
            )
        if model.num_parameters() > self.model.num_parameters():
            log.warning("drafter %s is larger than the target", self._drafter_name)
        return model.eval().requires_grad_(False).to(self.device)

    def set_cache_hook(self, cache_hook: Any) -> None:
        if getattr(cache_hook, "dbdict", None) is not None:
            raise HarnessError(
                "--use_cache keeps answers by prompt alone, and what was measured depends on the "
                "drafter: leave it out"
            )
        super().set_cache_hook(cache_hook)

    def get_model_info(self) -> dict[str, Any]:
        """What the results say of the model."""
        return dict(super().get_model_info()) | {
            "drafter": self._drafter_name,
            "drafter_num_parameters": self.drafter.num_parameters(),
            "drafter_dtype": str(self.drafter.dtype),
            "noise_seed": self.noise.seed,
        }

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        measured = [i for i, request in enumerate(requests) if _is_measured(request)]
        plain = [i for i, request in enumerate(requests) if not _is_measured(request)]
        answers: dict[int, Any] = {}
        if plain:
            stock = super().generate_until([requests[i] for i in plain], disable_tqdm=disable_tqdm)
            answers |= dict(zip(plain, stock, strict=True))
        bar = tqdm(total=len(measured), disable=disable_tqdm or self.rank != 0, desc="Coupling")
        with bar:
            for group in self._groups(requests, measured):
                batch = [requests[i] for i in group]
                answers |= dict(zip(group, self._measured(batch), strict=True))
                bar.update(len(group))
        return [answers[i] for i in range(len(requests))]

    def _groups(self, requests: Sequence[Any], chosen: Sequence[int]) -> Iterator[list[int]]:
        """Batches of requests with equal settings."""
        size = self.batch_size if isinstance(self.batch_size, int) else _AUTO_BATCH
        alike: dict[tuple[int, float], list[int]] = {}
        for i in chosen:
            alike.setdefault(_settings(requests[i], self.max_gen_toks), []).append(i)
        for places in alike.values():
            for start in range(0, len(places), size):
                yield places[start : start + size]

    def _measured(self, requests: Sequence[Any]) -> list[Completion]:
        """Answers of the target, with what was measured at each token."""
        length, temperature = _settings(requests[0], self.max_gen_toks)
        prompts = [self._prompt(request.args[0], length) for request in requests]
        draws = [int(request.doc[DRAWS]) for request in requests]
        keys = [
            [request_key(self.noise.seed, prompt, repeat) for repeat in range(1 + count)]
            for prompt, count in zip(prompts, draws, strict=True)
        ]
        records: list[list[dict[str, Any]]] = [[] for _ in requests]
        active = list(range(len(requests)))
        for t, p, q, tokens in self._walk(prompts, [row[0] for row in keys], length, temperature):
            for row, closed in zip(active, closed_forms(p[active], q[active]), strict=True):
                hits = sampled_hits(p[row], q[row], self.noise, keys[row][1:], t)
                at = {"position": t, "token": int(tokens[row])}
                records[row].append(at | record(closed, hits, draws[row]))
            active = [row for row in active if records[row][-1]["token"] not in self._ends()]
            if not active:
                break
        return [
            Completion(
                self.tok_decode([at["token"] for at in found]),
                {TRACE: {"draws": count, "temperature": temperature, "positions": found}},
            )
            for found, count in zip(records, draws, strict=True)
        ]

    def _walk(
        self,
        prompts: Sequence[Sequence[int]],
        keys: Sequence[int],
        length: int,
        temperature: float,
    ) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """The target's own answers: at each t, p and q [rows, V] and the tokens chosen [rows]."""
        target, drafter = Stepper(self.model, prompts), Stepper(self.drafter, prompts)
        for t in range(length):
            logits = target.logits().double()
            log_p = torch.log_softmax(logits / temperature, dim=-1)
            other = _of_width(drafter.logits().double(), logits.shape[-1])
            q = torch.softmax(other / temperature, dim=-1)
            tokens = gumbel_sample(log_p, self.noise.gumbel(keys, t, log_p.shape[-1]))
            yield t, log_p.exp(), q, tokens
            target.append(tokens)
            drafter.append(tokens)

    def _prompt(self, text: str, length: int) -> list[int]:
        """The prompt's tokens; what does not fit both contexts is cut off at its start."""
        ids: list[int] = self.tok_encode(text)
        limit = getattr(self.drafter.config, "max_position_embeddings", self.max_length)
        room = min(self.max_length, limit) - length
        if room < 1:
            raise HarnessError(
                f"max_gen_toks={length} leaves no room for a prompt: the contexts of target and "
                f"drafter are {self.max_length} and {limit} tokens"
            )
        if len(ids) > room:
            log.warning("a prompt of %d tokens is cut to its last %d", len(ids), room)
        return ids[-room:] or [self.prefix_token_id]

    def _ends(self) -> set[int]:
        """Tokens that end an answer."""
        ends = self.model.generation_config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        return {token for token in (*named, self.eot_token_id) if token is not None}


def _is_measured(request: Any) -> bool:
    return isinstance(request.doc, Mapping) and DRAWS in request.doc


def _settings(request: Any, default_length: int) -> tuple[int, float]:
    """Length in tokens, and temperature.

    Raises:
        HarnessError: The request asks for what is not measured.
    """
    options = dict(request.args[1])
    others = [name for name in options if name not in _MEASURED]
    if others or options.get("until"):
        raise HarnessError(
            f"couplings are measured on the whole distribution: leave out "
            f"{', '.join(others) or 'until'} in --gen_kwargs"
        )
    temperature = float(options.get("temperature", 1.0))
    if temperature <= 0 or options.get("do_sample") is False:
        raise HarnessError(
            f"temperature={temperature}, do_sample={options.get('do_sample', True)}: couplings are "
            f"of samples; give a temperature above 0"
        )
    return int(options.get("max_gen_toks", default_length)), temperature


def _of_width(logits: Tensor, width: int) -> Tensor:
    """A drafter's logits over the target's ids: embeddings may be padded to another size."""
    missing = width - logits.shape[-1]
    return torch.nn.functional.pad(logits, (0, missing), value=-torch.inf)  # negative: cut


class PairHF(PairMixin, HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """``hf-pair``: lm-eval's ``hf`` with a drafter beside it."""
