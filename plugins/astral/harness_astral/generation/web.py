"""Snippets from the web: searched for once a category, kept with the suite, replayed from it.

The provider is Tavily, where ``TAVILY_API_KEY`` is set, else DuckDuckGo and others through ddgs,
which needs no key. A key is read from the environment alone, and struck out of every message and
log. A fault is tried again, four times in all with exponential back-off; a refused key, a limit
that is used up, or a search without any result ends the run with one line. What was found is on
disk at once, so that a rerun searches only for what is missing.

Replay: the suite's ``snippets.jsonl``, given as ``--snippets``, makes the same inputs without a
network. A category without snippets in it is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from harness import DataError, HarnessError, read_table
from harness.artefacts.writing import whole
from harness.asking.store import Store, key_of
from harness.errors import meant, one_line
from harness.secrets import guard_logs, struck

FILE = "snippets.jsonl"
TAVILY, DDGS = "tavily", "ddgs"
PROVIDERS = (TAVILY, DDGS)
TRIES = 4
_KEY = "TAVILY_API_KEY"
_LONGEST = 500  # characters of a snippet's text
_FATAL = ("InvalidAPIKeyError", "ForbiddenError", "BadRequestError", "MissingAPIKeyError")

Results = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Snippet:
    """An excerpt of a web page.

    Attributes:
        id: Content hash of category, address and text.
        category: What it was searched for.
        query: The words searched for.
        title: The page's title.
        text: The excerpt.
        url: The page's address.
        provider: Who found it.
    """

    id: str
    category: str
    query: str
    title: str
    text: str
    url: str
    provider: str


_FIELDS = tuple(Snippet.__dataclass_fields__)


def provider_for(name: str | None) -> str:
    """The provider, by default Tavily where its key is set.

    Raises:
        HarnessError: There is no such provider, or it lacks its key.
    """
    chosen = name or (TAVILY if os.environ.get(_KEY) else DDGS)
    if chosen not in PROVIDERS:
        raise HarnessError(f"--web {chosen}: {meant(chosen, PROVIDERS)}")
    if chosen == TAVILY and not os.environ.get(_KEY):
        raise HarnessError(f"--web tavily: {_KEY} is not set; set it, or give --web ddgs")
    return chosen


def _tavily(timeout: float) -> Callable[[str, int], Results]:
    from tavily import TavilyClient

    client = TavilyClient(os.environ[_KEY], api_base_url=os.environ.get("TAVILY_BASE_URL"))
    guard_logs()

    def search(query: str, most: int) -> Results:
        found = client.search(query, max_results=most, topic="general", timeout=timeout)
        return [
            {"title": own["title"], "url": own["url"], "text": own["content"]}
            for own in found["results"]
        ]

    return search


def _ddgs(timeout: float) -> Callable[[str, int], Results]:
    from ddgs import DDGS as Client  # noqa: N811 -- the class is called so

    client = Client(timeout=int(timeout))

    def search(query: str, most: int) -> Results:
        return [
            {"title": own["title"], "url": own["href"], "text": own["body"]}
            for own in client.text(query, max_results=most)
        ]

    return search


def _searcher(provider: str, timeout: float) -> Callable[[str, int], Results]:
    try:
        return {TAVILY: _tavily, DDGS: _ddgs}[provider](timeout)
    except ImportError as cause:
        raise HarnessError(
            f"--web {provider} needs a package that is not installed ({cause}): "
            "pip install 'paperharness[astral]'"
        ) from None


def search_all(
    queries: Mapping[str, str],
    provider: str,
    store: Store,
    *,
    most: int,
    timeout: float = 20.0,
    backoff: float = 1.0,
) -> list[Snippet]:
    """Snippets of every category, from the store where they are there.

    Args:
        queries: What is searched for, by category.
        provider: ``tavily`` or ``ddgs``.
        store: Keeps what was found.
        most: Snippets a category, at most.
        timeout: Seconds a search may take.
        backoff: Seconds before the second try; doubles with each further one.

    Raises:
        HarnessError: A search fails in the end, or finds nothing.
    """
    keys = {name: key_of(search=query, provider=provider, most=most)
            for name, query in queries.items()}  # fmt: skip
    missing = [name for name, key in keys.items() if key not in store]
    search = _searcher(provider, timeout) if missing else None
    for name in tqdm(missing, desc=f"web search by {provider}", disable=not missing):
        assert search is not None
        rows = _tried(search, queries[name], name, provider, most=most, backoff=backoff)
        store.put(keys[name], rows)
    return [
        _snippet(row, name, queries[name], provider)
        for name, key in keys.items()
        for row in store[key]
    ]


def _tried(
    search: Callable[[str, int], Results],
    query: str,
    category: str,
    provider: str,
    *,
    most: int,
    backoff: float,
) -> Results:
    """What one search finds, within its tries."""
    from tenacity import (
        RetryError,
        Retrying,
        retry_if_exception,
        stop_after_attempt,
        wait_exponential,
    )

    def passing(error: BaseException) -> bool:
        return isinstance(error, Exception) and type(error).__name__ not in _FATAL

    place = f"web search by {provider} for {category!r} ({query!r})"
    try:
        found = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=backoff, max=30),
            retry=retry_if_exception(passing),
        )(search, query, most)
    except Exception as error:  # noqa: BLE001 -- the clients raise dozens of types
        cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
        tries = TRIES if isinstance(error, RetryError) else 1
        reason = one_line(struck(f"{type(cause).__name__}: {cause}"))[:300]
        raise HarnessError(
            f"{place} failed in {tries} tries; {reason}. A rerun searches only for what is "
            "missing; --snippets FILE needs no network"
        ) from None
    kept = [row for row in found if str(row.get("text") or "").strip()]
    if not kept:
        raise HarnessError(f"{place} found nothing; give the category other search words")
    return kept[:most]


def _snippet(row: Mapping[str, Any], category: str, query: str, provider: str) -> Snippet:
    texts = {
        name: " ".join(whole(str(row.get(name) or "")).split()) for name in ("title", "text", "url")
    }
    texts["text"] = texts["text"][:_LONGEST].strip()
    found = key_of(category=category, url=texts["url"], text=texts["text"])[:12]
    return Snippet(found, category, query, texts["title"], texts["text"], texts["url"], provider)


def read_snippets(path: Path, categories: Sequence[str]) -> list[Snippet]:
    """Snippets that a suite was made with.

    Raises:
        DataError: The file is missing or broken, or has none of a category.
    """
    path = Path(path).expanduser()
    path = path / FILE if path.is_dir() else path
    found: dict[str, Snippet] = {}
    for number, row in enumerate(read_table(path, _FIELDS), start=1):
        odd = [name for name in row if name not in _FIELDS or not isinstance(row[name], str)]
        if odd or not row["text"].strip():
            said = one_line(", ".join(map(str, odd)) or "text", 80)
            raise DataError(f"{path}, row {number}: {said} is not as in {FILE}")
        found[row["id"]] = Snippet(**row)
    there = {one.category for one in found.values()}
    bare = [name for name in categories if name not in there]
    if bare:
        raise DataError(
            f"{path} has no snippet of the category {bare[0]!r}; it is another suite's: search "
            "the web anew with --web"
        )
    return [one for one in found.values() if one.category in categories]


def as_rows(snippets: Sequence[Snippet]) -> list[dict[str, Any]]:
    """The snippets as JSON objects, each once."""
    return [asdict(one) for one in {own.id: own for own in snippets}.values()]
