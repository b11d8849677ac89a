"""``--model hf-fact-checker``: a fact checker answers Yes/No for (document, claim) rows.

The document is chunked, each chunk is put with the claim into the family's template, and the
answers about the chunks are put together (``families``). Rows of all tasks are scored together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import torch
from lm_eval.api.model import LM

from harness import HarnessError, Score
from harness_factcg.checking.loading import accelerator
from harness_factcg.checking.opening import check_names, choose_device, open_checker
from harness_factcg.checking.planning import LEAST_ROOM, no_room
from harness_factcg.checking.verdicts import Pair, log_sigmoid
from harness_factcg.models.pairs import pair_of, place_of


class FactCheckerHF(LM):  # type: ignore[misc]  # lm-eval is untyped
    """A fact checker: a sequence classifier, an encoder-decoder or a language model.

    Args:
        pretrained: Name on the hub, folder, or ``testbed:checker``.
        device: Torch device; by default the first GPU, else the CPU.
        batch_size: Ignored (lm-eval always passes it; see ``batch_tokens``).
        max_batch_size: Ignored.
        options: The other arguments of ``opening.open_checker``.

    Raises:
        HarnessError: An argument is unknown or out of range, or the checkpoint cannot be used.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        device: str | None = None,
        batch_size: object = None,
        max_batch_size: object = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_names(options)
        self._accelerator = accelerator()
        self._device = choose_device(device)
        if self._accelerator is not None:
            self._rank = self._accelerator.process_index
            self._world_size = self._accelerator.num_processes
            self._device = self._accelerator.device
        self.checker = open_checker(pretrained, device=self._device, **options)
        self._told = {"family": self.checker.family.name, "family_reason": self.checker.reason}

    @property
    def max_length(self) -> int:
        """Tokens a prompt may have."""
        return self.checker.max_length

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer; lm-eval notes its special tokens."""
        return self.checker.checkpoint.tokenizer

    @property
    def tokenizer_name(self) -> str:
        return self.checker.checkpoint.name.replace("/", "__")

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Score]:
        """Answer Yes/No requests that carry a row with ``doc`` and ``claim``.

        Args:
            requests: lm-eval Instances; their continuation is Yes or No.
            disable_tqdm: Whether to show no progress bar.

        Returns:
            log P(supported) for Yes and log P(not supported) for No (nats), with the verdict's
            trace, the family and what told it.

        Raises:
            HarnessError: A request has no such row or another continuation, or a claim is too long.
        """
        pairs = [_pair(request) for request in requests]
        signs = [1 if _is_yes(request) else -1 for request in requests]
        self._check_claims(pairs, requests)
        progress = not disable_tqdm and self.rank == 0
        verdicts = self.checker.verdicts(dict.fromkeys(pairs), progress=progress)
        answers = []
        for request, pair, sign in zip(requests, pairs, signs, strict=True):
            margin = sign * verdicts[pair].margin
            trace = verdicts[pair].trace() | self._told
            answers.append(Score(log_sigmoid(margin), margin > 0, trace))
            self.cache_hook.add_partial("loglikelihood", request.args, answers[-1])
        return answers

    def _check_claims(self, pairs: Sequence[Pair], requests: Sequence[Any]) -> None:
        claims = {pair.claim: request for pair, request in zip(pairs, requests, strict=True)}
        for room, request in zip(self.checker.room(list(claims)), claims.values(), strict=True):
            if room < LEAST_ROOM:
                taken = self.max_length - room
                raise HarnessError(no_room(place_of(request), taken, self.max_length))

    def loglikelihood_rolling(self, requests: Sequence[Any], *_: object, **__: object) -> NoReturn:
        """Refused: a fact checker has no probability of a text."""
        raise _no_rows(requests)

    def generate_until(self, requests: Sequence[Any], *_: object, **__: object) -> NoReturn:
        """Refused: a fact checker writes nothing."""
        raise _no_rows(requests)

    def apply_chat_template(self, *_: object, **__: object) -> NoReturn:
        """Refused: the template is the one the checkpoint was trained with."""
        raise HarnessError("hf-fact-checker has its own template: leave out --apply_chat_template")

    def get_model_info(self) -> dict[str, Any]:
        """What is saved in the results' ``config``."""
        checkpoint, family = self.checker.checkpoint, self.checker.family
        return {
            "model_num_parameters": checkpoint.model.num_parameters(),
            "model_dtype": str(checkpoint.model.dtype),
            "model_revision": checkpoint.revision,
            "model_sha": checkpoint.sha,
            "method": "fact-checker",
            "method_args": {
                "family": family.name,
                **family.differences(checkpoint.tokenizer),
                "max_length": self.max_length,
                "overlong": self.checker.overlong,
                **self.checker.head.key(),
            },
            "family": asdict(family) | {"reason": self.checker.reason},
            "artefact_hash": checkpoint.sha,
        }

    def all_gather(self, tensor: torch.Tensor) -> Any:
        return tensor if self._accelerator is None else self._accelerator.gather(tensor)

    def gather_object(self, obj: object, dst: int = 0) -> list[Any] | None:
        if self._accelerator is None:
            return [obj]
        found: list[Any] | None = [None] * self.world_size if self.rank == dst else None
        torch.distributed.gather_object(obj, found, dst=dst)
        return found

    def barrier(self) -> None:
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def _pair(request: Any) -> Pair:
    """The row of a request.

    Raises:
        HarnessError: It has none.
    """
    pair = pair_of(request)
    if pair is None:
        raise _no_rows([request])
    return pair


def _is_yes(request: Any) -> bool:
    answer = str(request.args[1]).strip().lower()
    if answer not in ("yes", "no"):
        raise HarnessError(
            f"{place_of(request)}: hf-fact-checker answers Yes or No, not {request.args[1]!r}"
        )
    return answer == "yes"


def _no_rows(requests: Iterable[Any]) -> HarnessError:
    tasks = ", ".join(dict.fromkeys(str(request.task_name) for request in requests))
    return HarnessError(f"hf-fact-checker scores (doc, claim) rows; task {tasks} has none")
