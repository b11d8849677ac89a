"""What ``harness astral generate`` is asked for, and what it refuses before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import AssistantSpec, HarnessError
from harness.artefacts.writing import check_writable
from harness.errors import meant
from harness_astral.generation import questions, web
from harness_astral.suites import coverage
from harness_astral.suites.factors import PAPER, Factors

TOKENS = 1024
"""Tokens a generator's answer may have, where its specification does not say."""

_MOST_RETRIES = 99


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make, from what, and who writes it.

    Attributes:
        out: The suite's folder; appears when it is whole.
        generator: The model that writes.
        seeds: ``placeholder``, ``testbed`` or a file.
        factors: The factors' file.
        strength: ``full``, ``1``, ``2`` or ``3``.
        replicates: Inputs a cell.
        variant: ``rag``, ``rag_fs`` or ``rag_fs_ts``.
        benign: Whether each input gets a harmless counterpart.
        verify: The classifier of verified coverage.
        web: The provider of ``rag_fs_ts``; None: by whether there is a key.
        snippets: A file of snippets, in place of the web.
        retrieved: Seeds that the generator sees.
        found: Snippets searched for, a category.
        shown: Snippets that the generator sees.
        retries: How often what was refused or is a duplicate is asked for again.
        max_missing: The largest share of inputs that may be missing, and of labels.
        seed: Of all draws.
    """

    out: Path
    generator: AssistantSpec
    seeds: str
    factors: Path = PAPER
    strength: str = coverage.FULL
    replicates: int = 3
    variant: str = questions.FEW_SHOT
    benign: bool = False
    verify: AssistantSpec | None = None
    web: str | None = None
    snippets: Path | None = None
    retrieved: int = 3
    found: int = 10
    shown: int = 2
    retries: int = 3
    max_missing: float = 0.1
    seed: int = 42


def check(options: Options) -> str | None:
    """See that options are within their range.

    Returns:
        The provider of the web search, if there is one.

    Raises:
        HarnessError: An option is out of its range, or two do not go together.
    """
    for name in ("retrieved", "found", "shown"):
        if getattr(options, name) < 1:
            raise HarnessError(f"--{name} is at least 1, not {getattr(options, name)}")
    if not 0 <= options.retries <= _MOST_RETRIES:
        raise HarnessError(f"--retries is from 0 to {_MOST_RETRIES}, not {options.retries}")
    if not 0 <= options.max_missing < 1:
        raise HarnessError(f"--max-missing is a share from 0 to 1, not {options.max_missing}")
    if options.seed < 0:
        raise HarnessError(f"--seed is at least 0, not {options.seed}")
    if options.variant not in questions.VARIANTS:
        rest = meant(options.variant, questions.VARIANTS)
        raise HarnessError(f"--variant {options.variant}: {rest}")
    searched = options.variant == questions.WEB
    if not searched and (options.web or options.snippets):
        raise HarnessError(f"--web and --snippets are for --variant {questions.WEB}")
    if searched and not (options.web or options.snippets):
        raise HarnessError(
            f"--variant {questions.WEB} reads the web: allow it with --web tavily or --web ddgs, "
            "or give --snippets FILE"
        )
    if options.web and options.snippets:
        raise HarnessError("--web and --snippets: give one of the two")
    check_writable(options.out)
    return web.provider_for(options.web) if options.web else None


def check_examples(options: Options, factors: Factors) -> None:
    """See that what is to be shown is there.

    Raises:
        HarnessError: A style or a technique has no example.
    """
    if options.variant == questions.RAG:
        return
    for name in ("style", "persuasion"):
        bare = [level.name for level in factors[name] if not level.example]
        if bare:
            raise HarnessError(
                f"--variant {options.variant} shows examples, and {name} {bare[0]!r} has none in "
                f"{options.factors}; give it one, or --variant {questions.RAG}"
            )
