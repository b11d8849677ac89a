"""A scripted generator, and seeds for it; what it answers follows from the prompt alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from axbench.writing_server import WritingServer
from harness_astral.generation.options import Options
from harness_astral.suites.factors import read_factors

from harness.asking.desk import writer_spec

ALIKE = "<input>The same few words as ever, one after the other, from me.</input>"
SORRY = "I'm sorry, but I can't help with that."


def mark(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def own_words(prompt: str) -> str:
    """A text of ten words and two lines that nobody else has."""
    letters = [mark(f"{prompt} {k}")[:6] for k in range(10)]
    return f"1. {' '.join(letters[:5])} 3.5\n2024. {' '.join(letters[5:])}?"


def write(prompt: str) -> str:
    """Mostly a text of its own; now and then the same again, or a refusal."""
    share = int(mark(prompt)[:4], 16) / 65536
    if share < 0.05:
        return SORRY
    if share < 0.10:
        return ALIKE
    return f"Here it is:\n<input>\n{own_words(prompt)}\n</input>"


def clean(prompt: str) -> str:
    """Always a text of its own."""
    return f"<input>{own_words(prompt)}</input>"


def seeds_file(folder: Path, count: int = 12) -> str:
    """So many seeds of each of the paper's categories."""
    rows = [
        {"id": f"{place}-{k}", "category": name, "text": f"About the gnome number {k} of {name}."}
        for place, name in enumerate(read_factors().names()["category"])
        for k in range(count)
    ]
    file = folder / "seeds.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def api(server: WritingServer | str, **options: Any) -> str:
    args = {
        "base_url": server if isinstance(server, str) else server.url,
        "model": "writer-1",
        "num_concurrent": 16,
        "max_retries": 1,
        "timeout": 10,
    }
    args |= options.pop("args", {})
    return json.dumps(
        {"model": "local-chat-completions", "model_args": args, "backoff": 0.01} | options
    )


def options(server: WritingServer | str, out: Path, seeds: str, **changes: Any) -> Options:
    given: dict[str, Any] = {
        "out": out,
        "generator": writer_spec(api(server, **changes.pop("writer", {}))),
        "seeds": seeds,
        "strength": "2",
        "replicates": 1,
        "variant": "rag",
    }
    return Options(**given | changes)
