"""Keys: a hash of all that determines what a unit makes, and of nothing else.

In a unit's configuration a reference stands for the key of what it refers to, and a local file for
its content, so that a key covers all that is upstream (a Merkle tree), wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from typing import Any

from harness._version import __version__
from harness.artefacts.yaml_files import Place
from harness.asking import store
from harness.host import discovery
from harness.studies.planning.contents import WRITTEN, content, local
from harness.studies.reading.references import changed, filled

_HOW = frozenset(  # a cell is run, not what it finds
    {"device", "batch_size", "max_batch_size", "verbosity", "show_config", "write_out"}
    | {"use_cache", "cache_requests", "hf_hub_log_args"}
    | {"wandb_args", "wandb_config_args", "trackio_args"}
)
_HOW_ARGUMENTS = frozenset({"device", "batch_size", "max_batch_size"})
_HOW_MADE = frozenset({"device", "executor", "workers"})
_ANYWHERE = WRITTEN | {"num_concurrent"}
_REJUDGED = frozenset({"judge", "judge_max_unscored", "judge_scope"})
"""What ``harness score`` can say anew of responses that are there."""
_LOADING = frozenset(  # of lm-eval's ``hf``: what decides which network is loaded, and how
    {"pretrained", "revision", "subfolder", "dtype", "peft", "delta", "gguf_file", "device"}
    | {"autogptq", "gptqmodel", "quantization_config", "load_in_8bit", "load_in_4bit"}
    | {"parallelize", "device_map", "max_memory_per_gpu", "max_cpu_memory", "tp_plan"}
    | {"trust_remote_code", "attn_implementation"}
)


def hashed(value: Any) -> str:
    """16 hexadecimal digits of a structure of plain values."""
    return store.key_of(of=value)[:16]


def of_artefact(
    command: tuple[str, ...], options: Mapping[str, Any], key_of: Callable[[str], str]
) -> str:
    """The key of an artefact.

    Args:
        command: Its command's words.
        options: Its options.
        key_of: The key of what a reference refers to.
    """
    what = {name: value for name, value in options.items() if _plain(name) not in _HOW_MADE}
    return hashed({"command": command, "options": _by_content(what, key_of), "with": versions()})


def of_cell(
    config: Mapping[str, Any], key_of: Callable[[str], str], *, judged: bool
) -> tuple[str, str]:
    """The key of a cell, and the same without who judges.

    Args:
        config: lm-eval's run configuration, with references in it.
        key_of: The key of what a reference refers to.
        judged: Whether its task asks a judge; if not, what is said of judges does not matter.
    """
    what = {name: value for name, value in config.items() if name not in _HOW}
    given = what.get("model_args") or {}
    what["model_args"] = {k: v for k, v in given.items() if k not in _HOW_ARGUMENTS}
    said = what.get("metadata") or {}
    what["metadata"] = _without_judges(said) if not judged else said
    unjudged = what | {"metadata": {k: v for k, v in said.items() if k not in _REJUDGED}}
    if not judged:
        unjudged = what
    more = {"with": versions(vllm=str(config.get("model", "")).startswith("vllm"))}
    return hashed(_by_content(what, key_of) | more), hashed(_by_content(unjudged, key_of) | more)


def sharing(config: Mapping[str, Any]) -> str:
    """What is equal in cells that load the same network.

    ``hf`` and what is put around it (``hf-steered``, ``hf-steered+speculative``) load the same one;
    of engines such as vLLM's every argument matters.
    """
    model = str(config.get("model"))
    arguments = config.get("model_args") or {}
    if model == "hf" or model.startswith("hf-"):
        model = "hf"
        arguments = {k: v for k, v in arguments.items() if k in _LOADING}
    loading = {"trust_remote_code": config.get("trust_remote_code", False)}
    return hashed([model, arguments, config.get("device"), loading])


def _plain(option: str) -> str:
    return option.replace("-", "_")


def _without_judges(said: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in said.items() if k != "judge" and not k.startswith("judge_")}


def _by_content(value: Any, key_of: Callable[[str], str]) -> Any:
    def content_or_text(text: str, place: Place) -> Any:
        path = local(text, place)
        return filled(text, key_of) if path is None else {"content": content(path)}

    return changed(_relevant(value), content_or_text)


def _relevant(value: Any) -> Any:
    """The same structure without where something is written to, at any depth (a judge's store)."""
    if isinstance(value, Mapping):
        kept = {key: inner for key, inner in value.items() if key not in _ANYWHERE}
        return {key: _relevant(inner) for key, inner in kept.items()}
    return [_relevant(inner) for inner in value] if isinstance(value, list) else value


@cache
def versions(*, vllm: bool = False) -> Mapping[str, str]:
    """The packages on which results depend, with their versions: plugins of others too."""
    names = {"lm_eval", "torch", "transformers"} | ({"vllm"} if vllm else set())
    found = {name: metadata.version(name) for name in names if _installed(name)}
    found |= {one.distribution: one.version for one in discovery.plugins()}
    return found | {"paperharness": __version__}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
