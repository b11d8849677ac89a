"""``harness factcg score``: claims from the command line or a file, to the terminal or a folder."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import DataError, HarnessError
from harness.artefacts.cache import cache_folder
from harness.artefacts.reading import ENCODING, read_bytes
from harness.artefacts.writing import whole
from harness.reports.values import parse_model_args
from harness_factcg.assessing.assessment import Claim, assess, read_rows

if TYPE_CHECKING:
    from rich.console import Console

    from harness_factcg.checking.checker import Checker

_FILE_NAME = re.compile(r"\S*/\S*|\S+\.[A-Za-z0-9]{1,5}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to check, by which model, and where the answer goes.

    Attributes:
        document: A text, a text file's name, or ``-``; with ``claim``.
        claim: A claim about it.
        data: A table of claims instead of both.
        model: The checkpoint.
        model_args: Further arguments of ``hf-fact-checker``, as lm-eval writes them.
        threshold: Score above which a claim is supported.
        explained: Whether to find the sentences that verdicts rest on.
        out: Folder of the report; None prints.
        title: The report's heading.
    """

    document: str | None = None
    claim: str | None = None
    data: Path | None = None
    model: str
    model_args: str = ""
    threshold: float = 0.5
    explained: bool = True
    out: Path | None = None
    title: str = "Fact check"


def run(options: Options, console: Console) -> Path | None:
    """Check claims, and print them or write the report.

    Returns:
        The report's page, if there is one.

    Raises:
        HarnessError: An option, a text or a file is wrong, or the checkpoint cannot be used.
    """
    from harness_factcg.report import About, check_free, write_report
    from harness_factcg.report.summary import summarise
    from harness_factcg.report.terminal import counts, show

    if options.out is not None:
        check_free(options.out)
    claims = _claims(options)
    checker = _checker(options)
    found = assess(
        checker,
        claims,
        threshold=options.threshold,
        explained=options.explained,
        progress=options.data is not None,
    )
    summary = summarise(found, options.threshold)
    if options.out is None:
        show(console, found, summary)
        return None
    about = About(
        model=options.model,
        sha=checker.checkpoint.sha,
        family=f"{checker.family.name}: {checker.reason}",
        threshold=options.threshold,
        explained=options.explained,
    )
    page = write_report(found, options.out, about, title=options.title)
    console.print(f"{page}: {counts(summary)}", soft_wrap=True, markup=False, highlight=False)
    return page


def _claims(options: Options) -> list[Claim]:
    if options.data is not None:
        if options.document is not None or options.claim is not None:
            raise HarnessError("give DOC and CLAIM, or --data FILE, not both")
        return read_rows(options.data.expanduser())
    if options.document is None or options.claim is None:
        raise HarnessError(
            "give a document and a claim, DOC CLAIM, or a table of them, --data FILE"
        )
    if not options.claim.strip():
        raise DataError("the claim is empty")
    return [Claim(read_document(options.document), _whole(options.claim, "claim"))]


def read_document(given: str) -> str:
    """The document itself, the content of a text file, or what stdin brings.

    Args:
        given: A file's name, ``-`` for stdin, or else the text. A single word that looks like a
            file's name (it has a / or an ending) is taken for one.

    Raises:
        DataError: There is no such file, it is no UTF-8 text, or the text is empty.
    """
    text = given
    if given == "-":
        try:
            text = sys.stdin.read().removeprefix("\ufeff")
        except UnicodeDecodeError as cause:
            raise DataError("cannot read the document from stdin: it is not UTF-8 text") from cause
    elif _is_file(given):
        try:
            text = read_bytes(Path(given).expanduser()).decode(ENCODING)
        except (OSError, UnicodeDecodeError) as cause:
            reason = getattr(cause, "strerror", None) or "it is not UTF-8 text"
            raise DataError(f"cannot read the document {given}: {reason}") from cause
    elif _FILE_NAME.fullmatch(given):
        raise DataError(f"no such file: {given}; a document is a text, a text file, or - for stdin")
    if not text.strip():
        where = {"-": "stdin"}.get(given, given).strip()
        raise DataError(f"the document is empty: {where}" if where else "the document is empty")
    return _whole(text, "document")


def _whole(text: str, what: str) -> str:
    """The text, unless it holds half a surrogate pair: bytes of the command line that are no UTF-8.

    Raises:
        DataError: It does.
    """
    if whole(text) != text:
        raise DataError(f"the {what} is not UTF-8 text")
    return text


def _is_file(given: str) -> bool:
    try:
        return Path(given).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, or with a NUL: a text
        return False


def _checker(options: Options) -> Checker:
    from harness_factcg.checking.opening import check_names, open_checker

    arguments: dict[str, Any] = parse_model_args(options.model_args)
    if "pretrained" in arguments:
        raise HarnessError("--model names the checkpoint: leave pretrained= out of --model-args")
    check_names(arguments)
    if options.data is not None:  # what is long can be stopped
        name = re.sub(r"[^\w.-]+", "_", options.model)[-120:]
        arguments.setdefault("response_cache", cache_folder() / "scores" / f"{name}.jsonl")
    return open_checker(options.model, **arguments)
