"""Why the hub has not given something, in a line: what failed, and what to do.

huggingface_hub, datasets and transformers raise dozens of types for a dozen faults, each around
those of the one below, and their words are for who calls them. The fault itself is looked for in
the exception and all that it came from.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

from harness.errors import ArtefactError, and_causes, one_line
from harness.secrets import masked

_OFFICIAL = "https://huggingface.co"
_LONGEST = 200
_ADAPTER = "adapter_config.json"
_OF_ADAPTERS = (_ADAPTER, "adapter_model.*", "*token*", "*.jinja", "vocab.*", "merges.*")

_ADDRESS = re.compile(
    r"(https?://[^/]+)/(?:api/)?(?:models/)?((?:datasets/)?[^/]+/[^/]+)/"
    r"(?:resolve|revision|tree|paths-info)/"
)

_OFFLINE = (
    "HF_HUB_OFFLINE is set, and it is not in the cache: unset it and run once with a network; "
    "later runs need none"
)

# Types of clients that need not be installed, by name.
_CUT = {"RemoteProtocolError", "ReadError", "ClientPayloadError", "ChunkedEncodingError"}
_UNREACHED = {"TransportError", "ClientConnectionError", "RequestException", "TimeoutException"}


def reason(
    error: BaseException, repository: str, *, kind: str = "model", limit: int | None = _LONGEST
) -> str:
    """What went wrong between this machine and the hub, and what to do.

    Args:
        error: What a client of the hub raised.
        repository: What was asked for: ``owner/name``, or the address of a file elsewhere.
        kind: ``model`` or ``dataset``.
        limit: Characters of the error's own words, at most.

    Returns:
        A line without an end mark; where the fault is none of the known, the error's own words.
    """
    page = _page(repository, kind)
    for looks in ((_offline, _refused, _missing, _busy, _cut), (_not_reached,)):
        for own, told in itertools.product(and_causes(error), looks):
            if said := told(own, _page_of(own) or page):
                return masked(said)
    if type(error).__name__.startswith("DatasetGeneration"):  # which says only that it failed
        return masked(one_line(error.__cause__ or error, limit))
    return masked(one_line(error, limit))


def unopened(error: BaseException, place: str, *, limit: int | None = _LONGEST) -> str:
    """Why the model at a place cannot be opened: what is wrong with the folder, or with the hub.

    Args:
        error: What transformers raised.
        place: A folder, or ``owner/name`` on the hub.
        limit: Characters of the error's own words, at most.
    """
    if Path(place).expanduser().exists():
        return one_line(error, limit)
    return reason(error, place, limit=limit)


def adapter_on_hub(name: str, revision: str = "main") -> str:
    """The folder of an adapter that is on the hub, fetched; all else is its unchanged name.

    An adapter's repository has no model's configuration, so that it cannot be opened as a model.

    Args:
        name: A folder, or ``owner/name`` on the hub.
        revision: Its revision there.

    Raises:
        ArtefactError: The hub does not give it.
    """
    if Path(name).expanduser().exists() or name.count("/") != 1:
        return name
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        hf_hub_download(name, _ADAPTER, revision=revision)
        return snapshot_download(name, revision=revision, allow_patterns=list(_OF_ADAPTERS))
    except EntryNotFoundError:  # it is none; or nothing can be had, as whoever opens it will say
        return name
    except Exception as cause:  # the hub's client raises dozens of types
        raise ArtefactError(
            f"no folder '{name}' is here, and the hub does not give it: {reason(cause, name)}"
        ) from cause


def _page(repository: str, kind: str) -> str:
    """The address at which a person sees a repository."""
    from huggingface_hub import constants

    if "://" in repository:
        return repository
    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repository}"


def _page_of(error: Any) -> str | None:
    """That of the repository which an answer is of: a model's tokenizer may be another's."""
    try:
        address = str(error.response.url)
    except (AttributeError, RuntimeError):  # there is no answer, or it is of no request
        return None
    found = _ADDRESS.match(address)
    return f"{found[1]}/{found[2]}" if found else None


def _offline(error: Any, _page: str) -> str | None:
    from huggingface_hub import errors

    return _OFFLINE if isinstance(error, errors.OfflineModeIsEnabled) else None


def _refused(error: Any, page: str) -> str | None:
    """Why an account may not read what is there."""
    from huggingface_hub import errors

    status = _status(error)
    if isinstance(error, errors.GatedRepoError) or "is a gated dataset" in str(error):
        if status == 403 or _token():
            return (
                f"it is gated, and the account of this token may not read it: accept its terms at "
                f"{page} with that account, and wait until its authors have let you in"
            )
        return (
            f"it is gated, and no token is set: accept its terms at {page}, then log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    known = status in (401, 403) and not isinstance(error, errors.RepositoryNotFoundError)
    if known and _token():
        return (
            f"the hub refuses the token in use ({status}): it has expired or may not read this; "
            "make another, then `hf auth login` or set HF_TOKEN"
        )
    return None


def _missing(error: Any, page: str) -> str | None:
    """What is not there, as far as this account can see."""
    from huggingface_hub import errors

    status = _status(error)
    if isinstance(error, errors.RevisionNotFoundError) or str(error).startswith("Revision '"):
        return f"it has no such revision; {page} has those there are"
    unknown = type(error).__name__ == "DatasetNotFoundError"  # whose cause datasets takes away
    if unknown or isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        hidden = "this token may not see it" if _token() else "no token is set (HF_TOKEN)"
        return f"there is no {page}, or it is private and {hidden}: check the name"
    if isinstance(error, errors.EntryNotFoundError) and status == 404:
        return f"a file is missing there ({one_line(error, _LONGEST)})"
    return None


def _busy(error: Any, _page: str) -> str | None:
    """What the hub itself cannot do now."""
    status = _status(error)
    if status == 429:
        wait = _headers(error).get("retry-after", "")
        when = f"in {wait} seconds" if wait.isdigit() else "in a few minutes"
        more = "" if _token() else "; with a token (HF_TOKEN) more may be asked"
        return f"the hub has been asked too often from here (429): run again {when}{more}"
    if status is not None and status >= 500:
        return f"the hub itself fails ({status}): run again later; what has come is kept"
    return None


def _cut(error: Any, _page: str) -> str | None:
    if type(error).__name__ in _CUT or "Consistency check failed" in str(error):
        return "the transfer was cut: run again; files that have come whole are kept"
    return None


def _not_reached(error: Any, page: str) -> str | None:
    from huggingface_hub import constants

    names = {kind.__name__ for kind in type(error).__mro__}
    if not isinstance(error, (ConnectionError, TimeoutError)) and not names & _UNREACHED:
        return None
    if constants.HF_HUB_OFFLINE:
        return _OFFLINE
    host = page.split("/", 3)[2]
    named = "" if page.startswith(_OFFICIAL) else f" at {host}"
    return (
        f"the hub{named} cannot be reached ({one_line(error, 100)}): check the network, the proxy "
        "and HF_ENDPOINT"
    )


def _status(error: Any) -> int | None:
    """The HTTP status of the answer that an exception is of."""
    found = getattr(getattr(error, "response", None), "status_code", getattr(error, "status", None))
    return found if isinstance(found, int) else None


def _headers(error: Any) -> dict[str, str]:
    found = getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in found.items()}


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()
