"""AxBench's two tasks: steer a model towards a concept, and detect a concept in a text.

A row of ``axbench_steer`` says which concept, how strongly (``factor``, in units of max_act), and
which instruction; a steering wrapper reads that from the row. A run that steers is known by
``steering`` among its model arguments, which lm-eval hands to tasks as metadata. Without it the
rows are the baseline's: no factor, the test instructions only.

A row of ``axbench_detect`` is a text and a concept. A generative model answers by P(" Yes") against
P(" No"); a steering wrapper by its method's own score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.assistants import Question
from harness.datasets import Row, Sourced
from harness.errors import DataError
from harness.judging import JudgedTask, Judgement
from harness.responses import margin
from harness.store import key_of
from harness_axbench import data, dictionary, ratings
from harness_axbench.data import Concept
from harness_axbench.metrics import SELECT, TEST

FACTORS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0)
SELECTION_INSTRUCTIONS = 5
STEER_METRICS = (
    "overall_score",
    "overall_score_ci95",
    "overall_score_worst",
    "overall_score_best",
    "concept_score",
    "instruct_score",
    "fluency_score",
    "factor",
    "n_unscored",
)


def _check_concepts(metadata: Mapping[str, Any], found: data.ConceptData) -> None:
    """Refuse a dictionary that does not know the data's concepts by the same numbers."""
    if not metadata.get("steering"):
        return
    steering = dictionary.read(str(metadata["steering"]))
    texts = {concept.id: concept.text for concept in steering.concepts}
    for concept in found.concepts:
        if texts.get(concept.id) != concept.text:
            raise DataError(
                f"concept {concept.id} of {found.source} is {concept.text!r}; in the dictionary "
                f"{steering.folder} it is {texts.get(concept.id, 'missing')!r}. Train on the data "
                f"that you evaluate, or pass the dictionary's with --metadata axbench_data=…"
            )


def steer_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_steer``: concept × factor × instruction, or the baseline's."""
    found = data.load(metadata)
    _check_concepts(metadata, found)
    pool = data.instructions(metadata, found.source)
    rows: list[Row] = []
    for concept in found.concepts:
        drawn = data.drawn_instructions(pool, concept)
        for factor in FACTORS if metadata.get("steering") else (None,):
            rows += _rows(concept, factor, drawn)
    content = key_of(data=found.sha256, instructions=list(pool))
    return Sourced("test", rows, found.source, content)


def _rows(concept: Concept, factor: float | None, drawn: Sequence[str]) -> Iterator[Row]:
    for index, instruction in enumerate(drawn):
        split = SELECT if index < SELECTION_INSTRUCTIONS else TEST
        if factor is None and split == SELECT:
            continue
        yield {
            "concept_id": concept.id,
            "concept": concept.text,
            "instruction": instruction,
            "instruction_index": index,
            "factor": factor,
            "split": split,
        }


class SteerTask(JudgedTask):
    """``axbench_steer``: generations under steering, rated by a judge."""

    def questions(self, doc: Row, response: str) -> Mapping[str, Question]:
        return ratings.questions(
            concept=doc["concept"], instruction=doc["instruction"], response=response
        )

    def process_results(self, doc: Row, results: Sequence[Judgement]) -> dict[str, Any]:
        item = {key: doc[key] for key in ("concept_id", "factor", "split")}
        item |= {name: results[0].ratings[name] for name in ratings.NAMES}
        return dict.fromkeys(STEER_METRICS, item)


def detect_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_detect``: every evaluation text with the concept it is for."""
    found = data.load(metadata)
    _check_concepts(metadata, found)
    texts = {concept.id: concept.text for concept in found.concepts}
    rows: list[Row] = [
        {
            "concept_id": row["concept_id"],
            "concept": texts[row["concept_id"]],
            "input": row["input"],
            "output": row["output"],
            "category": row["category"],
            "label": int(row["category"] == "positive"),
            "detect": True,
        }
        for row in found.evaluation
    ]
    return Sourced("test", rows, found.source)


def detect_prompt(doc: Row) -> str:
    """The question to a generative model."""
    return (
        f"Here is an instruction and a response to it.\n\nInstruction: {doc['input']}\n\n"
        f"Response: {doc['output']}\n\nDoes the response contain this concept: "
        f"{doc['concept']}?\nAnswer Yes or No.\nAnswer:"
    )


def detect_results(doc: Row, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """The score of one text for its concept: how much more Yes than No."""
    item = {key: doc[key] for key in ("concept_id", "category")}
    item |= {"score": margin(*results)}
    return {"auroc": item, "auroc_ci95": item}
