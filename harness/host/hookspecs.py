"""The plugin contract, whole.

A plugin is a module (or object) named by an entry point in the group ``paperharness``. It marks
one function with ``@hookimpl`` and, when called, tells the registrar what it brings. Targets are
strings ``"package.module:attribute"``, imported only when a run asks for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pluggy

STAGES = ("answers", "edits", "decodes")
"""What a part of a model does, outermost first."""

hookspec = pluggy.HookspecMarker("paperharness")
hookimpl = pluggy.HookimplMarker("paperharness")


class Registrar(Protocol):
    """What a plugin is handed to name what it brings; a name taken twice raises PluginError."""

    def model(self, name: str, target: str) -> None:
        """A model wrapper, a subclass of ``lm_eval.api.model.LM``: ``lm_eval --model name``."""

    def wrapper(
        self, name: str, *, stage: str, hf: str | None = None, vllm: str | None = None
    ) -> None:
        """A part of a model, a mixin on ``harness.Wrapper``: ``lm_eval --model hf-name``.

        It may be joined with others (``hf-name+other``). ``stage`` is what it does: ``answers``
        (asks the model in its own way), ``edits`` (changes the model for a request), ``decodes``
        (writes answers itself). ``hf`` and ``vllm`` are the mixins for those of lm-eval's models.
        """

    def engine(self, name: str, target: str) -> None:
        """A part of vLLM's engine, a class as ``harness.engine.parts.EnginePart`` says.

        An engine has it whose ``additional_config`` names it.
        """

    def tasks(self, folder: Path) -> None:
        """A folder of task YAMLs (searched recursively): ``lm_eval --tasks …``."""

    def filter(self, name: str, target: str) -> None:
        """A response filter, a subclass of ``lm_eval.api.filter.Filter``."""

    def metric(self, name: str, target: str, *, aggregation: str, higher_is_better: bool) -> None:
        """A per-document metric that any task YAML can name in its ``metric_list``."""

    def aggregation(self, name: str, target: str) -> None:
        """A function from all documents' values to one number."""

    def commands(self, name: str, target: str, *, help: str) -> None:
        """A ``typer.Typer`` of sub-commands: ``harness name …``."""


@hookspec
def register(registrar: Registrar) -> None:
    """Name everything the plugin brings; called once, when lm-eval or `harness` starts."""
