"""The rows of AxBench's tasks: which concept, which text or instruction, which factor.

Data and concepts are the run's: ``axbench_concepts=[0,3,5]`` among its metadata restricts every
task to these concepts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness import DataError, Row, Sourced
from harness.asking.store import key_of
from harness_axbench.data.concepts import (
    Concept,
    ConceptData,
    drawn_instructions,
    instructions,
    load,
)
from harness_axbench.dictionary.folder import Dictionary, read
from harness_axbench.metrics import NEGATIVE, POSITIVE, SAMPLED, SELECT, TEST
from harness_axbench.options import RunOptions, run_options
from harness_axbench.tasks import prompting
from harness_axbench.tasks.factors import NONE, Factors, steering_factors, suppression_factors

SELECTION_INSTRUCTIONS = 5
SAMPLING_SEED = 42


def _load(run: RunOptions) -> tuple[ConceptData, tuple[Concept, ...]]:
    """The run's data, and the concepts that it evaluates.

    Raises:
        DataError: A concept is none of the data's, or the dictionary that the run steers with knows
            other concepts by these ids.
    """
    found = load(run)
    known = {concept.id: concept for concept in found.concepts}
    wanted = list(known) if run.concepts is None else run.concepts
    missing = [number for number in wanted if number not in known]
    if missing:
        raise DataError(
            f"axbench_concepts: {found.source} has no concept {missing[0]!r}; it has {len(known)}, "
            f"{min(known)} … {max(known)}"
        )
    concepts = tuple(known[number] for number in sorted(set(wanted)))
    if run.steering:
        _check_concepts(read(run.steering), found, concepts)
    return found, concepts


def _check_concepts(steering: Dictionary, found: ConceptData, concepts: Sequence[Concept]) -> None:
    """Refuse a dictionary that does not know the data's concepts by the same numbers."""
    texts = {concept.id: concept.text for concept in steering.concepts}
    for concept in concepts:
        if texts.get(concept.id) != concept.text:
            raise DataError(
                f"concept {concept.id} of {found.source} is {concept.text!r}; in the dictionary "
                f"{steering.folder} it is {texts.get(concept.id, 'missing')!r}. Train on the data "
                f"that you evaluate, or pass the dictionary's with --metadata axbench_data=…"
            )


def steer_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_steer``: concept × factor × instruction, or the baseline's."""
    run = run_options(metadata)
    return _steering_rows(run, steering_factors(run), prompted=False)


def steer_prompt_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_steer_prompt``: concept × test instruction, with a steering prompt."""
    run = run_options(metadata)
    prompting.refuse_steering(run, "axbench_steer_prompt")
    return _steering_rows(run, NONE, prompted=True)


def suppress_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_suppress``: as ``axbench_steer``, prompted, with negated factors."""
    run = run_options(metadata)
    return _steering_rows(run, suppression_factors(run), prompted=True)


def _steering_rows(run: RunOptions, factors: Factors, *, prompted: bool) -> Sourced:
    found, concepts = _load(run)
    pool = instructions(run.instructions, found.source)
    prompts: Sequence[str | None] = [None] * len(concepts)
    if prompted:
        prompts = prompting.steering_prompts(run.prompt_writer(), concepts)
    rows: list[Row] = []
    for concept, prompt in zip(concepts, prompts, strict=True):
        more = {} if prompt is None else {"steering_prompt": prompt}
        drawn = drawn_instructions(pool, concept)
        for factor in factors:
            rows += [row | more for row in _rows(concept, factor, drawn)]
    numbers = [concept.id for concept in concepts]
    content = key_of(data=found.sha256, instructions=list(pool), concepts=numbers)
    if run.factors:  # a grid of the run's own is ranked apart
        content = key_of(content=content, factors=list(factors))
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


def detect_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_detect``: every evaluation text with the concept it is for.

    ``axbench_imbalanced=N`` adds for each concept the same N negatives, sampled from all concepts'
    (all of them, where there are fewer): N rows a concept.
    """
    return _scored_texts(run_options(metadata))


def _scored_texts(run: RunOptions) -> Sourced:
    found, concepts = _load(run)
    texts = {concept.id: concept.text for concept in concepts}
    rows = [
        _detection_row(row, row["concept_id"], texts[row["concept_id"]], row["category"])
        for row in found.evaluation
        if row["concept_id"] in texts
    ]
    there = {(row["concept_id"], row["category"]) for row in rows}
    for number, text in texts.items():
        for category in (POSITIVE, NEGATIVE):
            if (number, category) not in there:
                raise DataError(
                    f"{found.source}: concept {number} ({text!r}) has no evaluation text of the "
                    f"category {category!r}; leave it out with --metadata axbench_concepts=[…]"
                )
    size = run.imbalanced
    if not size:
        return Sourced("test", rows, found.source)
    content = key_of(data=Sourced("test", rows, found.source).sha256, imbalanced=size)
    sampled = _sampled_negatives(found, size)
    for concept in concepts:
        rows += [_detection_row(row, concept.id, concept.text, SAMPLED) for row in sampled]
    return Sourced("test", rows, found.source, content)


def detect_prompt_docs(**metadata: Any) -> Sourced:
    """Rows of ``axbench_detect_prompt``: as those of ``axbench_detect``."""
    run = run_options(metadata)
    prompting.refuse_steering(run, "axbench_detect_prompt")
    return _scored_texts(run)


def _detection_row(row: Row, number: int, text: str, category: str) -> Row:
    return {
        "concept_id": number,
        "concept": text,
        "input": row["input"],
        "output": row["output"],
        "category": category,
        "label": int(category == POSITIVE),
        "detect": True,
    }


def _sampled_negatives(found: ConceptData, size: int) -> list[Row]:
    import pandas as pd  # type: ignore[import-untyped]

    negatives = [row for row in found.evaluation if row["category"] == NEGATIVE]
    drawn = pd.Series(range(len(negatives)))
    drawn = drawn.sample(min(size, len(negatives)), random_state=SAMPLING_SEED)
    return [negatives[place] for place in drawn]
