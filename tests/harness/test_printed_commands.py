"""Commands that pages print: all are what the commands know, and all that can run here do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell

from tools.docs.blocks import Block, blocks, pages, with_outputs
from tools.docs.commands import commands
from tools.docs.places import ROOT
from tools.docs.running import run

PAGES = [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages(ROOT)]
REASONS = (
    *("it installs", "it sets up", "it needs a hub", "it needs a server", "it needs a GPU"),
    *("it needs several GPUs", "it needs a Ray cluster", "it starts vLLM", "it takes minutes"),
    *(
        "it is a pattern",
        "it serves until it is stopped",
        "the plugin's own tests do",
        "the next page does",
    ),
)
COMMANDS = dict(commands())
_PUNCTUATION = re.compile(r"[;|&()<>]+|do|done")


@pytest.mark.parametrize("page", PAGES)
def test_printed_commands_are_what_the_commands_know(page: Path) -> None:
    for block in blocks(page.read_text()):
        for words in _commands(block.script):
            if words[0] == "lm_eval":
                _lm_eval_accepts(words, f"{page}:{block.line}")
            else:
                _harness_accepts(words, f"{page}:{block.line}")


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page.read_text()):
        assert not block.reason or block.reason.startswith(REASONS), f"{page}:{block.line}"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("sh"))
    yield shell
    shell.close()


@pytest.mark.docs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES)
def test_printed_commands_run_and_print_what_the_page_shows(
    page: Path, shell: Shell, tmp_path: Path
) -> None:
    for block, output in run(page, tmp_path, shell.environment):
        if output is not None and block.shows:
            _alike(block.shown(output), block.printed, f"{page}:{block.line}")


def test_outputs_are_put_below_the_blocks_that_ask_for_them() -> None:
    text = (
        "```bash\none\n```\n\n<!-- output: lines with b -->\n\nText\n\n"
        "<!-- not run: it needs a hub -->\n```console\n$ two \\\n    more\nprinted\n```\n"
    )
    first, second = blocks(text)
    assert first == Block(2, "one\n", "", shows=True, lines="b", printed="")
    assert second.script == "two \\\n    more\n"
    assert second.reason == "it needs a hub"
    written = with_outputs(text, ["ab\nc\n", None])
    assert written == text.replace("with b -->\n", "with b -->\n```text\nab\n```\n")
    assert blocks(written)[0].printed == "ab\n"
    assert with_outputs(written, ["ab\nc\n", None]) == written


def test_a_comment_that_stands_by_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="stands by no block"):
        blocks("<!-- output -->\n\n```bash\none\n```\n")


def _commands(script: str) -> Iterator[list[str]]:
    """Each command of ours in a script, as words."""
    script = re.sub(r"<<'END'\n.*?^END$", "", script, flags=re.DOTALL | re.MULTILINE)
    script = re.sub(r"\$\([^)]*\)|(?<==)\$\w+", "VALUE", script)
    script = re.sub(r"(?<= )\$\w+", "key=VALUE", script)
    lines: list[list[str]] = []
    for line in _lines(script):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lines.append([])
        for word in lexer:
            if _PUNCTUATION.fullmatch(word):
                lines.append([])
            else:
                lines[-1].append(word)
    for found in lines:
        for start, word in enumerate(found):
            if word in ("harness", "lm_eval"):
                yield found[start:]
                break


def _lines(script: str) -> Iterator[str]:
    """Lines of a script, each with all that its quotes hold."""
    line = ""
    for part in script.replace("\\\n", " ").splitlines():
        line += part
        try:
            shlex.split(line, comments=True)
        except ValueError:
            line += " "
            continue
        yield line
        line = ""
    assert not line, line


def _harness_accepts(words: list[str], place: str) -> None:
    plain = [word for word in words if not word.startswith("-")]
    if words[1:2] == ["--version"] or any("…" in word for word in words):
        return
    name = " ".join(plain[:3]) if " ".join(plain[:3]) in COMMANDS else " ".join(plain[:2])
    assert name in COMMANDS, f"{place}: {' '.join(words)}"
    known = {o for p in COMMANDS[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert option in known, f"{place}: {name} {option}"


def _lm_eval_accepts(words: list[str], place: str) -> None:
    from lm_eval._cli.harness import HarnessCLI

    parser = HarnessCLI()._parser
    given = [word for word in words[1:] if word != "…"]
    if given and given[0] not in ("run", "ls", "validate"):
        given.insert(0, "run")
    try:
        parser.parse_args(given)
    except SystemExit as end:
        assert end.code == 0, f"{place}: {' '.join(words)}"


def _alike(printed: str, shown: str, place: str) -> None:
    """Whether two outputs say the same; numbers may differ as those of two machines do."""
    again = f"{place}: make docs writes what is printed now:\n{printed}"
    assert len(printed.splitlines()) == len(shown.splitlines()), again
    for got, expected in zip(printed.split(), shown.split(), strict=True):
        try:
            assert float(got) == pytest.approx(float(expected), rel=0.05, abs=0.05), again
        except ValueError:
            assert _shape(got) == _shape(expected), again


def _shape(word: str) -> str:
    """A word without its figures and hashes."""
    return re.sub(r"[0-9a-f]{12}|[0-9]+(?:[.,][0-9]+)*|[-─]+", "#", word)
