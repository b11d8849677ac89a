"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness.hookspecs import Registrar, hookimpl


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the commands."""
    registrar.commands(
        "astral",
        "harness_astral.commands:app",
        help="ASTRAL: safety test suites with measured coverage.",
    )
