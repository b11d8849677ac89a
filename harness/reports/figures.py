"""Figures for HTML pages: matplotlib draws, the page colours.

A figure becomes inline SVG. Its text is text, in the page's fonts. Its colours are roles (ink,
soft, hair, …): CSS variables with a fall-back, so that one figure is legible on light and dark
pages alike, and on its own. Nothing in it needs a script or an inline style, so that a page may
forbid both. The same data give the same bytes.

    def build(figure):
        axes = panel(figure, left=60, top=10, width=300, height=120)
        axes.plot([0, 1], [0, 1], color=BASE)

    svg = draw(build, name="line", title="A line", description="…", width=400, height=160)

Units are CSS pixels throughout, lengths from the left and from the top.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, HAIR, PAPER = "#14181f", "#5a6472", "#dfe3e8", "#ffffff"
BASE, ACCENT = "#2b4a6f", "#b3321f"
SERIES = ("#0063a6", "#c84a00", "#00806a", "#a8508c", "#8a6d00", "#2f87b8", "#6b7281", "#7a2e4d")
"""Colours of series, told apart by colour-blind readers too (after Okabe and Ito 2008)."""

SERIES_DARK = (
    "#6db6f2",
    "#ff9a5c",
    "#3fcfa8",
    "#e59ac6",
    "#e0bb3f",
    "#93d5ff",
    "#a9b1bc",
    "#d98ba9",
)
"""The same on a dark page."""

_NAMES = [f"series-{number}" for number in range(1, len(SERIES) + 1)]
_ROLES = dict(
    zip(
        (INK, SOFT, HAIR, PAPER, BASE, ACCENT, *SERIES),
        ("ink", "soft", "hair", "paper", "base", "accent", *_NAMES),
        strict=True,
    )
)


def _variables(colours: Sequence[str]) -> str:
    return " ".join(f"--{name}: {c};" for name, c in zip(_NAMES, colours, strict=True))


CSS = f"""\
:root {{ {_variables(SERIES)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(SERIES_DARK)} }} }}
svg.drawn {{ display: block; max-width: none; overflow: visible; }}
svg.drawn text {{ font-family: var(--sans, sans-serif); }}
"""
"""For the page: colours of the series, and the font; the other roles are the page's variables."""

SMALL, NORMAL = 11.0, 12.0
"""Sizes of text."""

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_POINTS = 72.0
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FONT = re.compile(r"(?:(\w+)\s+)??(?:(\d+|bold)\s+)?([\d.]+)px\s+(.+)")
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.image_inline": True,
    "text.parse_math": False,
    "text.color": INK,
    "font.size": SMALL,
    "axes.facecolor": "none",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.75,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": SMALL,
    "axes.titlesize": NORMAL,
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelpad": 5.0,
    "axes.unicode_minus": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.major.width": 0.75,
    "ytick.major.width": 0.75,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.75,
    "lines.solid_capstyle": "round",
    "path.simplify": False,
}


def draw(
    build: Callable[[Figure], None],
    *,
    name: str,
    title: str,
    description: str,
    width: float,
    height: float,
) -> str:
    """Draw a figure as an SVG element to stand in a page.

    Args:
        build: Draws on an empty figure, with the module's settings in force.
        name: Tells the figure from others of the page: letters, digits, hyphens.
        title: What is shown, for those who cannot see it.
        description: What there is to see, in a sentence or two.
        width: Width in CSS pixels.
        height: Height in CSS pixels.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    content = io.BytesIO()
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    with mpl.rc_context(settings), _quiet():
        figure = Figure(figsize=(width / _POINTS, height / _POINTS), dpi=_POINTS, facecolor="none")
        build(figure)
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(content, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _for_page(content.getvalue(), name, title, description)


def panel(figure: Figure, *, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place of the figure, in pixels from its left and top edge."""
    across, down = figure.get_size_inches() * _POINTS
    box = (left / across, 1 - (top + height) / down, width / across, height / down)
    axes: Axes = figure.add_axes(box)
    return axes


def write(
    figure: Figure, text: str, *, left: float, top: float, align: str = "left", **how: Any
) -> None:
    """Text at a place of the figure, in pixels; ``top`` is the middle of the line."""
    across, down = figure.get_size_inches() * _POINTS
    place: Any = {"va": "center", "ha": align, "size": NORMAL} | how
    figure.text(left / across, 1 - top / down, plain(text), **place)


def plain(text: str, longest: int = 200) -> str:
    r"""Text for a figure: one line, no control characters, cut where it is too long.

    Example:
        >>> plain("a\x00b\n c", 3)
        'a…'
    """
    clean = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else " " for c in text)
    line = " ".join(clean.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def fitted(text: str, width: float, size: float = NORMAL) -> str:
    """Text cut so that it takes about ``width`` pixels at most."""
    return plain(text, max(2, int(width / (0.52 * size))))


def nice_ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Round numbers that span low … high."""
    from matplotlib.ticker import MaxNLocator

    ticks: Sequence[float] = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(
        low, high
    )
    return ticks


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of letters that the measuring font lacks: the page's fonts draw them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _for_page(content: bytes, name: str, title: str, description: str) -> str:
    """The file as an element: roles for colours, no styles, no names that could clash."""
    ET.register_namespace("", _SVG)
    root = ET.fromstring(content)  # noqa: S314 -- what matplotlib has just written
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = set()
    for element in root.iter():
        _without_slack(element)
        _plain_attributes(element)
        used |= {found for v in element.attrib.values() for found in _references(v)}
    for element in root.iter():
        _rename(element, used, name)
    width, height = (root.attrib[side].removesuffix("pt") for side in ("width", "height"))
    root.attrib |= {
        "class": "drawn",
        "width": width,
        "height": height,
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-text",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    root.attrib.pop("version", None)
    for tag, kind, text in (("desc", "text", description), ("title", "title", title)):
        element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{kind}"})
        element.text = plain(text, 2000)
        root.insert(0, element)
    return ET.tostring(root, encoding="unicode")


def _without_slack(element: ET.Element) -> None:
    """Without blanks between elements, and with hundredths of a pixel at most."""
    element.tail = None
    if not (element.text or "").strip():
        element.text = None
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    for key in ("d", "x", "y", "width", "height", "transform"):
        if key in element.attrib:
            short = _LONG_NUMBER.sub(lambda m: f"{float(m[0]):.2f}", element.attrib[key])
            element.set(key, " ".join(short.split()))


def _plain_attributes(element: ET.Element) -> None:
    """Styles as attributes, which a page that forbids inline styles lets stand."""
    style = element.attrib.pop("style", "")
    for rule in filter(None, (rule.strip() for rule in style.split(";"))):
        key, value = (part.strip() for part in rule.split(":", 1))
        if key == "font":
            element.attrib |= _font(value)
        elif key not in ("font-family", "font-stretch"):
            element.set(key, value)
    for key in ("fill", "stroke"):
        role = _ROLES.get(element.get(key, "").lower())
        if role:
            element.set(key, f"var(--{role}, {element.attrib[key]})")


def _font(value: str) -> dict[str, str]:
    """Size and weight of a CSS font; its family is the page's."""
    found = _FONT.fullmatch(value)
    assert found, f"matplotlib wrote a font that is not understood: {value}"
    slant, weight, size, _ = found.groups()
    chosen = {"font-size": size}
    if weight:
        chosen["font-weight"] = weight
    if slant in ("italic", "oblique"):
        chosen["font-style"] = slant
    return chosen


def _references(value: str) -> list[str]:
    return re.findall(r"url\(#([^)]+)\)", value) + re.findall(r"^#(\S+)$", value)


def _rename(element: ET.Element, used: set[str], name: str) -> None:
    own = element.attrib.pop("id", None)
    if own in used:
        element.set("id", f"{name}-{own}")
    target = element.attrib.pop(_HREF, None)
    if target is not None:
        element.set("href", target)
    for key, value in element.attrib.items():
        if key == "href" and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))
