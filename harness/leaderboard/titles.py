"""What runs are called where they stand together: model and method, and what tells them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.artefacts.reading import loads
from harness.leaderboard.rows import Run
from harness.reports.values import mapping, text

_FACTS = (
    ("revision", "revision"),
    ("commit", "model_sha"),
    ("precision", "dtype"),
    ("artefact", "artefact_hash"),
    ("template", "chat_template"),
    ("instruction", "system_instruction"),
)
"""What may tell runs apart: as it is read, and as runs have it."""
Facts = Mapping[str, str]


def title(run: Run) -> str:
    """Model and method in one line; of a stock model its name alone."""
    model = run.name.rstrip("/").rpartition("/")[2] if run.name.startswith("/") else run.name
    return " ".join(filter(None, [model, run.label]))


def titles(runs: Iterable[Run]) -> dict[str, str]:
    """By ``run_id`` a run's title; what differs stands behind titles that would be alike."""
    given = list(runs)
    more = apart([(title(run), run) for run in given])
    return {
        run.run_id: " · ".join(filter(None, [title(run), one]))
        for run, one in zip(given, more, strict=True)
    }


def apart(named: Sequence[tuple[str, Run]]) -> list[str]:
    """What tells runs of one name apart: of the method's settings, else of all that is known.

    Args:
        named: Each run with what it is called; runs of one ``variant`` are the same.

    Returns:
        By run the settings in which it differs; empty where the name is enough.
    """
    alike: dict[str, list[int]] = defaultdict(list)
    for place, (name, _) in enumerate(named):
        alike[name].append(place)
    found = [""] * len(named)
    for places in alike.values():
        runs = [named[place][1] for place in places]
        count = len({run.variant for run in runs})
        told = differing([settings(run.method_args) for run in runs])
        if len({*told}) < count:
            told = differing([facts_of([run]) for run in runs])
        for place, one in zip(places, told, strict=True):
            found[place] = ", ".join(one)
    return found


def differing(facts: Sequence[Facts]) -> list[tuple[str, ...]]:
    """Of each its facts that not all have alike."""
    keys = dict.fromkeys(key for fact in facts for key in fact)
    varying = [key for key in keys if len({fact.get(key, "") for fact in facts}) > 1]
    return [tuple(f"{key} {fact[key]}" for key in varying if fact.get(key)) for fact in facts]


def facts_of(runs: Sequence[Run]) -> dict[str, str]:
    """What may tell one thing that runs are of from another of its name."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for run in runs:
        facts = {**known(run.who[-1]), **known(run.gen_kwargs)}
        facts |= {told: getattr(run, key) for told, key in _FACTS}
        for key, value in facts.items():
            if value not in (None, "", run.name, run.dtype) or key == "precision":
                found[key][_short(text(value))] = None
    return {key: " or ".join(values) for key, values in found.items()}


def settings(encoded: str) -> dict[str, str]:
    """A method's settings as they are read, those of a part without its name before them."""
    return {
        key.rpartition(".")[2]: f"{value:.4g}" if isinstance(value, float) else _short(text(value))
        for key, value in known(encoded).items()
    }


def known(encoded: str) -> dict[str, Any]:
    """Settings as they are saved with a run."""
    try:
        return mapping(loads(encoded)) if encoded else {}
    except ValueError:
        return {"": encoded}


def last(value: str) -> str:
    """Of a path its last part."""
    return value.rstrip("/").rpartition("/")[2] if value.startswith("/") else value


def _short(value: str) -> str:
    """A value; of a hash its beginning, of a path its last part."""
    if len(value) >= 40 and all(digit in "0123456789abcdef" for digit in value):
        return value[:8]
    return last(value)
