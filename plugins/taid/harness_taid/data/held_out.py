"""Held-out exchanges for the tasks: a prompt and the response that a student should give.

One switch, ``--metadata taid_data=…`` (or ``data=…``): ``hub`` (the test split of UltraChat 200k,
the paper's training set), ``testbed``, a table, or a folder with one of test_sft, validation, dev
or test. A row has a prompt and a response, or messages, of which the first question and its answer
are taken (``rows``). Rows without either are left out and counted, as are system messages.
"""

from __future__ import annotations

from typing import Any

from harness import DataError, Row, Sourced
from harness.data import sources
from harness_taid.data.rows import columns_of, messages_of
from harness_taid.data.sources import DEV_NAMES, Source
from harness_taid.options import RunOptions, run_options
from harness_taid.requests import ALONG, COMPARED, REFERENCE, SEED, STUDENT

_TESTBED_ROWS = 200
_TESTBED_SEED = 3_000_000
"""Of texts that neither the testbed's models nor their students are trained on."""


def held_out(run: RunOptions) -> tuple[list[Row], dict[str, int]]:
    """Rows of prompt and response, and how many rows and system messages were left out.

    Raises:
        DataError: The source cannot be read, a row is bad, or none is left.
    """
    source, limit = run.data, run.rows
    table = _table(source, limit)
    found = []
    systems = 0
    for number, row in enumerate(table[:limit], start=1):
        prompt, response, alone = _exchange(row, f"{source}, row {number}")
        if prompt.strip() and response.strip():
            found.append({"prompt": prompt, "response": response})
            systems += not alone
    if not found:
        raise DataError(f"{source}: no row has both a prompt and a response")
    return found, {"rows": len(table[:limit]) - len(found), "system_messages": systems}


def _table(source: sources.Source, limit: int) -> list[Row]:
    if source.kind == "testbed":
        return _testbed(min(limit, _TESTBED_ROWS))
    known = Source.of(source.location)
    if source.kind == "folder" and source.path.is_file():
        return known.rows(limit)
    table = known.dev_rows(limit)
    if not table:
        raise DataError(
            f"{source}: no held-out rows; give a table, or a folder with one of "
            f"{', '.join(DEV_NAMES)}"
        )
    return table


def _testbed(count: int) -> list[Row]:
    from harness.testbed.english.corpus import language_model_texts

    texts = language_model_texts(2 * count + 100, _TESTBED_SEED)
    rows = [
        {"prompt": prompt, "response": response}
        for kind, prompt, response in texts
        if kind == "instruct"
    ]
    return rows[:count]


def _exchange(row: Row, where: str) -> tuple[str, str, bool]:
    """The first prompt, its response, and whether no system message stood before them."""
    messages = messages_of(row, where)
    if messages is None:
        return *columns_of(row, where), True
    turns = [message for message in messages if message["role"] != "system"][:2]
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        return "", "", True
    return turns[0]["content"], turns[1]["content"], messages[0] is turns[0]


def _sourced(run: RunOptions, split: str, more: Row) -> Sourced:
    rows, left_out = held_out(run)
    notes = {f"{what}_left_out": count for what, count in left_out.items() if count}
    return Sourced(split, [row | more for row in rows], run.data, notes=notes)


def fidelity_rows(**metadata: Any) -> Sourced:
    """Rows of ``taid_fidelity``, along the texts that the run names.

    Args:
        metadata: The run's metadata, as ``options.run_options`` reads it.

    Raises:
        DataError: As for ``held_out``, or an option is bad.
    """
    run = run_options(metadata)
    return _along(run, [run.along])


def on_policy_rows(**metadata: Any) -> Sourced:
    """Rows of ``taid_fidelity_on_policy``: along the student's samples, and along the references.

    Raises:
        DataError: As for ``fidelity_rows``.
    """
    return _along(run_options(metadata), [STUDENT, REFERENCE])


def _along(run: RunOptions, along: list[str]) -> Sourced:
    split = "held out" if along == [REFERENCE] else f"held out, along {along[0]}"
    return _sourced(run, split, {ALONG: along, SEED: run.sample_seed})


def generation_rows(**metadata: Any) -> Sourced:
    """Rows of ``taid_generation``.

    Raises:
        DataError: As for ``fidelity_rows``.
    """
    return _sourced(run_options(metadata), "held out", {COMPARED: True})
