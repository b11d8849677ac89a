"""``harness run``: a study's file, from what of it is missing to its leaderboard and report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError, meant
from harness.host.completing import one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.studies.closing import Closed
    from harness.studies.planning.plan import Plan
    from harness.studies.units import Executor, Unit

_EXECUTORS = ("local", "ray")


def run(
    context: typer.Context,
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="The study's YAML.", show_default=False)
    ],
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this run, variant, task or artefact, and what it needs; may be repeated.",
            show_default=False,
        ),
    ] = None,
    executor: Annotated[
        str, typer.Option(autocompletion=one_of(_EXECUTORS), metavar="NAME", help="local, or ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of Ray's cluster; by default one is started here.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Worker processes on this machine; each loads models.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of all that is made; default: as the file says.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run, with its commands.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show what is done, missing and failed.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option(help="After a failure go on with what does not need it.")
    ] = True,
) -> None:
    """Make and run what of a study is missing; then compare, and report.

    Ctrl-C keeps what is done; the same command goes on from there.

    Example: harness run study.yaml --processes 2
    """
    from harness.artefacts.locks import held_since
    from harness.cli import study_screen as screen
    from harness.studies.planning.make import make_plan
    from harness.studies.reading.file import read_study
    from harness.studies.running import at_work

    if executor not in _EXECUTORS:
        raise HarnessError(f"--executor {executor}: {meant(executor, _EXECUTORS, 'there are')}")
    if address is not None and executor != "ray":
        raise HarnessError("--address is that of Ray's cluster: give --executor ray too")
    tree = context.find_root().command
    read = read_study(study, out)
    if dry_run or status:
        plan = make_plan(read, tree)
        units = plan.to_do(only or ())
        if status:
            screen.show_status(plan, held_since(read.out))
        else:
            plan.write_configs()
            screen.show_commands(plan, units)
        return
    with at_work(read.out):
        plan = make_plan(read, tree)
        workers = _executor(executor, processes, address)
        carry_out(plan, plan.to_do(only or ()), workers, screen.show_results, keep_going)


def carry_out(
    plan: Plan,
    units: Sequence[Unit],
    executor: Executor,
    show: Callable[[Plan, Closed], None],
    keep_going: bool = True,
) -> None:
    """Do units of a plan before a person's eyes, and show what the study has come to.

    Args:
        plan: The plan; the caller is ``at_work``.
        units: What is to be done.
        executor: Who runs them.
        show: Shows the results.
        keep_going: Whether others are run after a failure.

    Raises:
        HarnessError: A unit failed, or a finished cell is damaged; what there is was shown.
    """
    from harness.cli import study_screen as screen
    from harness.studies.closing import close
    from harness.studies.running import run_plan

    screen.say_what_is_to_do(plan, units)
    with screen.watching(units, time.time()) as watch:
        ended = run_plan(plan, units, executor, keep_going=keep_going, watch=watch)
    try:
        if closed := close(plan):
            show(plan, closed)
    finally:
        screen.show_failures(plan, ended)
    if ended.failed:
        left = f", {len(ended.left)} not run" if ended.left else ""
        raise HarnessError(f"{len(ended.failed)} of {len(units)} failed{left}")
    if closed and closed.damaged:
        more = f" (and {len(closed.damaged) - 1} more)" if len(closed.damaged) > 1 else ""
        raise HarnessError(f"{closed.damaged[0]}{more}")


def _executor(name: str, processes: int, address: str | None) -> Executor:
    from harness.studies.executing import LocalExecutor, RayExecutor

    return LocalExecutor(processes) if name == "local" else RayExecutor(address)
