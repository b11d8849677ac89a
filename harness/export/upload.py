"""Files to a repository on the hub: one commit, which is there whole or not at all.

Large files go to the hub's store before the commit; those that have come are known there, so that a
run that was cut goes on where it was. A commit that would change nothing is not made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.artefacts.hub import reason
from harness.errors import HarnessError, and_causes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_MESSAGE = "Results of lm-eval"
_REFUSED = {401, 403}


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where results go.

    Attributes:
        name: ``owner/name``.
        kind: ``dataset`` or ``model``.
        public: Whether everybody may see it.
    """

    name: str
    kind: str
    public: bool


def card_there(where: Repository) -> str:
    """The card of a repository; empty where there is none yet.

    Raises:
        HarnessError: The hub does not say.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        file = hf_hub_download(where.name, "README.md", repo_type=where.kind)
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except EntryNotFoundError as cause:
        if isinstance(cause, LocalEntryNotFoundError):
            raise _told(where, cause) from cause
        return ""
    except Exception as cause:  # the hub's client raises dozens of types
        raise _told(where, cause) from cause


def open_repository(where: Repository) -> None:
    """See that the repository is there and as public as is meant; make it where it is not.

    Raises:
        HarnessError: There is no token, the token may not write there, the repository is more
            public than is meant, or the hub fails.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if where.name.count("/") != 1:
        raise HarnessError(f"--repo {where.name}: give OWNER/NAME")
    if not get_token():
        raise HarnessError(
            "to upload to the hub a token is needed: log in with `hf auth login`, or set HF_TOKEN"
        )
    api = HfApi()
    try:
        found: Any = api.repo_info(where.name, repo_type=where.kind)
    except RepositoryNotFoundError:
        found = None
    except Exception as cause:  # the hub's client raises dozens of types
        raise _told(where, cause) from cause
    if found is None:
        _create(api, where)
    elif not found.private and not where.public:
        raise HarnessError(
            f"{where.name} is public: say --public if everybody may see these results, or name "
            "another repository"
        )


def _create(api: HfApi, where: Repository) -> None:
    try:
        api.create_repo(where.name, repo_type=where.kind, private=not where.public, exist_ok=True)
    except Exception as cause:  # the hub's client raises dozens of types
        raise _told(where, cause) from cause


def upload(folder: Path, where: Repository) -> str:
    """Send a folder's files.

    Args:
        folder: The files; others of the repository stay.
        where: The repository, which is there.

    Returns:
        What was done, in a line.

    Raises:
        HarnessError: The hub does not take them; nothing is committed.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    operations = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files]
    try:
        before = api.repo_info(where.name, repo_type=where.kind).sha
        made = api.create_commit(
            where.name, operations, commit_message=_MESSAGE, repo_type=where.kind
        )
    except Exception as cause:  # the hub's client raises dozens of types
        raise _told(where, cause) from cause
    if made.oid == before:
        return f"{where.name} has all of it already: nothing to do"
    seen = "public" if where.public else "private"
    return f"uploaded {len(files)} files to {made.repo_url} ({seen}), commit {made.oid[:12]}"


def _told(where: Repository, cause: Exception) -> HarnessError:
    """A fault of the hub as one line."""
    for error in and_causes(cause):
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401:
            why = "it does not know the token: make another, then `hf auth login` or set HF_TOKEN"
            return HarnessError(f"the hub does not take {where.name}: {why}")
        if status in _REFUSED:
            owner = where.name.partition("/")[0]
            why = f"this token may not write there: make one that may write to {owner}"
            return HarnessError(f"the hub does not take {where.name}: {why}")
    why = reason(cause, where.name, kind=where.kind)
    return HarnessError(f"the hub does not take {where.name}: {why}")
