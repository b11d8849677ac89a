"""The files of one lm-eval run: ``results_<date>.json`` and its ``samples_<task>_<date>.jsonl``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from harness.artefacts.reading import fitting, loads, read_bytes
from harness.artefacts.writing import write_lines, write_text
from harness.data.sources import Row, read_table
from harness.errors import DataError, one_line


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
        saved = loads(read_bytes(path))
    except (OSError, ValueError) as cause:
        raise DataError(f"{path} cannot be read as lm-eval's results: {cause}") from cause
    if not isinstance(saved, dict) or not {"results", "configs"} <= set(saved):
        raise DataError(f"{path} is not lm-eval's results: no 'results' and 'configs' in it")
    fitting(_Saved, saved, path)
    for name in saved["configs"]:
        _samples(path, name)
    return saved


class _Saved(BaseModel):
    """What is read of results by name; all else is looked at where it is shown."""

    results: dict[str, dict[str, Any]]
    configs: dict[str, dict[str, Any]]
    samples: dict[str, dict[str, int]] = Field(default_factory=dict, alias="n-samples")


class _Sample(BaseModel):
    """What is read of a line of samples by name."""

    doc: dict[str, Any]
    resps: list[Any]
    filtered_resps: list[Any]
    filter: str


def read_samples(path: Path, saved: Row, name: str) -> list[Row]:
    """The saved samples of one task.

    Raises:
        DataError: They were not saved, or are damaged or incomplete.
    """
    file = _samples(path, name)
    if not file.is_file():
        raise DataError(f"{file}: no such file; samples are saved by lm_eval --log_samples")
    rows = read_table(file, ("doc", "resps", "filtered_resps", "filter", "metrics"))
    fitting(list[_Sample], rows, file)
    expected = saved.get("n-samples", {}).get(name, {}).get("effective")
    for key in {row["filter"] for row in rows} or {"none"}:
        count = sum(row["filter"] == key for row in rows)
        if count == 0 or (expected is not None and count != expected):
            raise DataError(f"{file} holds {count} of {expected} samples; it is cut or damaged")
    return rows


def _date(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _samples(results: Path, name: str) -> Path:
    """Where the samples of a task lie beside its results.

    Raises:
        DataError: The name leads elsewhere, or a link lies there.
    """
    if Path(name).name != name:
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
        old = _samples(source, name)
        new = folder / f"samples_{name}_{date}.jsonl"
        if name in samples:
            write_lines(new, samples[name], dumps=_json)
        elif old.is_file():
            shutil.copyfile(old, new, follow_symlinks=False)
    results = folder / f"{source.stem.rpartition('_')[0]}_{date}.json"
    write_text(results, _json(saved, indent=2))
    return results


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

    return json.dumps(value, indent=indent, default=handle_non_serializable, ensure_ascii=False)
