"""What a request asks for: how tokens are drawn, how long an answer may be, and where it ends.

A request's ``--gen_kwargs`` come first, then the model's own ``generation_config.json``, then
transformers' defaults, as with lm-eval's ``hf``: a sampled request without ``top_k`` has
transformers' top_k=50. What has no meaning here is refused, wherever it is set.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from harness import HarnessError
from harness_specdecode.decoding.sampling import Sampling

log = logging.getLogger(__name__)
TOP_K = 50
_LOOK_BACK = 4
_ORDINARY: Mapping[str, tuple[Any, ...]] = {  # values that change nothing
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "length_penalty": (1,),
    "diversity_penalty": (0,),
    "typical_p": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "top_h": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "guidance_scale": (1,),
    "renormalize_logits": (False,),
    "remove_invalid_values": (False,),
    "early_stopping": (False,),
    "bad_words_ids": (),
    "force_words_ids": (),
    "constraints": (),
    "sequence_bias": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "begin_suppress_tokens": (),
    "exponential_decay_length_penalty": (),
    "watermarking_config": (),
    "stop_strings": (),
    "max_time": (),
    "dola_layers": (),
    "token_healing": (False,),
}
_DRAWN = ("top_k", "top_p", "min_p")
_UNUSED = ("do_sample", "use_cache")


@dataclass(frozen=True)
class Settings:
    """What is the same for all requests that are decoded together.

    Args:
        sampling: How tokens are drawn.
        length: Tokens of an answer at most.
        until: Texts that end an answer, the end token's among them.
    """

    sampling: Sampling
    length: int
    until: tuple[str, ...]


def settings_of(
    options: Mapping[str, Any],
    defaults: Any,
    default_length: int,
    end: str,
    model: str = "hf-speculative",
) -> Settings:
    """Read a request's generation options.

    Args:
        options: The request's ``gen_kwargs``.
        defaults: The model's ``GenerationConfig``.
        default_length: Tokens where none are asked for.
        end: Text of the token that ends an answer.
        model: Name of the model wrapper, for messages.

    Raises:
        HarnessError: An option is not supported, or its value is out of range.
    """
    check_temperature(options)
    given = dict(normalize_gen_kwargs(copy.deepcopy(dict(options)), default_length))
    until = handle_stop_sequences(given.pop("until", None), eos=end)
    length = int(given.pop("max_gen_toks"))
    if length < 1:
        raise HarnessError(f"max_gen_toks={length}: give at least 1")
    temperature = float(given.pop("temperature", 0.0))
    drawn = {name: given.pop(name, None) for name in _DRAWN}
    for name in _UNUSED:
        given.pop(name, None)
    found: dict[str, Any] = {}
    if temperature > 0:
        found = {
            name: _first(value, getattr(defaults, name, None)) for name, value in drawn.items()
        }
        found["top_k"] = _first(found["top_k"], TOP_K)
    for name, ours in (("repetition_penalty",) * 2, ("suppress_tokens", "suppressed")):
        found[ours] = _first(given.pop(name, None), getattr(defaults, name, None))
    _refuse(given, defaults, model)
    found["suppressed"] = tuple(found["suppressed"] or ())
    chosen = {name: value for name, value in found.items() if value is not None}
    return Settings(Sampling(temperature=temperature, **chosen), length, tuple(until))


def ended(settings: Settings, defaults: Any) -> Settings:
    """Follow what a model's own files say of an answer's end; where ``hf`` goes on, warn once.

    Args:
        settings: What a request asks for.
        defaults: The model's ``GenerationConfig``.
    """
    where = "in the model's generation_config.json"
    if defaults.eos_token_id is None:
        _tell(f"no end token {where}: answers end at the tokenizer's, where --model hf may go on")
    most = defaults.max_new_tokens
    if most is None or most == settings.length:
        return settings
    if most > settings.length:
        _tell(
            f"max_new_tokens={most} {where}: --model hf writes so many tokens whatever is asked "
            f"for; here it is at most {settings.length}, as asked"
        )
        return settings
    _tell(
        f"max_new_tokens={most} {where} ends answers earlier than asked ({settings.length}), as "
        "with --model hf"
    )
    return replace(settings, length=int(most))


@cache
def _tell(text: str) -> None:
    log.warning("%s", text)


def check_temperature(options: Mapping[str, Any]) -> None:
    """Refuse a temperature below 0, which lm-eval would pass over.

    Raises:
        HarnessError: It is below 0.
    """
    if float(options.get("temperature") or 0) < 0:
        raise HarnessError(f"temperature={options['temperature']}: give 0 or more; 0 is greedy")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _refuse(given: Mapping[str, Any], defaults: Any, model: str) -> None:
    unknown = [name for name in given if name not in _ORDINARY]
    if unknown:
        raise HarnessError(
            f"{', '.join(unknown)} in --gen_kwargs is not supported by {model}: leave it out"
        )
    for name, ordinary in _ORDINARY.items():
        value = _first(given.get(name), getattr(defaults, name, None))
        if value is not None and value not in ordinary:
            where = "--gen_kwargs" if name in given else "the model's generation_config.json"
            raise HarnessError(
                f"{name}={value} in {where} is not supported by {model}: give "
                f"{name}={ordinary[0] if ordinary else None} in --gen_kwargs, or use --model "
                f"{model.split('-', maxsplit=1)[0]}"
            )


def stop_test(until: Sequence[str], decode: Callable[[Sequence[int]], str]) -> Callable[..., bool]:
    """Whether the last token completes one of some texts.

    Only the last tokens are decoded: a token is at least a byte, so that a text of n bytes lies in
    the last n; some more stand before them, as tokenizers strip what they take for a beginning.

    Args:
        until: The texts; empty ones never stop.
        decode: Tokens to text, special tokens written out.
    """
    texts = [text for text in until if text]
    reach = max((len(text.encode()) for text in texts), default=0) + _LOOK_BACK

    def stopped(tokens: Sequence[int]) -> bool:
        tail = decode(tokens[-reach:])
        return any(text in tail for text in texts)

    return stopped
