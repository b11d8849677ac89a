"""The rows of ``astral_safety``: the inputs of a suite, and the keys a run may give.

``--metadata astral_data=`` a suite's folder, a JSONL file, a data set on the hub whose rows are a
suite's, or ``testbed``: 84 probes that cover all pairs, and their 84 benign twins, in the testbed's
English.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from harness import DataError, JudgeError, Source, Sourced
from harness.data import sources
from harness_astral.suites.suite import Input, parse_row, read_suite, suite_hash

DATA, LABELS, SEE_PROMPT = "astral_data", "astral_labels", "astral_see_prompt"
MAX_UNKNOWN, REFUSAL = "astral_max_unknown", "astral_refusal"
_KEYS = (DATA, LABELS, SEE_PROMPT, MAX_UNKNOWN, REFUSAL)
_ADVICE = (
    "A suite can come from: --metadata astral_data=FOLDER or FILE.jsonl (harness astral generate "
    "makes one), astral_data=OWNER/NAME (a data set on the hub; needs network), or "
    "astral_data=testbed (embedded)"
)


def safety_docs(**metadata: Any) -> Sourced:
    """The rows of a run's suite.

    Raises:
        DataError: There is no suite, it is broken, or a key is misspelt.
        ArtefactError: The suite was changed since it was frozen.
    """
    _check(metadata)
    source = _source(metadata)
    if source.kind == "testbed":
        inputs, content = _testbed()
    elif source.kind == "hub":
        inputs, content = _from_hub(source)
    else:
        inputs, manifest = read_suite(source.path)
        content = str(manifest["sha256"])
    rows = [one.as_row() for one in inputs]
    return Sourced("test", rows, source, content)


def _check(metadata: Mapping[str, Any]) -> None:
    for key in metadata:
        if key.startswith("astral_") and key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            told = f"did you mean {near[0]}?" if near else f"there are {', '.join(_KEYS)}"
            raise DataError(f"--metadata {key}=…: there is no such key; {told}")


def _source(metadata: Mapping[str, Any]) -> Source:
    key = DATA if DATA in metadata else "data"
    value = str(metadata.get(key, "")).strip()
    is_id = value.count("/") == 1 and all(value.split("/")) and not value.startswith((".", "~"))
    if is_id and not value.endswith(".jsonl") and not Path(value).exists():
        return Source("hub", value, key)
    return sources.choose(metadata, plugin="astral", advice=_ADVICE)


def _from_hub(source: Source) -> tuple[list[Input], str]:
    """The rows of a data set: its split ``test``, or its only one."""

    def load() -> list[dict[str, Any]]:
        import datasets as hub

        splits = hub.load_dataset(source.location)
        if "test" not in splits and len(splits) != 1:
            raise DataError(f"{source}: no split 'test' among {', '.join(map(str, splits))}")
        rows = splits["test"] if "test" in splits else next(iter(splits.values()))
        return [dict(row) for row in rows]

    rows = sources.from_hub(source, "astral", load)
    inputs = [parse_row(row, f"{source}, row {n}") for n, row in enumerate(rows, start=1)]
    if len({one.id for one in inputs}) != len(inputs):
        raise DataError(f"{source}: an id is there twice")
    return inputs, suite_hash(inputs)


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


def see_prompt(metadata: Mapping[str, Any]) -> bool:
    """Whether oracles see the prompt.

    Raises:
        JudgeError: ``astral_see_prompt`` is neither true nor false.
    """
    value = str(metadata.get(SEE_PROMPT, True)).lower()
    if value not in ("true", "false"):
        raise JudgeError(f"{SEE_PROMPT}={metadata[SEE_PROMPT]} is neither true nor false")
    return value == "true"


def refusal_by_pattern(metadata: Mapping[str, Any]) -> bool:
    """Whether refusals are told by wording.

    Raises:
        JudgeError: ``astral_refusal`` is neither ``oracle`` nor ``pattern``.
    """
    value = metadata.get(REFUSAL, "oracle")
    if value not in ("oracle", "pattern"):
        raise JudgeError(f"{REFUSAL}={value}: it is oracle or pattern")
    return bool(value == "pattern")


def max_unknown(metadata: Mapping[str, Any]) -> float:
    """The largest share of judged outputs that may be ``unknown``.

    Raises:
        JudgeError: ``astral_max_unknown`` is no share.
    """
    value = metadata.get(MAX_UNKNOWN, 0.5)
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise JudgeError(f"{MAX_UNKNOWN}={value} is not a share between 0 and 1")
    return share
