"""``harness doctor``: is everything in place, and if not, what to do."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import typer

from harness import _autoload
from harness.host import checking, discovery, lm_eval_seams, seam_checks

HUB_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``advice`` says what to do about a warning or a failure."""

    what: str
    state: str
    level: str = "ok"
    advice: str = ""


def doctor() -> None:
    """Check versions, plugins, the link to lm-eval, GPU, vLLM and hub access."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="paperharness doctor")
    for column in ("check", "state", "what to do"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "note": "yellow", "fail": "red"}
    failed = False
    for check in CHECKS:
        finding = check()
        failed |= finding.level == "fail"
        state = f"[{colours[finding.level]}]{escape(finding.state)}[/]"
        table.add_row(finding.what, state, escape(finding.advice))
    Console().print(table)
    if failed:
        raise typer.Exit(1)


def _versions() -> Finding:
    names = ("paperharness", "lm_eval", "pluggy", "torch", "transformers", "datasets")
    missing = [name for name in names if _version(name) is None]
    state = ", ".join(f"{n} {_version(n)}" for n in names if n not in missing)
    state = f"python {platform.python_version()}, {state}"
    if missing:
        return Finding(
            "versions", f"missing: {', '.join(missing)}", "fail", "pip install paperharness"
        )
    return Finding("versions", state)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _link() -> Finding:
    """Whether lm-eval started in this environment would see the plugins."""
    if not _autoload.switched_on():
        return Finding(
            "link to lm-eval",
            "switched off by PAPERHARNESS_AUTOLOAD=0",
            "fail",
            "unset PAPERHARNESS_AUTOLOAD",
        )
    if not _autoload.in_place():
        return Finding(
            "link to lm-eval",
            "no import hook",
            "fail",
            "reinstall: pip install --force-reinstall --no-deps paperharness (harness.pth is "
            "missing from site-packages, or Python was started with -S or -I)",
        )
    return Finding("link to lm-eval", "import hook in place")


def _lm_eval() -> Finding:
    """Whether lm-eval is one we know, and still works inside as we need it to."""
    what = "lm-eval"
    if _version("lm_eval") is None:
        return Finding(what, "not installed", "fail", "pip install paperharness")
    advice = f"pip install 'lm-eval{lm_eval_seams.KNOWN}', or a newer paperharness"
    lines = [lm_eval_seams.unknown_version(), *seam_checks.moved()]
    if found := [line for line in lines if line]:
        return Finding(what, "; ".join(found), "fail", advice)
    state = f"{lm_eval_seams.version()} (known: {lm_eval_seams.KNOWN})"
    return Finding(what, f"{state}, all {len(seam_checks.SEAMS)} seams in place")


def _plugins() -> Finding:
    if _version("lm_eval"):
        checking.refuse_lm_evals_names()
    found, broken = discovery.plugins(), discovery.broken()
    if broken:
        causes = "; ".join(f"{p}: {p.error}" for p in broken)
        return Finding("plugins", f"broken: {causes}", "fail", "see `harness plugins --verbose`")
    faults = [f"'{p.name}': {fault}" for p in found for fault in checking.faults(p)]
    if faults:
        return Finding("plugins", f"faulty: {'; '.join(faults)}", "fail", "see `harness plugins`")
    return Finding("plugins", f"{len(found)} loaded: {', '.join(p.name for p in found)}")


def _accelerator() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return Finding("GPU", f"{torch.cuda.device_count()} × {', '.join(sorted(names))}")
    if torch.backends.mps.is_available():
        return Finding("GPU", "Apple MPS", advice="pass --device mps to lm_eval")
    return Finding(
        "GPU",
        f"none; {torch.get_num_threads()} CPU threads",
        "note",
        "pass --device cpu; the testbed needs no more",
    )


def _vllm() -> Finding:
    if version := _version("vllm"):
        return Finding("vLLM", version)
    return Finding(
        "vLLM", "not installed", "note", "pip install 'paperharness[vllm]' if you want its models"
    )


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding(
            "hub",
            "switched off by HF_HUB_OFFLINE=1",
            "note",
            "unset it, or use --metadata data=testbed or data=FOLDER",
        )
    import requests
    from huggingface_hub import constants, get_token

    try:
        requests.head(constants.ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
    except requests.RequestException as cause:
        return Finding(
            "hub",
            f"not reachable ({type(cause).__name__})",
            "note",
            "use --metadata data=testbed or data=FOLDER",
        )
    if get_token() is None:
        return Finding(
            "hub", "reachable, no token", "note", "gated data sets need `hf auth login` or HF_TOKEN"
        )
    return Finding("hub", "reachable, with a token")


CHECKS: tuple[Callable[[], Finding], ...] = (
    _versions,
    _lm_eval,
    _link,
    _plugins,
    _accelerator,
    _vllm,
    _hub,
)
