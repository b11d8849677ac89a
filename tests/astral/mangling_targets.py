"""What ASTRAL reads from files, and what it reads out of models' answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness_astral.generation.manifest import summary
from harness_astral.generation.questions import read_labels as read_names
from harness_astral.generation.seeds import read_seeds
from harness_astral.generation.web import Snippet, as_rows, read_snippets
from harness_astral.metrics.calibration import read_labels
from harness_astral.models.chat import policy_of
from harness_astral.oracles.oracles import FOLDER, read_template
from harness_astral.oracles.verdicts import read_fields, read_json, read_label, read_yes_no
from harness_astral.report.facts import calibrations, costs, coverages, judgings
from harness_astral.report.page import payload
from harness_astral.report.reading import read_runs
from harness_astral.report.report import Report, report_of
from harness_astral.report.tables import all_cells
from harness_astral.suites.factors import PAPER, read_factors
from harness_astral.suites.messages import read_message
from harness_astral.suites.suite import FILE, MANIFEST, read_suite, write_suite
from harness_astral.tasks.rows import safety_docs
from mangling import Target

from harness.artefacts.writing import appearing, write_lines

from .made_up import CATEGORIES, STAMP, STYLES, TECHNIQUE, inputs, outcome, write_run

WILDGUARD = {"unsafe": "Harmful response", "refused": "Response refusal"}
PARSERS: dict[str, Callable[[str], object]] = {
    "json": read_json,
    "label": read_label,
    "fields": lambda answer: read_fields(answer, WILDGUARD),
    "yes_no": read_yes_no,
    "message": read_message,
    "names": read_names(read_factors()),
    "policy": lambda body: policy_of(400, body),
}
"""Readers of what models and providers say, by name."""

SHARES = {str(t): {"covered": t, "total": 4, "share": t / 4} for t in (1, 2, 3)}
FACTS = {
    "factors": {"category": list(CATEGORIES), "style": list(STYLES), "persuasion": [TECHNIQUE]},
    "coverage": {"requested": SHARES, "verified": SHARES, "balance": [[1, 2]]},
    "outcomes": {"probe": {"written": 8, "refused": 1}},
    "holes": [{"category": "c", "reason": "refused"}],
    "costs": {"generator": {"probe": {"questions": 9, "prompt_tokens": 900}}},
}
NOTE = {"calibration": {"found": 18, "unsafe": 20, "left": 76, "safe": 80, "undecided": 1}}


def targets(folder: Path) -> list[Target]:
    """Valid files in a folder, and what reads them."""
    suite = folder / "suite"
    with appearing(suite) as draft:
        write_lines(draft / "snippets.jsonl", [])
        write_suite(draft, inputs(), recipe={"seed": 7}, facts=FACTS)
    alone = folder / "own.jsonl"
    write_lines(alone, [one.as_row() for one in inputs()])
    factors, oracle = folder / "factors.yaml", folder / "oracle.yaml"
    shutil.copy(PAPER, factors)
    shutil.copy(FOLDER / "wildguard.yaml", oracle)
    seeds = folder / "seeds.jsonl"
    write_lines(
        seeds,
        [{"id": str(n), "category": own, "text": "A text."} for n, own in enumerate(CATEGORIES)],
    )
    table = folder / "seeds.csv"
    table.write_text("category,text,id\n" + "".join(f'"{own}",Text,\n' for own in CATEGORIES))
    snippets = folder / "snippets.jsonl"
    write_lines(
        snippets,
        as_rows([Snippet(own, own, "q", "t", "Text.", "http://a", "ddgs") for own in CATEGORIES]),
    )
    labels = folder / "labels.csv"
    labels.write_text("id,label\n0-slang-0,safe\n1-slang-0,unsafe\n")
    came = [outcome(name) for name in ("unsafe", "safe") * 8]
    results = write_run(folder / "run", inputs(), came, note=NOTE)
    samples = results.with_name(f"samples_astral_safety_{STAMP}.jsonl")
    ids = [one.id for one in inputs()]
    return [
        Target("suite", [suite / FILE, suite / MANIFEST], partial(_suite, suite)),
        Target("inputs", [alone], lambda: safety_docs(astral_data=str(alone)).dataset()),
        Target("factors", [factors], lambda: read_factors(factors)),
        Target("oracle", [oracle], lambda: read_template(str(oracle))),
        Target("seeds", [seeds], lambda: read_seeds(str(seeds), CATEGORIES)),
        Target("seeds, CSV", [table], lambda: read_seeds(str(table), CATEGORIES)),
        Target("snippets", [snippets], lambda: read_snippets(snippets, CATEGORIES)),
        Target("labels", [labels], lambda: read_labels(labels, ids)),
        Target("report", [results, samples, suite / MANIFEST], partial(_report, results, suite)),
    ]


def _suite(folder: Path) -> str:
    return summary(read_suite(folder)[1])


def _report(results: Path, suite: Path) -> str:
    """All that is told of a run, but for the pictures."""
    found: Report = report_of(read_runs([results], show_text=True), suite=suite, show_text=True)
    told = [coverages(found), judgings(found.runs), calibrations(found.runs), costs(found.manifest)]
    cells = [
        cell.tally.of_decided.interval for run in found.runs for cell in all_cells(run.answers)
    ]
    return json.dumps(payload(found)) + str((told, cells))
