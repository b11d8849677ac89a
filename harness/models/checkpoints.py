"""Where a model's checkpoint is, and why one could not be loaded, in a line."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.artefacts.adapters import Adapter, adapter_in
from harness.artefacts.checksums import fingerprint
from harness.artefacts.hub import adapter_on_hub, unopened
from harness.artefacts.layers import check_layers
from harness.errors import ArtefactError, HarnessError, meant, one_line
from harness.testbed import resolve


def place_of(pretrained: str, *, adapters: bool = False) -> str:
    """The folder of a local checkpoint, or the unchanged name of one on the hub.

    Args:
        pretrained: As the user gave it.
        adapters: Whether the folder may hold an adapter, which is loaded with its base.

    Raises:
        HarnessError: A path leads to no folder, to one without a checkpoint, or to a damaged one.
    """
    name = resolve(pretrained)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith(("/", ".", "~")):
            raise HarnessError(f"cannot load the checkpoint '{pretrained}': no such folder")
        return name
    if adapter := adapter_in(folder):
        if adapters:
            return str(folder)
        raise HarnessError(
            f"cannot load the checkpoint '{pretrained}': it is an adapter of {adapter.base}, no "
            "whole model; merge it into that one first (peft: merge_and_unload, save_pretrained)"
        )
    if not (folder / "config.json").is_file():
        raise HarnessError(f"cannot load the checkpoint '{pretrained}': no config.json in it")
    check_layers(folder)
    return str(folder)


@dataclass(frozen=True)
class Checkpoint:
    """Where the parts of a model are.

    Attributes:
        place: The folder or hub id of its weights and configuration; of an adapter its base's.
        words: That of its tokenizer.
        revision: The revision on the hub of both.
        adapter: What is to be added to the weights.
    """

    place: str
    words: str
    revision: str
    adapter: Adapter | None = None


def checkpoint_of(pretrained: str, revision: str = "main") -> Checkpoint:
    """The parts of a model, be it an adapter or whole.

    Raises:
        HarnessError: As for ``place_of``, of the model or of an adapter's base.
    """
    place = adapter_on_hub(place_of(pretrained, adapters=True), revision)
    adapter = adapter_in(place)
    if adapter is None:
        return Checkpoint(place, place, revision)
    base = place_of(adapter.base)
    own_words = (adapter.folder / "tokenizer_config.json").is_file()
    return Checkpoint(base, place if own_words else base, adapter.revision, adapter)


def load_tokenizer(
    place: str,
    *,
    trust_remote_code: bool = False,
    add_bos_token: bool | None = None,
    **options: Any,
) -> Any:
    """A tokenizer by transformers.

    Args:
        place: Its folder, or its id on the hub.
        trust_remote_code: Whether code of its own may run.
        add_bos_token: Whether it puts a beginning-of-sequence token before a text, as for lm-eval's
            ``hf``; None leaves it to its files.
        **options: As transformers takes them.

    Raises:
        Exception: Whatever transformers raises; and a ValueError where its tokenizers, which are
            another language's, panic over what a file says.
    """
    from transformers import AutoTokenizer

    if add_bos_token is not None:
        options["add_bos_token"] = add_bos_token
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code, **options)
    except BaseException as cause:
        if type(cause).__name__ != "PanicException":  # no Exception, and imported from nowhere
            raise
        raise ValueError(f"its tokenizer's files are damaged ({one_line(cause, 200)})") from cause


def _check_dtype(dtype: Any) -> None:
    import torch

    named = isinstance(dtype, str) and dtype != "auto"
    if named and not isinstance(getattr(torch, dtype, None), torch.dtype):
        known = ("auto", "float32", "bfloat16", "float16", "float64")
        raise HarnessError(f"dtype {dtype}: {meant(dtype, known)}")


def open_causal(
    role: str,
    pretrained: str,
    *,
    revision: str = "main",
    dtype: Any = "auto",
    device: Any = "cpu",
    add_bos_token: bool | None = None,
) -> tuple[Any, Any]:
    """A causal language model, frozen, with its tokenizer; an adapter is added to its base.

    Args:
        role: What it is to the user, for messages: ``teacher``, ``drafter``, ``model``.
        pretrained: Model id or path, ``testbed:NAME``, or an adapter's folder.
        revision: Its revision on the hub.
        dtype: Its weights' dtype; ``auto`` takes the checkpoint's.
        device: Where it runs.
        add_bos_token: As for ``load_tokenizer``.

    Raises:
        HarnessError: It cannot be loaded.
        ArtefactError: It lacks weights.
    """
    from transformers import AutoModelForCausalLM

    _check_dtype(dtype)
    try:
        found = checkpoint_of(pretrained, revision)
    except ArtefactError as cause:
        raise ArtefactError(f"{role}: {cause}") from cause
    revision = found.revision
    try:
        tokenizer = load_tokenizer(found.words, revision=revision, add_bos_token=add_bos_token)
        model, info = AutoModelForCausalLM.from_pretrained(
            found.place,
            revision=revision,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except Exception as cause:  # transformers raises dozens of types
        raise ArtefactError(f"{role}: {not_loaded(pretrained, found.place, cause)}") from cause
    check_whole(f"{role}: the checkpoint '{pretrained}'", info)
    if found.adapter is not None:
        model = merged(model, found.adapter)
    return model.eval().requires_grad_(False).to(device), tokenizer


def check_whole(what: str, info: Mapping[str, Any]) -> None:
    """Refuse a model some of whose weights transformers has drawn at random, for want of them.

    Args:
        what: The model, for the message.
        info: What transformers tells of the loading.

    Raises:
        ArtefactError: Weights are missing.
    """
    if missing := sorted(info["missing_keys"]):
        names = ", ".join(missing[:4]) + (" …" if len(missing) > 4 else "")
        raise ArtefactError(f"{what} lacks {names}; it is damaged, or no causal language model")


def not_loaded(pretrained: str, place: str, cause: Exception) -> str:
    """Why a checkpoint at a place could not be loaded, in a line."""
    said = unopened(cause, place, limit=240)
    if Path(place).is_dir():
        return f"cannot load the checkpoint '{pretrained}': {said}"
    return f"no folder '{pretrained}' is here, and the hub does not give it: {said}"


def content_of(pretrained: str) -> str | None:
    """SHA-256 of a local checkpoint, an adapter's with its base's; None for one on the hub.

    Raises:
        HarnessError: As for ``place_of``.
    """
    found = checkpoint_of(pretrained)
    own = fingerprint(found.place)
    if found.adapter is None:
        return own
    added = fingerprint(str(found.adapter.folder))
    return hashlib.sha256(f"{added} {own or found.place}".encode()).hexdigest()


def merged(model: Any, adapter: Adapter) -> Any:
    """A base model with its adapter added to its weights.

    Raises:
        ArtefactError: It does not fit, is damaged, or is of a kind that cannot be added.
    """
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            return PeftModel.from_pretrained(model, str(adapter.folder)).merge_and_unload()
    except Exception as cause:  # peft raises what it likes
        raise ArtefactError(
            f"the adapter {adapter.folder} cannot be added to {adapter.base}: "
            f"{one_line(cause, 240)}"
        ) from cause
