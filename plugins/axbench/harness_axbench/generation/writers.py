"""The models that write concept data: the target beside the writer, and texts cut to length."""

from __future__ import annotations

from dataclasses import replace

from harness import AssistantSpec, HarnessError
from harness.asking.desk import local, parsed, read_json
from harness.asking.store import key_of
from harness.models.checkpoints import load_tokenizer

_TARGET_BATCH = 16


def chosen_target(target: str | None, negatives_from: str, tokens: int) -> AssistantSpec | None:
    """The model of the training negatives; None for the writer.

    Raises:
        HarnessError: ``negatives_from`` is neither ``target`` nor ``writer``, or does not go with
            whether there is a target.
    """
    if negatives_from not in ("target", "writer"):
        raise HarnessError(f"--negatives-from is target or writer, not {negatives_from}")
    if negatives_from == "writer" and target is not None:
        raise HarnessError("--negatives-from writer uses no --target; name its --tokenizer instead")
    if negatives_from == "writer":
        return None
    if target is None:
        raise HarnessError(
            "training negatives are the target model's own answers: name it with --target, or pass "
            "--negatives-from writer"
        )
    return target_spec(target, tokens)


def target_spec(value: str, tokens: int) -> AssistantSpec:
    """The target model, which answers greedily.

    Args:
        value: A transformers model's id or path, ``testbed:NAME``, or any lm-eval model as JSON.
        tokens: The longest answer.

    Raises:
        HarnessError: It is none of these.
    """
    if value.lstrip().startswith("{"):
        given = read_json(value, "--target")
    else:
        args = {"pretrained": value, "batch_size": _TARGET_BATCH}
        given = {"model": "hf", "model_args": args}
    return local(greedy(parsed(given, "--target"), tokens))


def greedy(spec: AssistantSpec, tokens: int) -> AssistantSpec:
    """The same model, answering greedily with so many tokens at most."""
    return replace(spec, temperature=0.0, max_tokens=tokens)


def tokenizer_of(target: AssistantSpec | None, named: str | None) -> str:
    """Whose tokens texts are measured in: the tokenizer named, else the target model's.

    Raises:
        HarnessError: Neither is known.
    """
    args = target.model_args if target else {}
    found = named or args.get("tokenizer") or args.get("pretrained")
    if not found:
        raise HarnessError(
            "texts are cut by the target model's tokens: name its tokenizer with --tokenizer (a "
            "model id or path, or testbed:teacher)"
        )
    return str(found)


class Cutter:
    """Cuts texts to a number of a tokenizer's tokens.

    Args:
        name: Model id or path of the tokenizer, or ``testbed:NAME``.

    Raises:
        HarnessError: The tokenizer cannot be loaded.
    """

    def __init__(self, name: str) -> None:
        from harness.testbed import resolve

        try:
            self._tokenizer = load_tokenizer(resolve(name))
        except (OSError, ValueError, KeyError) as cause:
            raise HarnessError(f"tokenizer {name} cannot be loaded: {cause}") from cause

    @property
    def sha256(self) -> str:
        """Content hash of the vocabulary."""
        return key_of(vocabulary=self._tokenizer.get_vocab())

    def cut(self, text: str, tokens: int) -> str:
        """The characters of a text's first tokens; none of a character that a token splits."""
        if not self._tokenizer.is_fast:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            short: str = self._tokenizer.decode(ids[:tokens], clean_up_tokenization_spaces=False)
            return short if len(ids) > tokens else text
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        places = found["offset_mapping"]
        if len(places) <= tokens:
            return text
        return text[: min(places[tokens - 1][1], places[tokens][0])]
