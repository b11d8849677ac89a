"""Which model a results file is about, and how it was run.

Model wrappers add ``method``, ``method_args`` and ``artefact_hash`` to ``config`` through
lm-eval's ``get_model_info``; a stock model has none of them and is a baseline.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from harness.leaderboard import environment
from harness.leaderboard.names import method_label, one_name
from harness.leaderboard.rows import Run
from harness.reports.values import compact, mapping, number, parse_model_args, real, text

_NAME_KEYS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Where lm-eval looks for a model's name, in its order."""
_PLACEMENT = frozenset(
    {
        "batch_size",
        "max_batch_size",
        "device",
        "device_map",
        "parallelize",
        "max_memory_per_gpu",
        "max_cpu_memory",
        "offload_folder",
        "tensor_parallel_size",
        "data_parallel_size",
        "pipeline_parallel_size",
        "gpu_memory_utilization",
        "num_concurrent",
        "max_retries",
        "timeout",
        "response_cache",
    }
)
"""Arguments that say where and how fast a model runs, not which model it is."""
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.json$")


def run_of(document: dict[str, Any], *, run_id: str, file: str) -> Run:
    """The run behind a results document.

    Args:
        document: the parsed results file.
        run_id: a hash of the file's content.
        file: the file's path, as the user gave it.
    """
    config = mapping(document.get("config"))
    args = parse_model_args(config.get("model_args"))
    report = text(document.get("pretty_env_info"))
    seeds = {
        kind: config.get(f"{kind}_seed")
        for kind in ("random", "numpy", "torch", "fewshot")
        if config.get(f"{kind}_seed") is not None
    }
    limit = number(config.get("limit"))
    spelt = _model_name(document, config, args)
    name, commit = one_name(spelt)
    identity = {
        "model": spelt,
        "model_type": text(config.get("model")) or text(document.get("model_source")),
        "revision": text(config.get("model_revision")) or text(args.get("revision")),
        "model_sha": text(config.get("model_sha")),
        "dtype": (text(config.get("model_dtype")) or text(args.get("dtype"))).removeprefix(
            "torch."
        ),
        "method": text(config.get("method")),
        "method_args": _settings(config.get("method_args")),
        "artefact_hash": text(config.get("artefact_hash")),
        "gen_kwargs": _settings(config.get("gen_kwargs")),
        "chat_template": text(document.get("chat_template_sha")),
        "system_instruction": text(document.get("system_instruction_sha")),
    }
    lasting = compact(_lasting(args, spelt, name))
    sha = identity["model_sha"] or commit
    same = identity | {"model": name, "model_sha": sha}
    asked = ("gen_kwargs", "chat_template", "system_instruction")
    return Run(
        **identity,
        run_id=run_id,
        date=_date(document, file),
        model_args=compact(args),
        limit=int(limit) if isinstance(limit, float) and limit.is_integer() else limit,
        seeds=compact(seeds),
        lm_eval_version=text(document.get("lm_eval_version")),
        harness_version=_harness_version(document, config),
        torch_version=environment.torch_version(report),
        transformers_version=text(document.get("transformers_version")),
        hardware=environment.hardware(report),
        seconds=real(document.get("total_evaluation_time_seconds")),
        file=text(file),
        variant=(*same.values(), lasting, compact(_writers(document))),
        name=name,
        label=_label(config, identity["model_type"], identity["method"]),
        who=(*(value for key, value in same.items() if key not in asked), lasting),
    )


def _label(config: dict[str, Any], model_type: str, method: str) -> str:
    told = text(config.get("method_label"))
    return told if told and method else method_label(model_type, method)


def without_idle(document: dict[str, Any], task: str) -> dict[str, Any]:
    """The document as it is to one task or group: a method that changed none of its rows is gone.

    Args:
        document: the parsed results file.
        task: the task's or group's name.
    """
    config = mapping(document.get("config"))
    methods = mapping(config.get("method_by_task"))
    parts = mapping(document.get("group_subtasks")).get(task) or [task]
    if not isinstance(parts, list) or not all(part in methods for part in parts):
        return document
    method = methods[parts[0]]
    plain = {"method": method, "method_label": "", "artefact_hash": ""}
    plain |= {} if method else {"method_args": {}}
    return document | {"config": config | plain}


def _lasting(args: dict[str, Any], spelt: str, name: str) -> dict[str, Any]:
    """Arguments that say which model it is, under its one name."""
    return {
        key: name if key in _NAME_KEYS and text(value) == spelt else value
        for key, value in args.items()
        if key not in _PLACEMENT
    }


def _settings(value: object) -> str:
    """Settings as compact JSON, whether stored as an object or as ``a=1,b=2``."""
    if isinstance(value, str):
        return compact(parse_model_args(value)) if "=" in value else text(value)
    return compact(value) if isinstance(value, (dict, list)) else text(value)


def _model_name(document: dict[str, Any], config: dict[str, Any], args: dict[str, Any]) -> str:
    """The name in the arguments, else the model type: lm-eval's own fallback is random."""
    named = (text(args[key]) for key in _NAME_KEYS if args.get(key))
    return next(named, "") or text(config.get("model")) or text(document.get("model_name"))


def _harness_version(document: dict[str, Any], config: dict[str, Any]) -> str:
    """Where a model wrapper, or else a task, said which paperharness it belongs to."""
    tasks = mapping(document.get("configs")).values()
    places = [config, *(mapping(mapping(task).get("metadata")) for task in tasks)]
    return next((text(p["harness_version"]) for p in places if p.get("harness_version")), "")


def _writers(document: dict[str, Any]) -> dict[str, Any]:
    """Which model wrote the prompts of each task whose prompts a model writes."""
    tasks = mapping(document.get("configs")).items()
    found = {
        str(name): mapping(mapping(task).get("metadata")).get("writer") for name, task in tasks
    }
    return {name: writer for name, writer in found.items() if writer}


def _date(document: dict[str, Any], file: str) -> str:
    """When the run started, ISO 8601 in UTC; the stamp in the file's name as a last resort."""
    stamp = real(document.get("date"))
    try:
        if stamp is not None:
            moment = datetime.fromtimestamp(stamp, tz=UTC)
        elif found := _STAMP.search(file):
            day, _, clock = found.group(1).partition("T")
            moment = datetime.fromisoformat(f"{day}T{clock.replace('-', ':')}").replace(tzinfo=UTC)
        else:
            return ""
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
