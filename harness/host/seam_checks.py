"""A table of what paperharness expects of lm-eval's inside, each with a way to try it.

A check returns in silence, or raises with what it found instead.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.errors import one_line
from harness.host import definitions, task_index
from harness.host import lm_eval_seams as seams


@dataclass(frozen=True)
class Seam:
    """One thing we touch inside lm-eval, and a check that it is there and does what we need."""

    what: str
    check: Callable[[], None]

    def moved(self) -> str | None:
        """One line on what has changed; None if nothing has."""
        try:
            self.check()
        except Exception as cause:  # noqa: BLE001 -- whatever a changed lm-eval raises
            found = one_line(f"{type(cause).__name__}: {cause}")
            return f"lm-eval {seams.version()} has changed {self.what}: {found}"
        return None


def _expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise LookupError(otherwise)


def _registry() -> Any:
    return import_module("lm_eval.api.registry").Registry("probe")


def _keeps_names_unimported() -> None:
    registry = _registry()
    registry.register("probe", target="json:dumps")
    _expect("probe" in registry, "a registered name is not 'in' the registry")
    _expect(seams.held(registry, "probe") == "json:dumps", "items() does not show the text kept")
    _expect(registry.get("probe") is json.dumps, "get() does not import 'module:attribute'")
    registry.register("flag", target=False)
    _expect(registry.get("flag") is False, "False is not kept as a value")


def _lets_go() -> None:
    registry = _registry()
    registry.register("probe", target="json:dumps")
    seams.withdraw(registry, "probe")
    _expect("probe" not in registry, "a name cannot be taken out of _objs")


def _own_names() -> None:
    for kind, name in (
        ("model", "hf"),
        ("filter", "take_first"),
        ("metric", "acc"),
        ("aggregation", "mean"),
    ):
        _expect(name in seams.registry(kind), f"{kind} '{name}' is not in its registry")
    registry = import_module("lm_eval.api.registry")
    for name in ("metric_agg_registry", "higher_is_better_registry"):
        _expect("acc" in getattr(registry, name), f"'acc' is not in {name}")


def _get_model() -> None:
    registry, evaluator = import_module("lm_eval.api.registry"), import_module("lm_eval.evaluator")
    _expect([*inspect.signature(registry.get_model).parameters] == ["model_name"], "its arguments")
    call = "lm_eval.api.registry.get_model("
    _expect(call in inspect.getsource(evaluator), "the evaluator does not call it in its module")
    try:
        inspect.unwrap(registry.get_model)("no-such-model")
    except ValueError:
        return
    raise LookupError("an unknown name raises no ValueError")


def _model_arguments() -> None:
    evaluator = inspect.getsource(import_module("lm_eval.evaluator"))
    for name, given in (("string", "arg_string"), ("obj", "arg_dict")):
        create = inspect.unwrap(getattr(seams.model_base(), f"create_from_arg_{name}").__func__)
        found = [*inspect.signature(create).parameters]
        _expect(found == ["cls", given, "additional_config"], f"create_from_arg_{name}: {found}")
        _expect(f".create_from_arg_{name}(" in evaluator, "the evaluator does not call it")
    _expect(seams.parsed_arguments("a=1,b=x") == {"a": 1, "b": "x"}, "what a string means")


def _run_arguments() -> None:
    kind = import_module("lm_eval.config.evaluate_config").EvaluatorConfig
    stock = inspect.unwrap(kind._parse_dict_args)
    given = kind(tasks="probe", model_args="a=1", metadata="b=2")
    parsed = stock(given)
    found = [getattr(parsed, name) for name in seams.ARGUMENTS]
    _expect(found == [{"a": 1}, {"b": 2}], f"it makes {found}")
    configure = inspect.getsource(kind._configure)
    _expect("_parse_dict_args()._validate" in configure, "it is not what is called first")


def _saved_samples() -> None:
    kind = import_module("lm_eval.loggers.evaluation_tracker").EvaluationTracker
    found = [*inspect.signature(inspect.unwrap(kind.save_results_samples)).parameters]
    _expect(found == ["self", "task_name", "samples"], f"save_results_samples takes {found}")


def _standard_errors() -> None:
    metrics, users = import_module("lm_eval.api.metrics"), import_module("lm_eval.evaluator_utils")
    stock = inspect.unwrap(metrics.stderr_for_metric)
    _expect(
        [*inspect.signature(stock).parameters] == ["metric", "bootstrap_iters"], "its arguments"
    )
    _expect(stock(lambda values: 0.0, 10) is None, "it knows the error of an unknown function")
    _expect(users.stderr_for_metric is metrics.stderr_for_metric, "evaluator_utils takes another")


def _task_index() -> None:
    kind = import_module("lm_eval.tasks.manager").TaskManager
    stock = inspect.unwrap(kind.__init__)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "probe.yaml"
        path.write_text("task: probe_task\ntag: probe_tag\n")
        own = seams.index_of(kind, stock, [path.parent])
    manager = seams.index_of(kind, stock, [])
    seams.add_tasks(manager, own, seams.task_names(own))
    _expect(manager.all_tasks == ["probe_tag", "probe_task"], f"all_tasks is {manager.all_tasks}")
    _expect(manager.all_subtasks == ["probe_task"], f"all_subtasks is {manager.all_subtasks}")
    _expect(manager.all_tags == ["probe_tag"], f"all_tags is {manager.all_tags}")
    _expect(seams.tagged(manager, "probe_tag") == {"probe_task"}, "entries have other tags")
    _expect(manager._index["probe_task"].yaml_path == path, "entries have another yaml_path")
    _expect(kind.match_tasks(manager, ["probe_*"]) == manager.all_tasks, "match_tasks")
    _expect(seams.includes_defaults(manager, stock), "include_defaults is not the default")
    _expect(not seams.includes_defaults(manager, stock, include_defaults=False), "its arguments")
    _expect([*inspect.signature(kind.load).parameters][:2] == ["self", "task_list"], "load")


def _index_reading() -> None:
    index, factory = map(import_module, ("lm_eval.tasks._index", "lm_eval.tasks._factory"))
    given = [*inspect.signature(inspect.unwrap(index.TaskIndex.build)).parameters]
    _expect(given == ["paths", "resolve_includes"], f"TaskIndex.build takes {given}")
    manager = inspect.getsource(import_module("lm_eval.tasks.manager").TaskManager)
    _expect("index.build(all_paths)" in manager, "TaskManager does not call it so")
    source = inspect.getsource(factory)
    used = source.count("entry.cfg") == source.count("elif entry.cfg:") + source.count(
        "deepcopy(entry.cfg)"
    )
    _expect(used and "entry.tags." not in source, "what is in an index is changed in its place")
    found = [field.name for field in fields(index.Entry)]
    _expect(found == task_index.FIELDS, f"an entry has {found}")


def _task_folder() -> None:
    found = seams.own_task_names({"arc_easy", "ai2_arc", "mmlu", "no_such_task"})
    _expect(set(found) == {"arc_easy", "ai2_arc", "mmlu"}, f"of its tasks we find {set(found)}")


def _yaml_functions() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.yaml")
        path.with_name("json.py").write_text("dumps = 'beside'\n")
        path.write_text("task: probe\nnear: !function json.dumps\nfar: !function json.tool.main\n")
        plain = seams.load_yaml(path, functions=False)
        _expect(isinstance(plain["near"], str), "without functions they are no text")
        values = seams.load_yaml(path)
        _expect(values["near"] == "beside", "a module beside the YAML is not taken first")
        _expect(callable(values["far"]), "an importable path is not imported")
        _expect(seams.yaml_function("json.dumps", path.parent) == "beside", "_import_func_in_yml")


def _aggregations() -> None:
    compute = import_module("lm_eval.evaluator_utils")._compute_task_aggregations
    given = [*inspect.signature(compute).parameters]
    _expect(len(given) >= 3 and given[2] == "bootstrap_iters", f"its arguments are {given}")
    users, evaluator = import_module("lm_eval.evaluator_utils"), import_module("lm_eval.evaluator")
    stock = inspect.unwrap(users._process_results)
    given = [*inspect.signature(stock).parameters][:2]
    _expect(given == ["eval_results_acc", "groups"], f"_process_results takes {given}")
    _expect(evaluator._process_results is users._process_results, "the evaluator takes another")
    _expect({"metrics", "groups"} <= set(users.EvalAcc.__dataclass_fields__), "EvalAcc")
    wanted = {"group", "task", "aggregate_metric_list"}
    _expect(wanted <= seams.group_fields(), "fields of a group are missing")


def _no_answer() -> None:
    _expect(isinstance(seams.no_answer(), str), "the placeholder is no text")


def _cache_hook() -> None:
    hook = import_module("lm_eval.api.model").CacheHook(None)
    _expect(hasattr(hook, "dbdict") and not seams.uses_cache(hook), "CacheHook has no dbdict")
    _expect(
        [*inspect.signature(hook.add_partial).parameters] == ["attr", "req", "res"], "add_partial"
    )


def _network_loading() -> None:
    kind = import_module("lm_eval.models.huggingface").HFLM
    stock = inspect.unwrap(kind._create_model)
    given = inspect.signature(stock).parameters
    wanted = {"pretrained", "revision", "dtype", "peft", "delta", "gguf_file", "kwargs"}
    _expect(wanted <= set(given), f"_create_model takes {[*given]}")
    _expect("self._create_model(" in inspect.getsource(kind.__init__), "it is not called once")
    source = inspect.getsource(stock)
    _expect("self._model = self.AUTO_MODEL_CLASS" in source, "it sets another attribute")
    used = set(re.findall(r"self\.(\w+)", source)) - {"_model", "_get_accelerate_args", "__init__"}
    _expect(used == {"AUTO_MODEL_CLASS", "tokenizer"}, f"what is loaded depends on {used}")


def _members(target: str, *names: str) -> Callable[[], None]:
    def check() -> None:
        missing = sorted(set(names) - definitions.members(target))
        _expect(not missing, f"{target} has no {', '.join(missing)}")

    return check


SEAMS = (
    Seam("how a registry keeps names that are not imported yet", _keeps_names_unimported),
    Seam("where a registry keeps its names (_objs)", _lets_go),
    Seam("which modules fill its registries", _own_names),
    Seam("get_model", _get_model),
    Seam("how a model is made of --model_args", _model_arguments),
    Seam("where a run's arguments are read", _run_arguments),
    Seam("how samples are saved", _saved_samples),
    Seam("stderr_for_metric", _standard_errors),
    Seam("TaskManager and its index", _task_index),
    Seam("how its own tasks are read", _index_reading),
    Seam("where its own tasks lie", _task_folder),
    Seam("how a task YAML names functions", _yaml_functions),
    Seam("how tasks and groups are aggregated", _aggregations),
    Seam("what an API model returns for no answer", _no_answer),
    Seam("the cache hook of --use_cache", _cache_hook),
    Seam("how HFLM loads its network", _network_loading),
    Seam(
        "the inside of ConfigurableTask",
        _members("lm_eval.api.task:ConfigurableTask", "dataset", "_filters", "download"),
    ),
    Seam(
        "the inside of HFLM",
        _members(
            "lm_eval.models.huggingface:HFLM",
            *("_model", "_config", "_device", "_max_length", "_model_generate"),
            *("_loglikelihood_tokens", "_rank", "_world_size", "tok_batch_encode"),
            *("_model_call", "_detect_batch_size"),
        ),
    ),
    Seam(
        "the inside of VLLM",
        _members(
            "lm_eval.models.vllm_causallms:VLLM",
            *("_config", "_max_length", "_model_generate", "_loglikelihood_tokens"),
            *("tok_encode", "lora_request", "data_parallel_size"),
        ),
    ),
)


def moved() -> list[str]:
    """One line for each seam that the installed lm-eval has changed."""
    return [line for seam in SEAMS if (line := seam.moved())]
