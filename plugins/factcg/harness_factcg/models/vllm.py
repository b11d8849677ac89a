"""``--model vllm-fact-checker``: a language model on vLLM answers Yes/No by its next word.

    lm_eval --model vllm-fact-checker --model_args pretrained=M,dtype=bfloat16 --tasks llm_aggrefact

Rows with ``doc`` and ``claim`` are put as the checker's family does (``families``): chunks of the
document, perhaps sentences of the claim, and the answers put together. What the task puts around
its prompt goes around each of these prompts (``framing``). A model that names no family reads the
whole document, as with lm-eval's ``vllm``; a document too long for the model's window is halved, or
cut, and the claim never. Any other Yes/No prompt is asked as it stands.

How the margin is had of one generated token, and why it is exact, is told in ``next_word``. All of
it is asked through vLLM's ``LLM.generate``, so that compiled models, asynchronous scheduling and
either model runner are vLLM's own matter.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness import HarnessError, Score, VLLMWrapper
from harness.artefacts.checksums import fingerprint
from harness.artefacts.hub import commit_of, unopened
from harness.asking.store import Store
from harness.engine.seams import takes
from harness.models import checkpoints
from harness_factcg.checking import families
from harness_factcg.checking.families import Family
from harness_factcg.models.framing import Row, Text, find_row
from harness_factcg.models.language_model import Answers, Asker
from harness_factcg.models.next_word import Reader, words
from harness_factcg.models.pairs import pair_of, place_of

log = logging.getLogger(__name__)

NAME = "vllm-fact-checker"
_NO_LIMIT = 10**9  # tokens; the engine's window is the limit
_NO_MATTER = VLLMWrapper.no_matter | {"max_model_len"}
"""Settings of the engine on which no answer depends."""


class VLLMFactCheckingMixin(VLLMWrapper):
    """Answers Yes/No by the next word; put it in front of lm-eval's ``VLLM`` or a subclass of it.

    Args:
        pretrained: Model id or path, or ``testbed:NAME``.
        family: ``factcg``, ``minicheck-7b``, …; by default what the checkpoint tells, else FactCG's
            template with the whole document.
        template: A text file with ``{document}``, ``{claim}`` and perhaps ``{sep}``.
        chunk_size: Of a chunk, in ``chunk_unit``.
        chunk_unit: ``words`` (word tokens), ``spaced`` (what white space separates) or
            ``tokens`` (of the model).
        aggregation: ``max``, or over the claim's sentences ``min`` or ``mean``.
        no: The answer in the family's prompts; one token.
        yes: Likewise.
        overlong: ``split`` halves a chunk that is too long for the model until it fits; ``cut``
            drops the end of the chunk and marks the answer as truncated.
        response_cache: A JSON-lines file that keeps every answer; a rerun asks what is missing.
        **kwargs: As for ``VLLM``; ``batch_size`` has no effect on Yes/No prompts.

    Raises:
        HarnessError: An argument is out of range, or the checkpoint or a setting of the engine does
            not go with it.
    """

    stands_alone = "it asks the engine itself, for one token, in prompts of its own"

    tokenizer: Any
    cache_hook: Any
    lora_request: Any
    max_length: int
    add_bos_token: bool | None

    def __init__(
        self,
        pretrained: str,
        *,
        family: str | None = None,
        template: str | Path | None = None,
        chunk_size: int | None = None,
        chunk_unit: str | None = None,
        aggregation: str | None = None,
        no: object = None,
        yes: object = None,
        overlong: str = "split",
        response_cache: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        _check(kwargs, overlong)
        path = checkpoints.place_of(pretrained)
        options = families.options(
            template=template,
            chunk_size=chunk_size,
            chunk_unit=chunk_unit,
            aggregation=aggregation,
            no=no,
            yes=yes,
        )
        self._asks_rows = bool(family) or any(value is not None for value in options.values())
        options["max_length"] = kwargs.get("max_length") or kwargs.get("max_model_len")
        chosen, self._reason = _family(pretrained, path, family, kwargs)
        chosen = chosen.override(**options)
        super().__init__(pretrained, **{"enable_prefix_caching": True} | kwargs)
        log.info("%s is of the family %s: %s", pretrained, chosen.name, self._reason)
        self._sha = fingerprint(path) or commit_of(path, kwargs.get("revision") or "main") or ""
        self._overlong = overlong
        window = self.max_length - 1  # one token is generated
        self.asker = Asker(
            Reader(
                partial(self.model.generate, use_tqdm=False, lora_request=self.lora_request),
                identity=self._identity(path),
                store=Store(Path(response_cache).expanduser()) if response_cache else None,
            ),
            self.tokenizer,
            replace(chosen.resolved(self.tokenizer), max_length=min(chosen.max_length, window)),
            overlong="cut" if overlong == "cut" else "split",
            told={"family": chosen.name, "family_reason": self._reason},
            add_bos_token=self.add_bos_token,
        )

    def _identity(self, path: str) -> dict[str, Any]:
        """What an answer depends on, beside the prompt."""
        settings = {k: v for k, v in self.model_args.items() if k not in _NO_MATTER}
        settings["dtype"] = self.model.llm_engine.model_config.dtype
        settings["lora"] = self.lora_request and self.lora_request.lora_path
        return {
            "model": self._sha or path,
            "settings": {key: str(value) for key, value in settings.items()},
        }

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Score]:
        """Answer Yes/No requests; those for Yes and No of one prompt cost one generated token.

        Args:
            requests: lm-eval Instances; their continuation is Yes or No.
            disable_tqdm: Whether to show no progress bar.

        Returns:
            Of rows with ``doc`` and ``claim``, log P(supported) for Yes and log P(not supported)
            for No (nats); of other prompts, the word's own log-probability. The trace tells
            ``score``, ``prompt_tokens``, ``cached_tokens``, ``seconds``, and of rows what
            hf-fact-checker's does.

        Raises:
            HarnessError: A request has another continuation, a prompt is too long, or a word is not
                one token of the model's.
        """
        asked = [self._asked(request) for request in requests]
        where = {
            unit: place_of(request) for (unit, _), request in zip(asked, requests, strict=True)
        }
        rows = {unit: at for unit, at in where.items() if isinstance(unit, Row)}
        texts = {unit: at for unit, at in where.items() if isinstance(unit, Text)}
        found: dict[Row | Text, Answers] = {}
        with tqdm(desc="Checking claims", unit="prompt", disable=disable_tqdm) as bar:
            found.update(self.asker.rows(rows, bar))
            found.update(self.asker.texts(texts, bar))
        answers = []
        for request, (unit, is_yes) in zip(requests, asked, strict=True):
            answers.append(found[unit].yes if is_yes else found[unit].no)
            self.cache_hook.add_partial("loglikelihood", request.args, answers[-1])
        return answers

    def _asked(self, request: Any) -> tuple[Row | Text, bool]:
        """What a request asks for, and whether its answer is Yes."""
        context, continuation = request.args
        known = words(continuation)
        if known is None:
            raise HarnessError(
                f"{place_of(request)}: {NAME} answers Yes or No, not {continuation!r}; use --model "
                "vllm for this task"
            )
        both, is_yes = known
        pair = pair_of(request)
        row = None if pair is None else find_row(context, pair, both)
        if row is None and pair is not None and self._asks_rows:
            raise HarnessError(
                f"{place_of(request)}: the task words its prompt in its own way, which a family's "
                "cannot replace; leave out the arguments that say how rows are put"
            )
        return row or Text(context, both), is_yes

    def get_model_info(self) -> dict[str, Any]:
        """What is saved in the results' ``config``."""
        family = self.asker.family
        return {
            "model_dtype": str(self.model.llm_engine.model_config.dtype),
            "model_sha": self._sha,
            "method": "fact-checker",
            "method_args": {
                "family": family.name,
                **family.differences(self.tokenizer),
                "overlong": self._overlong,
            },
            "family": asdict(family) | {"reason": self._reason},
            "artefact_hash": self._sha,
        }


def _check(kwargs: Mapping[str, Any], overlong: str) -> None:
    """Refuse settings before an engine takes its time to start."""
    if overlong not in ("split", "cut"):
        raise HarnessError(f"overlong={overlong}: use split or cut")
    from vllm import SamplingParams

    takes(SamplingParams, "logprob_token_ids")
    if int(kwargs.get("data_parallel_size", 1)) > 1:
        raise HarnessError(
            f"{NAME} does not run with data_parallel_size={kwargs['data_parallel_size']}, which "
            "deals the prompts about a document out to several engines; use tensor_parallel_size"
        )
    mode = kwargs.get("logprobs_mode", "raw_logprobs")
    if mode != "raw_logprobs":
        raise HarnessError(f"{NAME} does not run with logprobs_mode={mode}: leave it out")
    if kwargs.get("enable_thinking"):
        raise HarnessError(f"{NAME} reads the first word of an answer: use enable_thinking=False")


def _family(
    pretrained: str, path: str, name: str | None, kwargs: Mapping[str, Any]
) -> tuple[Family, str]:
    """The family of a checkpoint, and what tells it.

    Raises:
        HarnessError: The checkpoint cannot be read, or is a classifier.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            path,
            revision=kwargs.get("revision"),
            trust_remote_code=kwargs.get("trust_remote_code", False),
        )
        head = families.head_of(config)
    except Exception as cause:  # transformers raises dozens of types
        said = unopened(cause, path)
        raise HarnessError(f"model {pretrained} cannot be loaded: {said}") from cause
    if head == "classifier":
        raise HarnessError(
            f"{pretrained} is no language model but {config.architectures}: use --model "
            "hf-fact-checker"
        )
    if name is not None:
        return families.find(name, "causal"), "given: family="
    found, reason = families.detect(config, pretrained)
    if found.name != "factcg" or getattr(config, families.CONFIG_KEY, None) is not None:
        return replace(found, head="causal"), reason
    whole = replace(found, head="causal", chunk_size=None, max_length=_NO_LIMIT)
    return whole, "nothing names a family: whole documents"
