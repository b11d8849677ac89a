"""What pages share: style and scripts from files, safe embedding, one template environment.

A plugin's report is a template ``report.html.j2`` that extends ``base.html.j2``, and what
``report_page`` is given: a head with its policy, heading, standfirst, contents, sections, footer.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.reports.figures import CSS
from harness.reports.sample_links import address

if TYPE_CHECKING:
    import jinja2


def source(room: str, name: str) -> str:
    """A template, style or script as it stands in a package."""
    return files(room).joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n")


def page_style() -> str:
    """The style that all pages begin with."""
    return source(__package__, "page.css")


def report_style(room: str) -> str:
    """The style of a page with pictures: that of all pages and of pictures, its own."""
    return "\n".join([page_style(), CSS, source(room, "report.css")])


def report_page(
    room: str, *, title: str, data: object = None, view: str = "", **values: object
) -> str:
    """A plugin's report.

    Args:
        room: The package with ``report.html.j2``, a ``report.css`` if it has a style of its own
            and, with data, ``report.js``.
        title: The page's heading.
        data: What the page's script knows; None for a page without one.
        view: The folder of ``harness view`` as seen from the page (``folder_from``), to which it
            links by ``address(view, …)``; empty for none.
        values: What else the template names.
    """
    styles = [page_style(), CSS, source(__package__, "report.css")]
    if files(room).joinpath("report.css").is_file():
        styles.append(source(room, "report.css"))
    style = "\n".join(styles)
    script = "" if data is None else source(room, "report.js")
    return template(source(room, "report.html.j2")).render(
        **values,
        title=title,
        view=view,
        style=style,
        style_hash=source_hash(style),
        address=address,
        script=script,
        script_hash=source_hash(script),
        data=embedded_json(data),
        made=datetime.now(UTC),
    )


def template(text: str) -> jinja2.Template:
    """A page's template: what is put in is escaped, what is missing is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: source(__package__, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(text)


def folder_from(page: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """A folder as seen from a page, for links between them; never of another scheme.

    >>> folder_from("out/page.html", "out/my view"), folder_from("page.html", "data:x")
    ('my view', './data:x')
    """
    place = Path(os.path.relpath(Path(folder).resolve(), Path(page).resolve().parent)).as_posix()
    return f"./{place}" if ":" in place.split("/", 1)[0] else place


def check_view(folder: Path) -> None:
    """See that a folder is one of ``harness view``.

    Raises:
        HarnessError: It has no page.
    """
    if not (folder / "index.html").is_file():
        raise HarnessError(
            f"--view {folder}: there is no index.html in it; make it with "
            f"harness view RESULTS --out {folder}"
        )


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
