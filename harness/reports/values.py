"""Reading values out of JSON that anybody may have written: nothing here ever raises."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.errors import shown
from harness.secrets import public, without_secrets


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """A value as text: empty for nothing, compact JSON for a structure.

    Lone surrogates, which JSON can spell and UTF-8 cannot, become question marks; what would turn a
    line of a page round, or move a terminal's cursor, is escaped.
    """
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return compact(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    plain = str(value)
    if not plain.isascii():
        plain = plain.encode("utf-8", "replace").decode("utf-8")
    return shown(plain)


def printable(text: str) -> str:
    """A text as one cell of a terminal may have it: one line, control characters escaped."""
    return shown(" ".join(text.split()))


def counted(count: int, noun: str) -> str:
    """A number of things, in words.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number(value: object) -> float | int | None:
    """A finite number, or None for anything else: text such as "N/A", NaN, infinity."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 10**300 else None
    return None


def real(value: object) -> float | None:
    """A finite float, also from numeric text (lm-eval stores seconds as text)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    plain = number(value)
    return None if plain is None else float(plain)


def whole(value: object) -> int | None:
    """A count, or None."""
    plain = number(value)
    return None if plain is None else int(plain)


def compact(value: object) -> str:
    """Compact JSON with sorted keys; empty for an empty structure. Secrets are left out."""
    if not value:
        return ""
    try:
        encoded = json.dumps(
            public(without_secrets(value)),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            default=str,
        )
    except (TypeError, ValueError, RecursionError):
        return ""
    if encoded in ("{}", "[]"):
        return ""
    return shown(encoded.encode("utf-8", "replace").decode("utf-8"))


def parse_model_args(args: object) -> dict[str, Any]:
    """``model_args`` as a mapping, by lm-eval's rules.

    Newer files hold an object. Older ones hold text: ``pretrained=gpt2,dtype=float32``, or
    JSON. A comma separates, the first ``=`` ends the name, and a value is a quoted text, a
    boolean, None, an integer, a float or plain text, tried in this order.
    """
    if isinstance(args, dict):
        return args
    if not isinstance(args, str):
        return {}
    if args.lstrip().startswith("{"):
        try:
            return mapping(json.loads(args))
        except (ValueError, RecursionError):
            return {}
    parsed: dict[str, Any] = {}
    for part in args.strip().split(","):
        if part:
            name, _, value = part.partition("=")
            parsed[name] = _cast(value.strip())
    return parsed


def _cast(value: str) -> str | bool | int | float | None:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    known = {"true": True, "false": False, "none": None}
    if value.lower() in known:
        return known[value.lower()]
    for cast in (int, float):
        if cast is int and not value.lstrip("+-").isdigit():
            continue
        try:
            return cast(value)
        except ValueError:
            continue
    return value
