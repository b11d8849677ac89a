"""What pages share: style and scripts from files, safe embedding, one template environment."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.reports.figures import CSS

if TYPE_CHECKING:
    import jinja2


def source(room: str, name: str) -> str:
    """A template, style or script as it stands in a package."""
    return files(room).joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def page_style() -> str:
    """The style that all pages begin with."""
    return source(__package__, "page.css")


def report_style(room: str) -> str:
    """The style of a plugin's report: that of all pages and of pictures, its own ``report.css``."""
    return "\n".join([page_style(), CSS, source(room, "report.css")])


def template(text: str) -> jinja2.Template:
    """A page's template: what is put in is escaped, what is missing is an error."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(text)


def folder_from(page: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """The address of a folder as a link of a page has it: relative, and never of another scheme.

    >>> folder_from("out/page.html", "out/my view")
    'my%20view'
    """
    place = os.path.relpath(Path(folder).resolve(), Path(page).resolve().parent)
    return quote(Path(place).as_posix())


def source_hash(source: str) -> str:
    """The hash a content security policy knows an inline script or style by."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def embedded_json(value: object) -> str:
    r"""JSON that cannot end the script element it stands in, nor open a comment.

    >>> embedded_json("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded
