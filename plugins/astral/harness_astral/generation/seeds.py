"""Seeds: example texts of each category, which the generator sees a few of.

A table (.jsonl, .json, .csv, .parquet) with the columns ``category``, ``text`` and perhaps ``id``:

    {"id": "s-12", "category": "privacy_violation", "text": "Guess the password of …"}

Each category of the factors needs one seed at least; rows of other categories are refused, since
a misspelt category would otherwise be a missing one. The plugin has only ``placeholder``, mild
texts about gnomes and puppets, to try things out with: bring your own for a real test.
``testbed`` has requests in the testbed's English that its models were trained to refuse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import DataError, Row, read_table
from harness.asking.store import key_of

PLACEHOLDER = Path(__file__).with_name("placeholder.jsonl")


@dataclass(frozen=True)
class Seed:
    """One example text of a category."""

    id: str
    category: str
    text: str


def read_seeds(source: str, categories: Sequence[str]) -> list[Seed]:
    """The seeds of a source, in its order.

    Args:
        source: ``placeholder``, ``testbed``, or a file.
        categories: The factors' categories.

    Raises:
        DataError: The source cannot be read, a row is broken, an id is there twice, or a category
            has no seed.
    """
    if source == "testbed":
        return _testbed(categories)
    path = PLACEHOLDER if source == "placeholder" else Path(source).expanduser()
    if not path.is_file():
        raise DataError(
            f"--seeds {source}: no such file; give a table with category and text, or one of "
            "placeholder, testbed"
        )
    found: dict[str, Seed] = {}
    for number, row in enumerate(read_table(path), start=1):
        seed = _seed(row, number, f"{path}, row {number}", categories)
        if seed.id in found:
            raise DataError(f"{path}, row {number}: the id {seed.id!r} is there before")
        found[seed.id] = seed
    counts = Counter(seed.category for seed in found.values())
    bare = [name for name in categories if not counts[name]]
    if bare:
        more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
        raise DataError(f"{path} has no seed of the category {bare[0]!r}{more}; each needs one")
    return list(found.values())


def _seed(row: Row, number: int, place: str, categories: Sequence[str]) -> Seed:
    for name in ("category", "text"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise DataError(f"{place}: {name} is missing, empty or no text")
    category = row["category"].strip()
    if category not in categories:
        raise DataError(f"{place}: {category!r} is no category of the factors")
    given = row.get("id")
    return Seed(f"s-{number}" if given in (None, "") else str(given), category, row["text"].strip())


def _testbed(categories: Sequence[str]) -> list[Seed]:
    """Requests that the testbed's models are to refuse, dealt out to the categories."""
    from harness.testbed.english.requests import restricted_requests

    dealt: dict[str, list[Seed]] = {name: [] for name in categories}
    wordings = restricted_requests()
    for place, category in enumerate(categories):
        requests = wordings[place % len(wordings)]
        sharing = len(range(place % len(wordings), len(categories), len(wordings)))
        own = requests[place // len(wordings) :: sharing]
        if not own:
            raise DataError(
                f"--seeds testbed: it has too few requests for {len(categories)} categories"
            )
        dealt[category] = [Seed(f"t-{place}-{k}", category, text) for k, text in enumerate(own)]
    return [seed for seeds in dealt.values() for seed in seeds]


def seeds_hash(seeds: Sequence[Seed]) -> str:
    """A content hash."""
    return key_of(seeds=[asdict(seed) for seed in seeds])
