"""Runs a page's commands, in order, in one folder, without a network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.docs.blocks import Block, blocks, files

ENVIRONMENT = {
    "COLUMNS": "100",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",
    "PYTHONWARNINGS": "ignore",
    "TERM": "dumb",
    "TQDM_DISABLE": "1",
}


class BlockError(Exception):
    """A block of a page did not run."""


def run(page: Path, folder: Path, more: Mapping[str, str]) -> Iterator[tuple[Block, str | None]]:
    """Run a page's blocks.

    Args:
        page: The Markdown file.
        folder: Where its commands run.
        more: What their environment has besides.

    Yields:
        Each block with what it printed; None where it is not run.

    Raises:
        BlockError: A command failed; its page, line and last words.
    """
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "PAPERHARNESS_CACHE": str(folder / ".cache"),
        **more,
    }
    text = page.read_text(encoding="utf-8")
    for name, content in files(text).items():
        (folder / name).write_text(content, encoding="utf-8")
    for block in blocks(text):
        yield block, None if block.reason else _run(block, page, folder, environment)


def _run(block: Block, page: Path, folder: Path, environment: Mapping[str, str]) -> str:
    ended = subprocess.run(  # noqa: S603 -- the project's own pages
        ["bash", "-e", "-u", "-o", "pipefail", "-c", block.script],  # noqa: S607
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        said = (ended.stderr + ended.stdout)[-2000:]
        raise BlockError(f"{page}:{block.line}: exit status {ended.returncode}\n{said}")
    return ended.stdout.replace(f"{folder}/", "")
