"""Who judges a stranger's results, and which files they may name: what the user confirms."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.artefacts.reading import loads
from harness.asking.spec import AssistantSpec
from harness.data.sources import Row
from harness.errors import JudgeError, one_line

log = logging.getLogger(__name__)
SAME = "same"
"""The run's own judge, confirmed."""
_HARMLESS = frozenset({"model", "pretrained", "revision", "dtype", "max_length", "num_concurrent"})
_MOST_VOTES = 100


def named(judge: str) -> Any:
    """The judge of ``--judge``: a model's name, or what its JSON says."""
    if not judge.lstrip().startswith(("{", "[")):
        return judge
    try:
        return loads(judge)
    except ValueError as cause:
        raise JudgeError(f"--judge is neither a model's name nor valid JSON: {cause}") from None


def whom(path: Path, configs: Mapping[str, Any], judged: Collection[str]) -> str:
    """What to say to a user who has named no judge."""
    notes = [(configs[name].get("metadata") or {}).get("judge") for name in judged]
    names = {
        f"{one['model']} {json.dumps(one.get('model_args') or {}, sort_keys=True)}"
        for note in notes
        for one in (note if isinstance(note, list) else [note])
        if isinstance(one, Mapping) and one.get("model") not in (None, "none")
    }
    if not names:
        return f"task '{next(iter(judged))}' was not judged before: name a judge with --judge"
    return one_line(
        f"{path} names as its judge {', '.join(sorted(names))}: confirm it with --judge same, or "
        "name a judge with --judge"
    )


def same_judge(note: Any, name: str, keys: frozenset[str], override: Row) -> Any:
    """The run's judge, or judges, from what its results say of them."""
    if "judge" in override:
        return None
    if isinstance(note, list) and note:
        return [same_judge(one, name, keys, override) for one in note]
    if not isinstance(note, Mapping) or note.get("model") in (None, "none"):
        raise JudgeError(f"task '{name}' was not judged before: name a judge with --judge")
    if hidden := note.get("hidden"):
        names = ", ".join(map(str, hidden)) if isinstance(hidden, list) else hidden
        raise JudgeError(
            f"the run's judge had arguments that are not saved ({names}): "
            "give the judge again with --judge"
        )
    args, votes = note.get("model_args") or {}, note.get("votes", 1)
    if not isinstance(args, Mapping) or not isinstance(votes, int) or votes > _MOST_VOTES:
        raise JudgeError(
            f"task '{name}': the run's judge has no arguments by name, or more than {_MOST_VOTES} "
            "votes: give the judge with --judge"
        )
    if foreign := sorted(set(args) - _HARMLESS):
        raise JudgeError(
            f"task '{name}': the run's judge has {', '.join(foreign)}, which a results file does "
            "not decide: give the judge with --judge"
        )
    for key in sorted(keys & set(note)):
        if not re.fullmatch(r"[\w-]+", str(note[key])):
            raise JudgeError(
                f"task '{name}': the run's judge has {key}={one_line(note[key], 80)}, a file, "
                "which a results file does not decide: give the judge with --judge"
            )
    known = {field.name for field in fields(AssistantSpec)} - {"store"} | keys
    return {key: value for key, value in note.items() if key in known}


def without_files(name: str, config: Row, keys: frozenset[str]) -> Row:
    """A task's configuration without the files that it names: where they lie, a stranger says."""
    metadata = config.get("metadata") or {}
    for key in sorted(keys & metadata.keys()):
        log.warning(
            "task '%s': %s=%s is a file that the results name, and is left out; --with-files reads "
            "it",
            *(name, key, one_line(metadata[key], 200)),
        )
    return config | {"metadata": {k: v for k, v in metadata.items() if k not in keys}}
