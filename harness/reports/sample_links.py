"""The address of a sample in the pages that ``harness view`` writes."""

from __future__ import annotations

from urllib.parse import quote


def address(view: str, *, task: str = "", doc: str = "", run: str = "") -> str:
    """The address of a sample; what is not given is left open.

    >>> address("view", task="gsm8k", doc="12")
    'view/index.html#task=gsm8k&doc=12'

    Args:
        view: The folder of pages, as seen from the page that links there.
        task: The task.
        doc: lm-eval's number of the document.
        run: The run's id, as the leaderboard has it.
    """
    named = {"task": task, "doc": doc, "run": run}
    parts = [f"{name}={quote(value, safe='')}" for name, value in named.items() if value]
    page = f"{quote(view.rstrip('/'), safe='/:')}/index.html"
    return f"{page}#{'&'.join(parts)}" if parts else page
