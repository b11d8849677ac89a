"""Results to the hub: prepared whole, then sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.export import repository
from harness.export.folder import Made, left_out
from harness.export.runs import read
from harness.export.upload import Repository, card_there, open_repository, upload

if TYPE_CHECKING:
    from harness.leaderboard.rows import Skipped


def send(
    results: Sequence[Path],
    where: Repository,
    *,
    show_text: bool = False,
    on_skip: Callable[[Skipped], None] | None = None,
) -> Made:
    """Upload results to the hub, with a card.

    Args:
        results: Results files, or folders that are searched at any depth.
        where: The repository; it is made where it is not there.
        show_text: Whether samples of sensitive tasks are uploaded.
        on_skip: Called with each results file that is left out.

    Raises:
        HarnessError: There are no results, samples are damaged, or the hub does not take them;
            nothing is committed then.
    """
    found = read(results, show_text=show_text, on_skip=on_skip)
    open_repository(where)
    before = card_there(where)
    with TemporaryDirectory(prefix="paperharness-export-") as place:
        folder = Path(place)
        told = repository.write(found, folder, kind=where.kind, before=before, name=where.name)
        done = upload(folder, where)
    return Made(found, (done, *told, *left_out(found)))
