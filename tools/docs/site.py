"""mkdocs' hook: pages that lie elsewhere in the repository, and pages that the code makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from tools.docs import places, reference


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the papers' pages, the changelog and the reference."""
    for place, at in places.elsewhere().items():
        files.append(File.generated(config, at, abs_src_path=str(places.ROOT / place)))
    for at, text in reference.pages().items():
        files.append(File.generated(config, at, content=text))
    return files


def on_page_markdown(
    markdown: str, page: Any, config: MkDocsConfig, files: Files, **_: Any
) -> str | None:
    """Let links between files of the repository lead to the pages that they are here."""
    if not page.file.abs_src_path:
        return None

    def needed(file: Path, at: str) -> None:
        if files.get_file_from_path(at) is None:
            files.append(File.generated(config, at, abs_src_path=str(file)))

    return places.rewritten(markdown, Path(page.file.abs_src_path), page.file.src_uri, needed)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Hold that a page loads nothing from elsewhere."""
    if found := places.loaded_from_elsewhere(output):
        raise PluginError(f"{page.file.src_uri} loads {found}")
    return output
