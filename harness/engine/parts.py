"""Parts of an engine: what a plugin puts into vLLM's workers and into its front.

An engine names its parts and their settings at its start,

    vllm serve MODEL --additional-config '{"paperharness": {"steering": {"dictionary": "DIR", …}}}'

and these are the names that plugins give ``Registrar.engine``. vLLM makes this a part of the key of
its compiled models: an engine with parts never takes one that was compiled without.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from harness.errors import HarnessError, shown
from harness.host.discovery import plugins

KEY = "paperharness"  # of VllmConfig.additional_config

Settings = Mapping[str, Any]


class EnginePart(Protocol):
    """What a plugin adds to an engine of vLLM; its methods run in different processes."""

    def attach(self, runner: Any, settings: Settings) -> None:
        """Change a worker's model, which is loaded and not yet compiled.

        Args:
            runner: vLLM's model runner.
            settings: The part's, from the engine's ``additional_config``.

        Raises:
            HarnessError: The model, the runner or a setting is not supported.
        """

    def admit(self, request: Any, settings: Settings) -> None:
        """Check a request in the engine's front, and change what is sent to the workers.

        Args:
            request: vLLM's ``EngineCoreRequest``, which is this request's alone: its
                ``sampling_params``, ``prompt_token_ids`` and ``cache_salt``.
            settings: As for ``attach``.

        Raises:
            HarnessError: The request cannot be answered; it alone fails.
        """


def parts_of(config: Any) -> list[tuple[EnginePart, Settings]]:
    """The parts that an engine asks for, with their settings.

    Args:
        config: vLLM's ``VllmConfig``.

    Raises:
        HarnessError: The settings are of another form, or nobody provides a part.
    """
    given = config.additional_config
    asked = given.get(KEY, {}) if isinstance(given, Mapping) else {}
    if not isinstance(asked, Mapping) or not all(
        isinstance(one, Mapping) for one in asked.values()
    ):
        raise HarnessError(
            f"additional_config: '{KEY}' maps each part to its settings, such as "
            f'{{"{KEY}": {{"steering": {{"dictionary": "DIR"}}}}}}'
        )
    return [(_part(name), settings) for name, settings in asked.items()]


@cache
def _part(name: str) -> EnginePart:
    known = {n: target for plugin in plugins() for n, target in plugin.of_kind("engine").items()}
    if name not in known:
        raise HarnessError(
            f"additional_config: no plugin provides the engine part {shown(name)}; there are: "
            + (", ".join(sorted(known)) or "none")
        )
    module, _, attribute = known[name].partition(":")
    made: EnginePart = getattr(import_module(module), attribute)()
    return made
