"""paperharness: plugins, one per paper, for EleutherAI's lm-evaluation-harness.

The names here are all that a plugin needs, and stay; whatever else the package holds may change
with any release.

    registering    hookimpl, Registrar
    models         Wrapper, HFWrapper, VLLMWrapper, compose, Prompt, Place, block, edited,
                   Completion, Score, traced, trace_of, margin
    rows           Source, Sourced, SourcedTask, Row, choose, find_table, read_table, from_hub
    options        keyed, read_options
    judging        JudgedTask, Judgement, Question, Assistant, AssistantSpec
    statistics     Statistic, wilson
    errors         HarnessError and its kinds: ArtefactError, DataError, JudgeError, PluginError

They are imported on first use, because this package is imported at every Python start (see
``_autoload``) and must cost next to nothing there: it imports nothing itself.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from harness._version import __version__
    from harness.asking.assistant import Assistant
    from harness.asking.spec import AssistantSpec, Question
    from harness.data.options import keyed, read_options
    from harness.data.sourced_task import SourcedTask
    from harness.data.sources import Row, Source, Sourced, choose, find_table, from_hub, read_table
    from harness.errors import ArtefactError, DataError, HarnessError, JudgeError, PluginError
    from harness.host.hookspecs import Registrar, hookimpl
    from harness.judging.judged_task import JudgedTask, Judgement
    from harness.models.blocks import block, edited
    from harness.models.composing import compose
    from harness.models.hf import HFWrapper
    from harness.models.requests import Place, Prompt
    from harness.models.responses import Completion, Score, margin, trace_of, traced
    from harness.models.vllm import VLLMWrapper
    from harness.models.wrapping import Wrapper
    from harness.statistics import Statistic, wilson

_HOMES = {
    # What a plugin registers
    "hookimpl": "harness.host.hookspecs",
    "Registrar": "harness.host.hookspecs",
    # How a model answers
    "Wrapper": "harness.models.wrapping",
    "HFWrapper": "harness.models.hf",
    "VLLMWrapper": "harness.models.vllm",
    "compose": "harness.models.composing",
    "block": "harness.models.blocks",
    "edited": "harness.models.blocks",
    "Prompt": "harness.models.requests",
    "Place": "harness.models.requests",
    "Completion": "harness.models.responses",
    "Score": "harness.models.responses",
    "traced": "harness.models.responses",
    "trace_of": "harness.models.responses",
    "margin": "harness.models.responses",
    # Where rows come from
    "Row": "harness.data.sources",
    "Source": "harness.data.sources",
    "Sourced": "harness.data.sources",
    "choose": "harness.data.sources",
    "find_table": "harness.data.sources",
    "from_hub": "harness.data.sources",
    "read_table": "harness.data.sources",
    "keyed": "harness.data.options",
    "read_options": "harness.data.options",
    "SourcedTask": "harness.data.sourced_task",
    # What a judge is asked
    "JudgedTask": "harness.judging.judged_task",
    "Judgement": "harness.judging.judged_task",
    "AssistantSpec": "harness.asking.spec",
    "Question": "harness.asking.spec",
    "Assistant": "harness.asking.assistant",
    # Statistics with an interval
    "Statistic": "harness.statistics",
    "wilson": "harness.statistics",
    # Errors of one line
    "HarnessError": "harness.errors",
    "ArtefactError": "harness.errors",
    "DataError": "harness.errors",
    "JudgeError": "harness.errors",
    "PluginError": "harness.errors",
    "__version__": "harness._version",
}

__all__ = [
    "ArtefactError",
    "Assistant",
    "AssistantSpec",
    "Completion",
    "DataError",
    "HFWrapper",
    "HarnessError",
    "JudgeError",
    "JudgedTask",
    "Judgement",
    "Place",
    "PluginError",
    "Prompt",
    "Question",
    "Registrar",
    "Row",
    "Score",
    "Source",
    "Sourced",
    "SourcedTask",
    "Statistic",
    "VLLMWrapper",
    "Wrapper",
    "__version__",
    "block",
    "choose",
    "compose",
    "edited",
    "find_table",
    "from_hub",
    "hookimpl",
    "keyed",
    "margin",
    "read_options",
    "read_table",
    "trace_of",
    "traced",
    "wilson",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value
