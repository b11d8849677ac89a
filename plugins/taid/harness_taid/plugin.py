"""Names what the plugin brings; imports nothing heavy."""

from __future__ import annotations

from harness.hookspecs import Registrar, hookimpl


@hookimpl
def register(registrar: Registrar) -> None:
    """Name the commands."""
    registrar.commands(
        "taid", "harness_taid.commands:app", help="TAID: students distilled from teachers."
    )
