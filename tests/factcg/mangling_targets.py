"""What FactCG reads from files, and what it reads out of a writer's answers."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness_factcg.assessing.assessment import read_rows
from harness_factcg.checking import families
from harness_factcg.checking.opening import open_checker
from harness_factcg.checking.verdicts import Pair
from harness_factcg.data import cg2c
from harness_factcg.data.aggrefact import fact_check, llm_aggrefact
from harness_factcg.data.core_pairs import factcg_core
from harness_factcg.generation import folder as generation
from harness_factcg.generation import questions
from harness_factcg.generation.graphs import Triple
from harness_factcg.generation.rewriting import Passage
from harness_factcg.generation.sources import read as read_source
from harness_factcg.training import rows as training_rows
from harness_factcg.training import stages, train
from harness_factcg.training.options import Options
from harness_factcg.training.rows import Source
from mangling import Target

from harness.artefacts import recipes
from harness.artefacts.checksums import digest
from harness.asking.assistant import Question
from harness.testbed import resolve

from .made_up import rows, write_jsonl

PASSAGE = Passage.of("Anna works for Borealis. Borealis is in Rome.")
TRIPLE = Triple("Anna", "Anna works for Borealis.", "Borealis")
FORMS = (questions.Triples, questions.Numbers, questions.Claim, questions.Sentences)


def _checked(question: Question) -> Callable[[str], object]:
    assert question.check is not None
    return question.check


PARSERS: dict[str, Callable[[str], object]] = {
    **{form.__name__: partial(questions.read, form=form) for form in FORMS},
    "removal": _checked(questions.ask_removal(PASSAGE, TRIPLE)),
    "subgraph": _checked(questions.ask_subgraph([TRIPLE, TRIPLE], "Anna works.")),
    "statement": _checked(questions.ask_statement("Where?", "Rome")),
}
"""Readers of what writers say, by name."""

PAIR = [
    {"doc": doc, "claim": "Anna works for Borealis.", "label": label, "hops": 2, "pair_id": "0"}
    | {"source": "doc", "removed": list(TRIPLE)}
    for label, doc in ((1, "Anna works for Borealis."), (0, "Anna has heard of Borealis."))
]
RELEASED = [
    {"task": "bin", "text_a": row["doc"], "text_b": [row["claim"]], "text_c": []}
    | {"orig_label": row["label"]}
    for row in PAIR
]
WICE = {
    "label": "supported",
    "claim": "Anna works in Rome.",
    "supporting_sentences": [[0, 1]],
    "evidence": ["Anna works for Borealis.", "Borealis is in Rome."],
}
QUESTION = {
    "id": "3hop1__1",
    "question": "Where does Anna work?",
    "answer": "Rome",
    "paragraphs": [{"paragraph_text": PASSAGE.text, "is_supporting": True}],
}
HOTPOT = {
    "_id": "a",
    "question": "Where does Anna work?",
    "answer": "Rome",
    "supporting_facts": [["Anna", 0]],
    "context": [["Anna", ["Anna works for Borealis.", "Borealis is in Rome."]]],
}
RECIPE = {"kind": "doc", "seed": 1}
STAGES = {
    "recipe": {"data": {"stage1": [{"file": "a", "sha256": "b", "withheld": 3}]}, "dev": []},
    "stages": [
        {"stage": "stage1", "train_rows": {"supported": 4}, "dev_rows": {"supported": 1}}
        | {"chosen_step": 2, "steps": 4, "dev": {"balanced_accuracy": 0.5}}
    ],
}
STATE = {
    "global_step": 4,
    "log_history": [{"step": 4, "loss": 0.5}],
    "best_metric": 0.5,
    "epoch": 1.0,
    "best_global_step": 4,
}


def targets(folder: Path) -> list[Target]:
    """Valid files in a folder, and what reads them."""
    checker = folder / "checker"
    shutil.copytree(resolve("testbed:checker"), checker)
    config = json.loads((checker / "config.json").read_text())
    config[families.CONFIG_KEY] = families.find("factcg").to_config()
    (checker / "config.json").write_text(json.dumps(config))
    names = ("config.json", "tokenizer_config.json")
    both = [row | {"id": str(k)} for k, row in enumerate(rows(4, ["Wice"]))]
    table = write_jsonl(folder / "aggrefact.jsonl", both)
    comma = folder / "claims.csv"
    comma.write_text('doc,claim,label\n"Anna, 3.",Anna.,1\n"Ben, 4.",Anna.,0\n')
    pairs = write_jsonl(folder / "pairs.jsonl", PAIR)
    released = write_jsonl(folder / "released.json", RELEASED)
    wice = write_jsonl(folder / "wice.jsonl", [WICE])
    musique = write_jsonl(folder / "musique.jsonl", [QUESTION])
    hotpot = write_jsonl(folder / "hotpot.jsonl", [HOTPOT])
    made = folder / "made"
    generation.write(
        made,
        recipe=RECIPE,
        rows=PAIR,
        facts={"left_out": {"no claim": 1}, "costs": {"writer": {"graph": {"questions": 3}}}},
    )
    trained = folder / "trained"
    trained.mkdir()
    (trained / "model.bin").write_bytes(b"weights")
    told = STAGES | {"files": {"model.bin": digest(trained / "model.bin")}}
    record = trained / train.MANIFEST
    record.write_text(json.dumps(told))
    work = folder / "work"
    state = work / "stage1" / "checkpoint-4" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps(STATE))
    template = folder / "template.txt"
    template.write_text("{document}\nClaim: {claim}\n")
    return [
        Target("checker", [checker / name for name in names], partial(_checker, checker)),
        Target("LLM-AggreFact", [table], partial(_read, llm_aggrefact, table, dataset="Wice")),
        Target("rows", [table], partial(_read, fact_check, table)),
        Target("rows, CSV", [comma], lambda: read_rows(comma)),
        Target("claims", [table], lambda: read_rows(table)),
        Target("CG2C", [pairs], lambda: cg2c.length_gap(cg2c.read(pairs))),
        Target("released", [released], partial(_training, released)),
        Target("training rows", [pairs], partial(_training, pairs)),
        Target("CoRe, WiCE", [wice], partial(_read, factcg_core, wice)),
        Target("CoRe, pairs", [pairs], partial(_read, factcg_core, pairs)),
        Target("MuSiQue", [musique], lambda: read_source(str(musique), "mhqa", None, 1)),
        Target("HotpotQA", [hotpot], lambda: read_source(str(hotpot), "mhqa", None, 1)),
        Target("documents", [pairs], lambda: read_source(str(pairs), "doc", None, 1)),
        Target("generation", [made / recipes.MANIFEST, made / "cg2c.jsonl"], partial(_made, made)),
        Target("training", [record], partial(_trained, trained)),
        Target("trainer state", [state], partial(_state, work)),
        Target("template", [template], lambda: families.find("factcg").override(
            template=families.read_template(template))),
    ]  # fmt: skip


def _read(rows_of: Callable[..., Any], path: Path, **named: Any) -> object:
    """A task's rows, as lm-eval has them."""
    keys = ("aggrefact_data", "core_data", "fact_check_data")
    logging.disable(logging.WARNING)
    try:
        return rows_of(**dict.fromkeys(keys, str(path)), **named).dataset()
    finally:
        logging.disable(logging.NOTSET)


def _training(path: Path) -> object:
    rows = training_rows.read([Source.of(path, skip_withheld=True)])
    return training_rows.groups(rows)


def _checker(folder: Path) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checker = open_checker(str(folder), device="cpu")
        (verdict,) = checker.verdicts([Pair("Anna works as a baker.", "Anna is here.")]).values()
    return verdict.score


def _made(folder: Path) -> str:
    made = generation.kept(folder, RECIPE)
    assert made is not None
    return generation.summary(made) + generation.gap(made) + str(generation.tables(made))


def _trained(folder: Path) -> str:
    manifest = recipes.kept(folder, STAGES["recipe"], name=train.MANIFEST)
    assert manifest is not None
    made = train.Made(folder, manifest, present=True)
    return train.summary(made) + str(train.at_chance(made))


def _state(work: Path) -> str:
    options = Options(out=work, model="scratch:3x32")
    return str(stages._last_checkpoint(stages.Stage("stage1", [], [], work, options)))
