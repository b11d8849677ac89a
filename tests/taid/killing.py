"""Distillations that stop as a kill would stop them."""

from __future__ import annotations

from harness_taid.training import loop


class Killed(BaseException):
    pass


def kill_at(monkeypatch, step):
    """Stop, as a kill would, right after a step and before anything is kept of it."""
    after = loop.Loop._after

    def killing(self, at, line):
        if at == step:
            raise Killed
        after(self, at, line)

    monkeypatch.setattr(loop.Loop, "_after", killing)
