"""From a study's file to its plan: keys, folders, commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.studies.planning import keys
from harness.studies.planning.commands import words
from harness.studies.planning.contents import placed
from harness.studies.planning.graph import Node, nodes, ordered, sequence
from harness.studies.planning.judged import asks_judge
from harness.studies.planning.plan import Plan
from harness.studies.planning.rejudging import finished_in, rejudged
from harness.studies.reading.file import Study
from harness.studies.reading.names import check_names
from harness.studies.reading.references import changed, filled
from harness.studies.reading.settings import StudyError, misnamed
from harness.studies.units import Artefact, Cell, Resources, Unit

_SHORT = 8  # digits of a key in a file's name
_RUN_HERE = ("hf", "huggingface", "steered", "vllm", "sglang", "mamba")  # models so called


def make_plan(study: Study, tree: Any | None = None) -> Plan:
    """Plan a study.

    Args:
        study: Its file.
        tree: The command tree of ``harness``, to check the artefacts' commands against.

    Raises:
        StudyError: A reference, a name or an option is wrong.
        HarnessError: A file that it names cannot be read.
    """
    check_names(study)
    graph = nodes(study)
    of_runs = list(dict.fromkeys(n.variant.name for n in graph.values() if n.variant))
    _check_baseline(study, graph, of_runs)
    built: dict[str, Unit] = {}
    for name in sequence(study, graph):
        node = graph[name]
        try:
            built[name] = (
                _artefact(study, node, built, tree) if node.made else _cell(study, node, built)
            )
        except StudyError:
            raise
        except HarnessError as cause:  # of a file that is read for the key
            raise study.wrong(node.place, f"{name}: {cause}") from cause
    finished = finished_in(study.out)
    units = [rejudged(built[name], finished, study.out) for name in graph]
    referred = frozenset(need for node in graph.values() for need in node.needs.values())
    return Plan(study, ordered(units), _names(graph), referred, of_runs)


def _names(graph: Mapping[str, Node]) -> dict[str, frozenset[str]]:
    """By which names each unit can be asked for."""
    found = {}
    for name, node in graph.items():
        more = [node.variant.name, node.variant.run.name] if node.variant else []
        more += [node.task.name] if node.task else []
        found[name] = frozenset([name, *more])
    return found


def _check_baseline(study: Study, graph: Mapping[str, Node], of_runs: Sequence[str]) -> None:
    if study.baseline is None or study.baseline in of_runs:
        return
    variants = [node.variant for node in graph.values() if node.variant]
    own = list(dict.fromkeys(v.name for v in variants if v.run.name == study.baseline))
    said = misnamed(study.baseline, list(of_runs), "run")
    if own:
        said = f"'{study.baseline}' is several runs; the baseline is one of {', '.join(own)}"
    raise study.wrong(("compare", "baseline"), said)


def _meant(node: Node, built: Mapping[str, Unit], text: str, place: tuple[str | int, ...]) -> str:
    """A text of a unit's configuration as its command gets it."""
    return placed(filled(text, lambda name: str(built[node.needs[name]].folder)), place)


def _artefact(study: Study, node: Node, built: Mapping[str, Unit], tree: Any | None) -> Artefact:
    made = node.made
    assert made is not None
    key = keys.of_artefact(made.command, node.given, lambda name: built[node.needs[name]].key)
    stem = f"{made.name}-{key[:_SHORT]}"
    folder = study.out / "artefacts" / stem
    options = changed(node.given, lambda text, place: _meant(node, built, text, place))
    device = options.get("device", study.defaults.get("device"))
    return Artefact(
        name=made.name,
        key=key,
        folder=folder,
        words=(*words(study, made, options, tree), "--out", str(folder)),
        needs=tuple(dict.fromkeys(node.needs.values())),
        log=study.out / "logs" / f"{stem}.log",
        resources=_resources(device),
    )


def _cell(study: Study, node: Node, built: Mapping[str, Unit]) -> Cell:
    variant, task = node.variant, node.task
    assert variant is not None and task is not None
    config = changed(node.given, lambda text, place: _meant(node, built, text, place))
    said = config.get("metadata") or {}
    judged = any(k == "judge" or k.startswith("judge_") for k in said) and asks_judge(
        config["tasks"][0], config.get("include_path")
    )
    key, unjudged = keys.of_cell(
        node.given, lambda name: built[node.needs[name]].key, judged=judged
    )
    stem = f"{variant.name}.{re.sub(r'[^A-Za-z0-9_.+-]', '_', task.name)}-{key[:_SHORT]}"
    arguments = config.get("model_args") or {}
    return Cell(
        name=node.name,
        key=key,
        folder=study.out / "cells" / stem,
        words=("lm_eval", "run", "--config", str(study.out / "configs" / f"{stem}.yaml")),
        needs=tuple(dict.fromkeys(node.needs.values())),
        log=study.out / "logs" / f"{stem}.log",
        resources=_resources(
            arguments.get("device", config.get("device")),
            str(config["model"]),
            arguments.get("tensor_parallel_size"),
        ),
        run=variant.name,
        task=task.task,
        config=config,
        sharing=keys.sharing(config),
        unjudged=unjudged,
    )


def _resources(device: object, model: str = "", parallel: object = None) -> Resources:
    """What a unit needs: GPUs, unless its device is another; lm-eval takes the first by default.

    Models that are not run here, such as services, need none.
    """
    if isinstance(parallel, int):
        return Resources(gpus=float(parallel))
    here = not model or model.startswith(_RUN_HERE)
    return Resources(gpus=float(str(device or "cuda").startswith(("cuda", "auto")) and here))
