"""Why the hub has not given something, in a line: what failed, and what to do.

huggingface_hub, datasets and transformers raise dozens of types for a dozen faults, each around
those of the one below, and their words are for who calls them. The fault itself is looked for in
the exception and all that it came from.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.artefacts.adapters import adapter_in
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

_NO_ROWS = "BatchSize must be greater than 0"  # datasets, of a parquet file without any
_NO_HUB = (
    "what answers in its place is no hub, but perhaps a page that asks for a login: check the "
    "network, the proxy and HF_ENDPOINT"
)
_UNFOUND = re.compile("Unable to find 'https?://")  # datasets, of a file at an address
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
    if isinstance(error, json.JSONDecodeError):  # in the place of what the hub says of a repository
        return _NO_HUB
    if type(error).__name__.startswith("DatasetGeneration"):  # which says only that it failed
        error = error.__cause__ or error
    said = one_line(error, limit)
    if isinstance(error, StopIteration) or said.startswith(_NO_ROWS):
        return "one of its tables has no rows"
    if said.startswith("Couldn't cast"):
        return f"its tables do not have the same columns ({masked(said)})"
    return masked(said)


def unopened(error: BaseException, place: str, *, limit: int | None = _LONGEST) -> str:
    """Why the model at a place cannot be opened: what is wrong with the folder, or with the hub.

    Args:
        error: What transformers raised.
        place: A folder, or ``owner/name`` on the hub.
        limit: Characters of the error's own words, at most.
    """
    if Path(place).expanduser().exists():
        return one_line(error, limit)
    said = reason(error, place, limit=limit)
    if "model_type" in said and (base := _base_of(place)):
        return (
            f"it is an adapter of {base}, no whole model: give the base, and the adapter as peft="
        )
    return said


def _base_of(name: str) -> str | None:
    """The model that an adapter on the hub is of; None where it is none."""
    try:
        found = adapter_in(adapter_on_hub(name))
    except ArtefactError:
        return None
    return found.base if found else None


def commit_of(name: str, revision: str = "main") -> str | None:
    """The commit of a model that was fetched from the hub; None for a folder.

    It is read in the cache, where transformers has the model from; models do not tell it
    themselves since transformers 5.19.

    Args:
        name: A folder, or ``owner/name`` on the hub.
        revision: Branch, tag or commit that was asked for.
    """
    from huggingface_hub import try_to_load_from_cache

    if Path(name).expanduser().exists():
        return None
    for file in ("config.json", _ADAPTER):
        found = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(found, str):
            return Path(found).parent.name
    return None


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
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(name, _ADAPTER, revision=revision)
        return snapshot_download(name, revision=revision, allow_patterns=list(_OF_ADAPTERS))
    except Exception as cause:  # the hub's client raises dozens of types
        absent = isinstance(cause, EntryNotFoundError)
        if absent and not isinstance(cause, LocalEntryNotFoundError):
            return name  # it is no adapter
        if absent and commit_of(name, revision):
            return name  # nothing can be had, and a model is in the cache
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
    from huggingface_hub import constants, errors

    unkept = isinstance(error, errors.LocalEntryNotFoundError) or _UNFOUND.match(str(error))
    unasked = isinstance(error, errors.OfflineModeIsEnabled)
    return _OFFLINE if unasked or (constants.HF_HUB_OFFLINE and unkept) else None


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
    if "FileMetadataError" in names:
        return _NO_HUB
    if not isinstance(error, (ConnectionError, TimeoutError)) and not names & _UNREACHED:
        return None
    if constants.HF_HUB_OFFLINE:
        return _OFFLINE
    host = urlsplit(page if "://" in page else f"//{page}").netloc
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
