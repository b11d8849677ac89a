"""paperharness: plugins, one per paper, for EleutherAI's lm-evaluation-harness.

Names are imported on first use, because this package is imported at every Python start
(see ``_autoload``) and must cost next to nothing there: it imports nothing itself.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from harness._version import __version__
    from harness.errors import (
        ArtefactError,
        DataError,
        HarnessError,
        JudgeError,
        PluginError,
    )
    from harness.host.hookspecs import Registrar, hookimpl
    from harness.models.responses import Completion, Score

_HOMES = {
    "hookimpl": "harness.host.hookspecs",
    "Registrar": "harness.host.hookspecs",
    "Completion": "harness.models.responses",
    "Score": "harness.models.responses",
    "HarnessError": "harness.errors",
    "DataError": "harness.errors",
    "ArtefactError": "harness.errors",
    "JudgeError": "harness.errors",
    "PluginError": "harness.errors",
    "__version__": "harness._version",
}

__all__ = [
    "ArtefactError",
    "Completion",
    "DataError",
    "HarnessError",
    "JudgeError",
    "PluginError",
    "Registrar",
    "Score",
    "__version__",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value
