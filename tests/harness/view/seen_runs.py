"""Runs with samples for tests, in the shape lm-eval writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DATE = "2026-11-30T10-00-00.000000"


def line(number: int, answer: str = "An answer.", **more: Any) -> dict[str, Any]:
    """A line of samples of a task with written answers, scored by exact match."""
    doc = more.pop("doc", {"question": f"Question {number}?"})
    prompt = more.pop("prompt", f"Q: {doc.get('question', number)}\nA:")
    found = {
        "doc_id": number,
        "doc": doc,
        "target": "An answer.",
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": []}}},
        "resps": [[answer]],
        "filtered_resps": [answer],
        "filter": "none",
        "metrics": ["exact_match"],
        "doc_hash": f"{number:064x}",
        "exact_match": float(answer == "An answer."),
    }
    return found | more


def judged(number: int, answer: str, ratings: Mapping[str, float | None], **more: Any) -> Any:
    """A line of a judged task."""
    judgement = {
        "text": answer,
        "trace": more.pop("trace", {}),
        "ratings": dict(ratings),
        "answers": {name: [f"Because of {name}. Rating: [[{r}]]"] for name, r in ratings.items()},
    }
    value = {"concept_id": 0}
    return line(
        number,
        answer,
        filtered_resps=[json.dumps(judgement, ensure_ascii=False)],
        metrics=["exact_match", "n_unscored"],
        exact_match=value,
        n_unscored=value,
        **more,
    )


def run(
    folder: Path,
    tasks: Mapping[str, Iterable[Mapping[str, Any] | str]],
    *,
    model: str = "org/model",
    up: bool = True,
    metadata: Mapping[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Write a run; returns its results file."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = {
        "results": {name: {"alias": name, "exact_match,none": 0.5} for name in tasks},
        "configs": {
            name: {"task": name, "metadata": {"version": 1.0, **(metadata or {})}} for name in tasks
        },
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {name: {"exact_match": up} for name in tasks},
        "n-samples": {},
        "config": {"model": "hf", "model_args": {"pretrained": model}, **config},
        "date": 1_760_000_000.0,
        "model_name": model,
    }
    results = folder / f"results_{DATE}.json"
    results.write_text(json.dumps(saved))
    for name, lines in tasks.items():
        with (folder / f"samples_{name}_{DATE}.jsonl").open("w", encoding="utf-8") as file:
            for one in lines:
                file.write(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False))
                file.write("\n")
    return results


def read_script(path: Path) -> Any:
    """What a shard hands to the page."""
    text = path.read_text(encoding="utf-8")
    name, encoded = json.loads("[" + text[len("harnessView(") : -len(");\n")] + "]")
    assert name == path.stem
    return json.loads(encoded)


def texts(view: Path) -> list[dict[str, Any]]:
    """All samples of a view."""
    count = len(list((view / "data").glob("texts-*.js")))
    return [
        one for place in range(count) for one in read_script(view / "data" / f"texts-{place}.js")
    ]


def documents(view: Path) -> list[list[Any]]:
    """All documents of a view."""
    found: list[list[Any]] = read_script(view / "data" / "index-0.js")
    return found
