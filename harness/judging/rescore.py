"""Judge saved samples: from ``results_*.json`` and its ``samples_*.jsonl`` to new ones.

Only what judging needs is rebuilt: each judged task, on the documents that lie in its samples, so
that neither the model nor the data set is asked for again. Metrics, standard errors and group means
come from lm-eval's own functions; everything else in the results stays as it was, but for the judge
in ``configs[task].metadata`` and ``scored_from``, the file that was scored.

Results come from anywhere, and are data. Tasks come from installed packages and from folders that
the user names; who judges, at what address, with which code and into which store, the user says. Of
the judge in the file at most its name and harmless settings are taken, where the user confirms it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness._autoload  # noqa: F401 -- plugins join lm-eval here as under the stock command
from harness.artefacts.reading import fitting, loads
from harness.artefacts.writing import check_writable
from harness.data.sources import Row, Source, Sourced
from harness.errors import DataError, JudgeError
from harness.host import discovery
from harness.host.lm_eval_seams import aggregate, group_fields, load_yaml, writable
from harness.judging.confirmed import SAME, named, same_judge, whom, without_files
from harness.judging.judged_task import JudgedTask, Judgement
from harness.judging.run_files import read_results, read_samples, results_file, write_run
from harness.models.responses import Completion
from harness.reports.values import number, whole

_RESAMPLES = 100_000  # lm-eval's default


@dataclass(frozen=True)
class Scored:
    """One task after judging: its new samples and the values of its metrics."""

    task: JudgedTask
    samples: list[Row]
    values: Mapping[tuple[str, str], list[Any]]


def rescore(
    path: Path,
    *,
    judge: str | None = None,
    out: Path | None = None,
    max_unscored: float | None = None,
    scope: str | None = None,
    include_path: Sequence[Path] = (),
    with_files: bool = False,
) -> Path:
    """Judge every judged task of a run again and write new results and samples.

    Args:
        path: A results file of lm-eval, or the folder that holds it (the newest is taken).
        judge: An lm-eval model's name or a JSON object; ``same`` is the judge of the run, which
            must have no address, store or code.
        out: Folder for the new files; by default that of the old ones.
        max_unscored: Overrides the run's ``judge_max_unscored``.
        scope: Overrides its ``judge_scope``.
        include_path: Folders of task YAMLs besides those of installed plugins; their
            ``!function`` runs.
        with_files: Whether files that the results name (``file_keys`` of the tasks) are read.

    Returns:
        The new results file.

    Raises:
        DataError: Results or samples are missing or damaged, or no task in them is judged.
        JudgeError: The judge is missing, not confirmed, misconfigured or leaves too much unscored.
    """
    path = results_file(path)
    saved = read_results(path)
    override: Row = {} if judge in (None, SAME) else {"judge": named(str(judge))}
    if max_unscored is not None:
        override["judge_max_unscored"] = max_unscored
    if scope is not None:
        override["judge_scope"] = scope
    library = _Library(include_path)
    kinds = {name: library.find(name, config) for name, config in saved["configs"].items()}
    judged = {name: found for name, found in kinds.items() if found}
    if not judged:
        raise DataError(f"{path}: none of its tasks is judged ({', '.join(kinds) or 'no tasks'})")
    if judge is None:
        raise JudgeError(whom(path, saved["configs"], judged))
    samples = {name: _rows(path, saved, name, found["class"]) for name, found in judged.items()}
    check_writable((out or path.parent) / path.name)

    def own_config(name: str, found: Row) -> Row:
        config: Row = saved["configs"][name]
        return config if with_files else without_files(name, config, found["class"].file_keys)

    scored = {
        name: _score(_task(name, found, own_config(name, found), samples[name], override), rows)
        for (name, found), rows in zip(judged.items(), samples.values(), strict=True)
    }
    for name, one in scored.items():
        _update(saved, name, one, path.name)
    _update_groups(saved, set(scored), library)
    return write_run(
        *(path, out or path.parent, saved),
        {name: one.samples for name, one in scored.items()},
    )


def _rows(path: Path, saved: Row, name: str, kind: type[JudgedTask]) -> list[Row]:
    """A task's samples, each with a row that the task can ask about.

    Raises:
        DataError: They are missing or damaged, or a row is none of the task's.
    """
    rows = read_samples(path, saved, name)
    for place, row in enumerate(rows, start=1):
        fitting(kind.row_kind, row["doc"], f"{path}: sample {place} of {name}: doc")
    return rows


class _Library:
    """The task YAMLs that plugins bring, and those in folders that the user names."""

    def __init__(self, include_path: Sequence[Path]) -> None:
        from lm_eval.tasks import TaskManager

        folders = [folder for plugin in discovery.plugins() for folder in plugin.folders]
        for folder in include_path:
            if not folder.is_dir():
                raise DataError(f"--include-path {folder}: there is no such folder")
            folders.append(folder)
        include = [str(folder) for folder in folders]
        self._index = TaskManager(include_path=include, include_defaults=False).task_index

    def yaml(self, name: str) -> Path | None:
        """The file that defines a task or group."""
        entry = self._index.get(name)
        return Path(entry.yaml_path) if entry and entry.yaml_path else None

    def find(self, name: str, config: Mapping[str, Any]) -> Row | None:
        """A judged task's configuration; None for other tasks."""
        metadata = config.get("metadata") or {}
        path = self.yaml(name)
        if path is None:
            if "prompt_hash" in str(metadata.get("judge")):
                raise DataError(
                    f"unknown task '{name}': install the plugin that brings it, or give the folder "
                    "of its YAML by --include-path (code that the YAML names is run)"
                )
            return None
        if "class" not in load_yaml(path, functions=False):
            return None
        found: Row = load_yaml(path)
        kind = found["class"]
        return found if isinstance(kind, type) and issubclass(kind, JudgedTask) else None


def _task(name: str, found: Row, config: Row, samples: list[Row], override: Row) -> JudgedTask:
    """The task, on the documents of its samples instead of its data set."""
    metadata = dict(config.get("metadata") or {})
    kind_of_task: type[JudgedTask] = found["class"]
    metadata["judge"] = same_judge(metadata.get("judge"), name, kind_of_task.judge_keys, override)
    location = str(metadata.get("data_source", "unknown"))
    kind, _, place = location.partition(":")
    source = Source(kind, place or kind, "data")  # type: ignore[arg-type]  # as it was saved
    docs = [row["doc"] for row in samples]

    def rows(**_: Any) -> Sourced:
        return Sourced(str(metadata.get("split", "test")), docs, source)

    keys = {"tag", "group", "task_list", "dataset_kwargs", "process_docs"}
    rebuilt = {key: value for key, value in found.items() if key not in keys}
    metadata |= override
    rebuilt |= {"task": name, "custom_dataset": rows, "metadata": metadata}
    task = kind_of_task(rebuilt)
    task.config.metadata |= {key: value for key, value in metadata.items() if key != "judge"}
    return task


def _responses(sample: Row) -> Iterator[Completion]:
    """The responses of one document, with the traces that an earlier judgement kept."""
    for given, filtered in zip(sample["resps"], sample["filtered_resps"], strict=True):
        kept = _judgement(filtered)
        response = given[0] if isinstance(given, list) and given else given
        if kept is None and not isinstance(response, str):
            raise DataError(f"document {sample.get('doc_id')}: its response is no text")
        yield kept or Completion(response)


def _judgement(filtered: Any) -> Completion | None:
    """The response with its trace that an earlier judgement kept; None if this is none."""
    try:
        found = loads(filtered) if isinstance(filtered, str) else None
    except ValueError:
        return None
    text, trace = (found.get(key) if isinstance(found, dict) else None for key in ("text", "trace"))
    return Completion(text, trace) if isinstance(text, str) and isinstance(trace, dict) else None


def _score(task: JudgedTask, samples: list[Row]) -> Scored:
    """Judge all responses at once, then each document's metrics."""
    responses = [list(_responses(sample)) for sample in samples]
    docs = [s["doc"] for s, texts in zip(samples, responses, strict=True) for _ in texts]
    judgements = iter(task.judge(docs, [text for texts in responses for text in texts]))
    values: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    scored = []
    for sample, texts in zip(samples, responses, strict=True):
        own: list[Judgement] = [next(judgements) for _ in texts]
        metrics = task.process_results(sample["doc"], own)
        for metric, value in metrics.items():
            values[metric, sample["filter"]].append(value)
        stays = {key: value for key, value in sample.items() if key not in sample["metrics"]}
        judged = {"filtered_resps": [str(one) for one in own], "metrics": list(metrics)}
        scored.append(stays | judged | metrics)
    return Scored(task, scored, values)


def _update(saved: Row, name: str, scored: Scored, source: str) -> None:
    """Put one task's new metrics and judge into the results."""
    given = saved.get("config", {}).get("bootstrap_iters")
    iterations = min(given, _RESAMPLES) if isinstance(given, int) else _RESAMPLES
    metrics = writable(aggregate(scored.task, scored.values, iterations))
    before = saved["results"].get(name, {})
    stays = {key: value for key, value in before.items() if "," not in key}
    saved["results"][name] = stays | {"sample_len": len(scored.samples)} | metrics
    saved.setdefault("higher_is_better", {})[name] = scored.task.higher_is_better()
    metadata = scored.task.dump_config()["metadata"]
    saved["configs"][name]["metadata"] = metadata | {"scored_from": source}


def _update_groups(saved: Row, changed: set[str], library: _Library) -> None:
    """Average groups again, those of groups too, in lm-eval's own way."""
    from types import SimpleNamespace

    from lm_eval.api.group import Group

    children: Mapping[str, list[str]] = saved.get("group_subtasks", {})

    def leaves(name: str, above: tuple[str, ...] = ()) -> list[str]:
        if name not in children:
            return [name]
        if name in above:
            raise DataError(f"group '{name}' is said to be a part of itself")
        return [leaf for child in children[name] for leaf in leaves(child, (*above, name))]

    measured = {name: _measured(entry) for name, entry in saved["results"].items()}
    for name in saved.get("groups", {}):
        tasks = [SimpleNamespace(task_name=leaf) for leaf in leaves(name)]
        if not changed & {task.task_name for task in tasks}:
            continue
        path = library.yaml(name)
        if path is None:
            raise DataError(f"unknown group '{name}': install the plugin that brings it")
        config = {k: v for k, v in load_yaml(path).items() if k in group_fields()}
        group = Group.from_config(config)
        group.get_all_tasks = lambda recursive=True, tasks=tasks: tasks
        saved["groups"][name] = saved["results"][name] = writable(group.aggregate(measured))


def _measured(entry: Mapping[str, Any]) -> Row:
    """Of a task's entry what can be averaged."""
    numbers = {key: number(value) for key, value in entry.items()}
    found: Row = {key: value for key, value in numbers.items() if value is not None}
    found |= {key: "N/A" for key in entry if "_stderr," in key and key not in found}
    return found | {"sample_len": max(1, whole(entry.get("sample_len")) or 1)}
