"""``--model hf-fact-checker``: a sequence classifier answers Yes/No for (document, claim) rows.

The document is chunked, each chunk is put with the claim into the template, and the best chunk's
P(supported) is the answer. Rows of all tasks of a run are scored together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from lm_eval.api.model import LM

from harness.errors import HarnessError
from harness.responses import Score
from harness.store import Store
from harness_factcg.checker import Checker
from harness_factcg.chunking import CHUNK_SIZE
from harness_factcg.loading import accelerator, load
from harness_factcg.scoring import LEAST_ROOM, Pair, log_sigmoid

log = logging.getLogger(__name__)


class FactCheckerHF(LM):  # type: ignore[misc]  # lm-eval is untyped
    """A fact checker: any ``AutoModelForSequenceClassification`` checkpoint.

    Args:
        pretrained: Name on the hub, folder, or ``testbed:checker``.
        dtype: ``auto`` (as stored), ``float32``, ``bfloat16``, ``float16``.
        max_length: Tokens a prompt may have; less if the model can read less.
        chunk_size: Word tokens a chunk.
        overlong: ``split`` halves a chunk that is too long for the model until it fits; ``cut``
            drops the end of the chunk and marks the answer as truncated.
        batch_tokens: Tokens a batch, padding included; lm-eval's ``batch_size`` has no effect.
        supported: Number of the label "supported", where the label names do not tell.
        device: Torch device; by default the first GPU, else the CPU.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Whether code from the hub may run.
        response_cache: A JSON-lines file that keeps every score; a rerun computes what is missing.
        batch_size: Ignored (lm-eval always passes it).
        max_batch_size: Ignored.

    Raises:
        HarnessError: An argument is unknown or out of range, or the checkpoint cannot be used.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        dtype: str = "auto",
        max_length: int = 2048,
        chunk_size: int = CHUNK_SIZE,
        overlong: str = "split",
        batch_tokens: int = 16384,
        supported: int | None = None,
        device: str | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        response_cache: str | Path | None = None,
        batch_size: object = None,
        max_batch_size: object = None,
        **unknown: object,
    ) -> None:
        super().__init__()
        sizes = {"max_length": max_length, "chunk_size": chunk_size, "batch_tokens": batch_tokens}
        _check(unknown, overlong, sizes)
        self._accelerator = accelerator()
        if pretrained is None:
            raise HarnessError(
                "hf-fact-checker needs --model_args pretrained=, a sequence-classification "
                "checkpoint: a folder, a name on the hub, or testbed:checker"
            )
        self._device = _device(device)
        if self._accelerator is not None:
            self._rank = self._accelerator.process_index
            self._world_size = self._accelerator.num_processes
            self._device = self._accelerator.device
        self.checker = Checker(
            load(
                pretrained,
                revision=str(revision),
                dtype=dtype,
                device=self._device,
                trust_remote_code=trust_remote_code,
            ),
            max_length=max_length,
            chunk_size=chunk_size,
            overlong="cut" if overlong == "cut" else "split",
            batch_tokens=batch_tokens,
            supported=supported,
            store=Store(Path(response_cache).expanduser()) if response_cache else None,
        )
        self._method_args = {
            "chunk_size": chunk_size,
            "max_length": self.max_length,
            "overlong": overlong,
            "supported": self.checker.supported,
        }

    @property
    def max_length(self) -> int:
        """Tokens a prompt may have."""
        return self.checker.max_length

    @property
    def tokenizer(self) -> Any:
        """The classifier's tokenizer; lm-eval notes its special tokens."""
        return self.checker.classifier.tokenizer

    @property
    def tokenizer_name(self) -> str:
        return self.checker.classifier.name.replace("/", "__")

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Score]:
        """Answer Yes/No requests that carry a row with ``doc`` and ``claim``.

        Args:
            requests: lm-eval Instances; their continuation is Yes or No.
            disable_tqdm: Whether to show no progress bar.

        Returns:
            log P(supported) for Yes and log P(not supported) for No (nats), with the trace
            ``score``, ``chunks``, ``deciding_chunk``, ``truncated``.

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
            answers.append(Score(log_sigmoid(margin), margin > 0, verdicts[pair].trace()))
            self.cache_hook.add_partial("loglikelihood", request.args, answers[-1])
        return answers

    def _check_claims(self, pairs: Sequence[Pair], requests: Sequence[Any]) -> None:
        claims = {pair.claim: request for pair, request in zip(pairs, requests, strict=True)}
        for room, request in zip(self.checker.room(list(claims)), claims.values(), strict=True):
            if room < LEAST_ROOM:
                raise HarnessError(
                    f"{_where(request)}: claim and question take {self.max_length - room} of the "
                    f"{self.max_length} tokens that the model reads, too many for a document beside"
                )

    def loglikelihood_rolling(self, requests: Sequence[Any], *_: object, **__: object) -> NoReturn:
        """Refused: a classifier has no probability of a text."""
        raise _no_rows(requests)

    def generate_until(self, requests: Sequence[Any], *_: object, **__: object) -> NoReturn:
        """Refused: a classifier writes nothing."""
        raise _no_rows(requests)

    def apply_chat_template(self, *_: object, **__: object) -> NoReturn:
        """Refused: the template is the one the classifier was trained with."""
        raise HarnessError("hf-fact-checker has its own template: leave out --apply_chat_template")

    def get_model_info(self) -> dict[str, Any]:
        """What is saved in the results' ``config``."""
        classifier = self.checker.classifier
        return {
            "model_num_parameters": classifier.model.num_parameters(),
            "model_dtype": str(classifier.model.dtype),
            "model_revision": classifier.revision,
            "model_sha": classifier.sha,
            "method": "fact-checker",
            "method_args": self._method_args,
            "artefact_hash": classifier.sha,
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


def _device(asked: str | None) -> torch.device:
    """The device asked for; as in lm-eval's ``hf``, the CPU stands in for a GPU that is not there.

    lm-eval's command asks for the first GPU where the user asks for nothing.
    """
    if (asked is None or asked.startswith("cuda")) and not torch.cuda.is_available():
        log.info("no CUDA device: running on the CPU")
        return torch.device("cpu")
    return torch.device(asked or "cuda")


def _check(unknown: Mapping[str, object], overlong: str, sizes: Mapping[str, object]) -> None:
    if unknown:
        raise HarnessError(
            f"hf-fact-checker has no argument {', '.join(unknown)}; it takes pretrained, dtype, "
            f"max_length, chunk_size, overlong, batch_tokens, supported, device, revision, "
            f"trust_remote_code, response_cache"
        )
    if overlong not in ("split", "cut"):
        raise HarnessError(f"overlong={overlong}: use split or cut")
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise HarnessError(f"{name}={value}: a whole number above 0 is needed")


def _where(request: Any) -> str:
    return f"task {request.task_name}, row {request.doc_id}"


def _pair(request: Any) -> Pair:
    """The row of a request."""
    row = request.doc
    if not isinstance(row, Mapping) or not {"doc", "claim"} <= row.keys():
        raise _no_rows([request])
    for name in ("doc", "claim"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise HarnessError(f"{_where(request)}: {name} is empty or no text")
    return Pair(row["doc"], row["claim"])


def _is_yes(request: Any) -> bool:
    answer = str(request.args[1]).strip().lower()
    if answer not in ("yes", "no"):
        raise HarnessError(
            f"{_where(request)}: hf-fact-checker answers Yes or No, not {request.args[1]!r}"
        )
    return answer == "yes"


def _no_rows(requests: Iterable[Any]) -> HarnessError:
    tasks = ", ".join(dict.fromkeys(str(request.task_name) for request in requests))
    return HarnessError(f"hf-fact-checker scores (doc, claim) rows; task {tasks} has none")
