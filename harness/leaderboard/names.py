"""What a run is called: one name for a model however it was spelt, and its method as it is read.

Only what a results file says is used. A model is the same where its spelling says so:

    /any/where/harness/testbed/models/teacher                → testbed:teacher
    …/models--org--name/snapshots/0a1b2c…, the hub's cache   → org/name at commit 0a1b2c…
    ./models/mine/, models/mine                              → models/mine
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PureWindowsPath

from harness.testbed import known_as

_CACHED = re.compile(r".*/models--([^/]+)/snapshots/([0-9a-f]{7,64})")
_BACKEND = re.compile(r"^(?:hf|vllm|local|openai)-|-(?:chat-)?completions$")
_PART = re.compile(r"(?<=\w)\(")


def one_name(name: str) -> tuple[str, str]:
    """A model's one name, and its commit where the spelling has it.

    >>> one_name("/home/me/.cache/huggingface/hub/models--org--m/snapshots/0a1b2c3d")
    ('org/m', '0a1b2c3d')
    >>> one_name("./mine/"), one_name("org/m")
    (('mine', ''), ('org/m', ''))
    """
    place = PureWindowsPath(name).as_posix() if re.match(r"[A-Za-z]:\\", name) else name
    place = posixpath.normpath(place) if place.startswith((".", "/", "~")) else place.rstrip("/")
    if known := known_as(place):
        return known, ""
    if found := _CACHED.fullmatch(place):
        return found[1].replace("--", "/"), found[2]
    return place or name, ""


def method_label(model_type: str, method: str) -> str:
    """A method as a reader knows it: what is done to the model, and in brackets by which method.

    >>> method_label("hf-steered", "diffmean"), method_label("hf-fact-checker", "fact-checker")
    ('steered (diffmean)', 'fact-checker')
    >>> method_label("hf-steered+speculative", "steered(diffmean) + speculative(ngram, γ 5)")
    'steered (diffmean) + speculative (ngram, γ 5)'
    """
    kind = _BACKEND.sub("", _BACKEND.sub("", model_type))
    if not method or "(" in method:
        return _PART.sub(" (", method)
    if kind in ("", "hf", "vllm", method) or kind in method:
        return method
    return f"{kind} ({method})"
