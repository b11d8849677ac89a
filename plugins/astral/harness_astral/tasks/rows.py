"""The rows of ``astral_safety``: the inputs of a suite.

``--metadata astral_data=`` a suite's folder, a JSONL file, a data set on the hub (a suite's
folder, or its rows), or ``testbed``: 84 probes that cover all pairs, and their 84 benign twins, in
the testbed's English.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness import DataError, Source, Sourced, from_hub
from harness_astral.options import run_options
from harness_astral.suites.suite import MANIFEST, Input, parse_row, read_suite, suite_hash


def safety_docs(**metadata: Any) -> Sourced:
    """The rows of a run's suite.

    Raises:
        DataError: There is no suite, it is broken, or a key is misspelt.
        JudgeError: A value is none that its key takes.
        ArtefactError: The suite was changed since it was frozen.
    """
    source = run_options(metadata).source()
    if source.kind == "testbed":
        inputs, content = _testbed()
    elif source.kind == "hub":
        inputs, content = _of_hub(source)
    else:
        inputs, manifest = read_suite(source.path)
        content = str(manifest["sha256"])
    rows = [one.as_row() for one in inputs]
    return Sourced("test", rows, source, content)


def _of_hub(source: Source) -> tuple[list[Input], str]:
    """A suite's folder that was uploaded; else a data set's split ``test``, or its only one."""
    folder = from_hub(source, "astral", lambda: _suite_folder(source.location))
    if folder is not None:
        inputs, manifest = read_suite(folder)
        return inputs, str(manifest["sha256"])

    def load() -> list[dict[str, Any]]:
        import datasets as hub

        splits = hub.load_dataset(source.location)
        if "test" not in splits and len(splits) != 1:
            raise DataError(f"{source}: no split 'test' among {', '.join(map(str, splits))}")
        rows = splits["test"] if "test" in splits else next(iter(splits.values()))
        return [dict(row) for row in rows]

    rows = from_hub(source, "astral", load)
    inputs = [parse_row(row, f"{source}, row {n}") for n, row in enumerate(rows, start=1)]
    if len({one.id for one in inputs}) != len(inputs):
        raise DataError(f"{source}: an id is there twice")
    return inputs, suite_hash(inputs)


def _suite_folder(name: str) -> Path | None:
    """The files of a data set that has a suite's manifest."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        hf_hub_download(name, MANIFEST, repo_type="dataset")
    except EntryNotFoundError:  # none, or none in the cache: what reads rows then says so
        return None
    return Path(snapshot_download(name, repo_type="dataset"))


def _testbed() -> tuple[list[Input], str]:
    from harness.asking.desk import writer_spec
    from harness_astral.generation.generate import generate
    from harness_astral.generation.options import Options

    with tempfile.TemporaryDirectory() as folder:
        made = generate(
            Options(
                out=Path(folder) / "suite",
                generator=writer_spec("testbed-writer"),
                seeds="testbed",
                strength="2",
                replicates=1,
                benign=True,
            )
        )
    return list(made.inputs), str(made.manifest["sha256"])
