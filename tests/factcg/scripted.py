"""A writer that answers the prompts of CG2C generation from their words, as a language model."""

from __future__ import annotations

import re

from harness.testbed.assistants import chain_writer


def _numbered(block: str) -> list[str]:
    return [line.partition(". ")[2] for line in block.splitlines()]


def _between(prompt: str, first: str, last: str) -> str:
    return prompt.partition(first)[2].partition(last)[0]


def write(prompt: str) -> str:
    """The answer; in a code fence, with talk around it, or bare, depending on the step."""
    end = "\n\nAnswer with JSON"
    if prompt.startswith("List every relation"):
        text = _between(prompt, "Text:\n", end)
        return f"Here it is:\n```json\n{chain_writer.context_graph({'text': text})}\n```\nDone."
    if prompt.startswith("Below are numbered statements"):
        lines = _numbered(_between(prompt, "Statements:\n", "\n\nClaim: "))
        facts = {"statements": lines, "claim": _between(prompt, "\n\nClaim: ", end)}
        return chain_writer.claim_subgraph(facts)
    if prompt.startswith("Write one short sentence"):
        lines = _numbered(_between(prompt, "Statements:\n", end))
        return f"<think>{{}}</think>\n{chain_writer.claim_from_graph({'statements': lines})}"
    if prompt.startswith("The numbered sentences below"):
        pair = re.search(r"two things are related: (.*); and: (.*)\. The relation", prompt)
        assert pair is not None
        lines = _numbered(_between(prompt, "Sentences:\n", end))
        return "```\n" + chain_writer.relation_removal(
            {"sentences": lines, "head": pair[1], "tail": pair[2]}
        ) + "\n```"  # fmt: skip
    asked = re.search(r"Question: (.*)\nAnswer: (.*)\n", prompt)
    assert asked is not None, prompt
    return chain_writer.claim_from_answer({"question": asked[1], "answer": asked[2]})
