"""``harness doctor``: is everything in place, and if not, what to do."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated

import typer

from harness import _autoload
from harness._version import __version__
from harness.host import checking, discovery, lm_eval_seams, seam_checks

HUB_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``advice`` says what to do about a warning or a failure."""

    what: str
    state: str
    level: str = "ok"
    advice: str = ""


def doctor(
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the table.")
    ] = False,
) -> None:
    """Check versions, plugins, the link to lm-eval, GPU, vLLM and hub access.

    Fails if a check fails; notes do not count. The keys of --json stay: ok, paperharness, and
    checks, whose versions, lm_eval, link, plugins, gpu, vllm and hub each have level (ok, note or
    fail), state and advice.

    Example: harness doctor --json
    """
    found = {name: check() for name, check in CHECKS.items()}
    ok = all(finding.level != "fail" for finding in found.values())
    if json:
        _print_json(found, ok)
    else:
        _print_table(list(found.values()))
    if not ok:
        raise typer.Exit(1)


def _print_json(found: Mapping[str, Finding], ok: bool) -> None:
    from json import dumps

    keys = ("level", "state", "advice")
    checks = {name: {key: getattr(one, key) for key in keys} for name, one in found.items()}
    told = {"ok": ok, "paperharness": __version__, "checks": checks}
    print(dumps(told, indent=2, ensure_ascii=False))


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="paperharness doctor")
    for column in ("check", "state", "what to do"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "note": "yellow", "fail": "red"}
    for finding in findings:
        state = f"[{colours[finding.level]}]{escape(finding.state)}[/]"
        table.add_row(finding.what, state, escape(finding.advice))
    Console().print(table)


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


CHECKS: Mapping[str, Callable[[], Finding]] = {
    "versions": _versions,
    "lm_eval": _lm_eval,
    "link": _link,
    "plugins": _plugins,
    "gpu": _accelerator,
    "vllm": _vllm,
    "hub": _hub,
}
"""By the keys of ``--json``."""
