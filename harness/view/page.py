"""The page itself: one HTML file with its style and script, which loads the shards beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.artefacts.writing import write_text
from harness.reports.page import embedded_json, page_style, source, source_hash, template

_ROOM = "harness.view"
_SCRIPTS = ("store.js", "filters.js", "marks.js", "sample.js", "main.js")


def write_page(path: Path, *, title: str, data: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: The file.
        title: Its heading.
        data: What it knows before a shard is loaded.

    Raises:
        HarnessError: It cannot be written.
    """
    style = "\n".join([page_style(), source(_ROOM, "view.css")])
    parts = [source(_ROOM, name) for name in _SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"
    page = template(source(_ROOM, "view.html.j2")).render(
        title=title,
        data=embedded_json(data),
        style=style,
        style_hash=source_hash(style),
        script=script,
        script_hash=source_hash(script),
        made=datetime.now(UTC),
        n_runs=len(data["runs"]),
        n_tasks=len(data["tasks"]),
        n_documents=data["documents"],
        left_out=data["left_out"],
    )
    write_text(path, page)
