"""The files of one lm-eval run: ``results_<date>.json`` and its ``samples_<task>_<date>.jsonl``."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.artefacts.reading import fitting, loads, read_bytes, regular
from harness.artefacts.writing import replacing, write_lines, write_text
from harness.data.lines import numbered
from harness.data.sources import Row
from harness.errors import DataError, one_line

_LONGEST = 200
"""Bytes of a task's name, which is part of a file's name."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Config(_Strict):
    metadata: dict[str, Any] | None = None


class _Count(_Strict):
    effective: int | None = None


class _Results(_Strict):
    """What judging and reports read of lm-eval's results."""

    results: dict[str, dict[str, Any]]
    configs: dict[str, _Config]
    config: dict[str, Any] = Field({})
    groups: dict[str, dict[str, Any]] = Field({})
    group_subtasks: dict[str, list[str]] = Field({})
    higher_is_better: dict[str, Any] = Field({})
    samples: dict[str, _Count] = Field({}, alias="n-samples")


class _Sample(_Strict):
    """What they read of a line of samples."""

    doc: dict[str, Any]
    resps: list[Any]
    filtered_resps: list[Any]
    filter: str
    metrics: list[str]


def results_file(path: Path) -> Path:
    """The file itself, or the newest in a folder.

    Raises:
        DataError: There is none, or several folders hold some.
    """
    if not path.is_dir():
        return path
    found = sorted(path.glob("results_*.json")) or sorted(path.rglob("results_*.json"))
    if not found:
        raise DataError(f"{path}: no results_*.json in this folder")
    if len({file.parent for file in found}) > 1:
        folders = ", ".join(sorted({str(file.parent) for file in found}))
        raise DataError(f"{path} holds results in several folders; name one: {folders}")
    return found[-1]


def read_results(path: Path) -> Row:
    """The results as lm-eval saved them.

    Raises:
        DataError: The file is missing, damaged or something else.
    """
    try:
        saved: Row = loads(read_bytes(path))
    except (OSError, ValueError) as cause:
        why = getattr(cause, "strerror", None) or one_line(cause, 200)
        raise DataError(f"{path} cannot be read as lm-eval's results: {why}") from cause
    if not isinstance(saved, dict) or not {"results", "configs"} <= set(saved):
        raise DataError(f"{path} is not lm-eval's results: no 'results' and 'configs' in it")
    fitting(_Results, saved, path)
    for name in saved["configs"]:
        samples_file(path, name)
    return saved


def read_samples(path: Path, saved: Row, name: str) -> list[Row]:
    """The saved samples of one task.

    Raises:
        DataError: They were not saved, or are damaged or incomplete.
    """
    file = samples_file(path, name)
    if not file.exists():
        raise DataError(f"{file}: no such file; samples are saved by lm_eval --log_samples")
    rows = []
    for number, row in numbered(file):
        fitting(_Sample, row, f"{file}, line {number}")
        if len(row["resps"]) != len(row["filtered_resps"]):
            raise DataError(f"{file}, line {number}: resps and filtered_resps are not as many")
        rows.append(row)
    expected = saved.get("n-samples", {}).get(name, {}).get("effective")
    for key in {row["filter"] for row in rows} or {"none"}:
        count = sum(row["filter"] == key for row in rows)
        if count == 0 or (expected is not None and count != expected):
            raise DataError(f"{file} holds {count} of {expected} samples; it is cut or damaged")
    return rows


def _date(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def samples_file(results: Path, name: str) -> Path:
    """Where the samples of a task lie beside its results.

    Raises:
        DataError: The name leads elsewhere, or a link lies there.
    """
    whole = name.isprintable() and 0 < len(name.encode()) <= _LONGEST
    if Path(name).name != name or not whole:
        raise DataError(f"{results}: '{one_line(name, 80)}' is no name of a task")
    file = results.with_name(f"samples_{name}_{_date(results)}.jsonl")
    if file.is_symlink():
        raise DataError(f"{file} is a link; samples are read from regular files only")
    return file


def write_run(source: Path, folder: Path, saved: Row, samples: Mapping[str, list[Row]]) -> Path:
    """Write a run anew: samples, then results, each file whole or not at all.

    Args:
        source: The results file the run was read from; samples of tasks that are not given are
            copied from beside it.
        folder: Where the new files go.
        saved: The results.
        samples: New samples by task.

    Returns:
        The new results file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.now().isoformat().replace(":", "-")
    for name in saved["configs"]:
        old = samples_file(source, name)
        new = folder / f"samples_{name}_{date}.jsonl"
        if name in samples:
            write_lines(new, samples[name], dumps=_json)
        elif old.exists():
            _copy(old, new)
    results = folder / f"{source.stem.rpartition('_')[0]}_{date}.json"
    write_text(results, _json(saved, indent=2))
    return results


def _copy(old: Path, new: Path) -> None:
    """Copy a regular file, whole or not at all.

    Raises:
        DataError: It is none, a link among them, or cannot be read.
    """
    try:
        with (
            regular(old, links=False) as content,
            replacing(new) as draft,
            draft.open("wb") as file,
        ):
            shutil.copyfileobj(content, file)
    except OSError as cause:
        raise DataError(f"{old} cannot be copied: {cause.strerror}") from cause


def write_unscored(
    folder: Path, config: Row, pairs: Sequence[tuple[Row, str]], filtered: Sequence[str]
) -> Path:
    """Save the responses of a run that ends before lm-eval can: enough to judge them later.

    Args:
        folder: Where the new files go.
        config: The task's configuration, as lm-eval saves it.
        pairs: Each document with its response.
        filtered: What lm-eval would log of each filtered response.

    Returns:
        The results file, without any metric.
    """
    name, count = config["task"], len(pairs)
    keys = ("doc", "resps", "filtered_resps", "filter", "metrics")
    samples = [
        {"doc_id": number}
        | dict(zip(keys, (doc, [[str(response)]], [text], "none", []), strict=True))
        for number, ((doc, response), text) in enumerate(zip(pairs, filtered, strict=True))
    ]
    metadata: Row = config.get("metadata") or {}
    model = metadata.get("pretrained") or metadata.get("model") or "unknown"
    saved = {
        "results": {name: {"name": name, "alias": name, "sample_len": count}},
        "configs": {name: config},
        "versions": {name: metadata.get("version")},
        "n-shot": {name: config.get("num_fewshot") or 0},
        "n-samples": {name: {"original": metadata.get("n_rows", count), "effective": count}},
        "config": {"model": "unknown", "model_args": {}},
        "model_name": model,
    }
    return write_run(folder / "results_unscored.json", folder, saved, {name: samples})


def _json(value: Any, indent: int | None = None) -> str:
    from lm_eval.utils import handle_non_serializable

    def dumped(what: Any) -> str:
        return json.dumps(
            what,
            indent=indent,
            default=handle_non_serializable,
            ensure_ascii=False,
            allow_nan=False,
        )

    try:
        return dumped(value)
    except ValueError:  # NaN or infinity, which JSON does not have
        return dumped(_finite(value))


def _finite(value: Any) -> Any:
    """A value with null in the place of numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
