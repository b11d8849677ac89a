"""Parts of an engine: what a plugin puts into vLLM's workers and into its front.

An engine names its parts and their settings at its start,

    vllm serve MODEL --additional-config '{"paperharness": {"steering": {"dictionary": "DIR", …}}}'

and these are the names that plugins give ``Registrar.engine``. vLLM makes this a part of the key of
its compiled models: an engine with parts never takes one that was compiled without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from harness.errors import HarnessError, shown
from harness.host.discovery import plugins

KEY = "paperharness"  # of VllmConfig.additional_config

Settings = Mapping[str, Any]


class EnginePart(Protocol):
    """What a plugin adds to an engine of vLLM; its methods run in different processes."""

    def open(self, front: Any, settings: Settings) -> None:
        """Check an engine in its front, before its workers start.

        Args:
            front: vLLM's ``InputProcessor``.
            settings: The part's, from the engine's ``additional_config``.

        Raises:
            HarnessError: The engine or a setting is not supported.
        """

    def attach(self, runner: Any, settings: Settings) -> None:
        """Change a worker's model, which is loaded and not yet compiled.

        Args:
            runner: vLLM's model runner.
            settings: As for ``open``.

        Raises:
            HarnessError: The model, the runner or a setting is not supported.
        """

    def receive(self, body: Mapping[str, Any], settings: Settings) -> bool:
        """Check what a client has sent to a server, before the server reads it.

        Args:
            body: JSON.
            settings: As for ``open``.

        Returns:
            Whether it asks something of this part; then ``admit`` must find that in each request to
            the engine that comes of it.

        Raises:
            HarnessError: What it asks cannot be done; the client is told, with status 400.
        """

    def admit(self, request: Any, settings: Settings) -> bool:
        """Check a request in the engine's front, and change what is sent to the workers.

        Args:
            request: vLLM's ``EngineCoreRequest``, which is this request's alone: its
                ``sampling_params``, ``prompt_token_ids`` and ``cache_salt``.
            settings: As for ``open``.

        Returns:
            Whether the request asks something of this part.

        Raises:
            HarnessError: The request cannot be answered; it alone fails.
        """


@dataclass(frozen=True)
class Asked:
    """A part that an engine asks for.

    Attributes:
        name: As its plugin gave it.
        part: What it does.
        settings: What the engine says to it.
    """

    name: str
    part: EnginePart
    settings: Settings


def parts_of(config: Any) -> list[Asked]:
    """The parts that an engine asks for.

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
    return [Asked(name, _part(name), settings) for name, settings in asked.items()]


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
