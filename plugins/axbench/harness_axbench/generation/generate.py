"""Concept data of one's own: AxBench's generation pipeline with any lm-eval model as the writer.

Wu et al. 2025 (arXiv 2501.17148), §3.1 and its appendix. For each concept:

1. its genre: text, code or math;
2. training positives: the writer responds to instructions of that genre and works the concept in;
3. detection positives in the same way, and detection negatives, which keep clear of the concept, on
   instructions of all genres (70 % text, 15 % code, 15 % mathematics, as in the published data);
4. hard negatives: words of the concept, another sense of each word, those senses that are entirely
   unrelated to the concept, and a response with the word in that sense.

Training negatives are the target model's own greedy answers to instructions of each genre, shared
by all concepts.

Example: for "terms related to money and finance" the writer labels the genre math, names the word
"bank", and the sense "the side of a stream"; a hard negative of the concept then is a response that
has "bank" in it and nothing of money, with output_concept ``bank//the side of a stream``.

Every step is one batch over all concepts. Each accepted answer is on disk at once
(``harness.asking``), so a run that is stopped goes on where it was; and since every draw is
seeded by the concept's number, another concept in the file changes no row of the others.

Deviations: every text of the writer is cut to 128 tokens, negatives too, so that length tells
nothing; a concept's evaluation rows never share an instruction; training and evaluation have
different instructions; a word has one other sense; the writer is told a length; a refusal is no
text but a missing answer. A row whose question stays unanswered is left out and listed, and so is a
concept that misses too many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import AssistantSpec, HarnessError, Source
from harness.artefacts.making import making
from harness.artefacts.writing import check_writable
from harness.asking.desk import Desk, answers_kept
from harness.asking.store import key_of
from harness_axbench.data.concepts import instructions as steering_instructions
from harness_axbench.generation import folder, questions, seeds
from harness_axbench.generation.folder import Generated
from harness_axbench.generation.pipeline import Pipeline, Sizes, negatives_by_genre
from harness_axbench.generation.seeds import GENRES, ConceptSeed, Instructions
from harness_axbench.generation.writers import Cutter, greedy, tokenizer_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to make, from what, and who writes it.

    Attributes:
        concepts: The concept file.
        out: The folder of the data; appears when they are whole.
        writer: The model that writes.
        target: The model whose greedy answers are the training negatives; None: the writer.
        tokenizer: Whose tokens ``kept_tokens`` counts; by default the target's.
        instructions: ``hub``, ``testbed`` or a table.
        steering_instructions: The same for ``alpaca_eval.json``; None writes no such file.
        genres: The genres that concepts may have.
        sizes: How many rows, and how long.
        seed: Seed of all draws of instructions.
        max_missing: The largest share of unanswered questions in a step, of missing rows in a
            concept, and of concepts left out.
    """

    concepts: Path
    out: Path
    writer: AssistantSpec
    target: AssistantSpec | None = None
    tokenizer: str | None = None
    instructions: str = "hub"
    steering_instructions: str | None = None
    genres: Sequence[str] = GENRES
    sizes: Sizes = field(default_factory=Sizes)
    seed: int = 42
    max_missing: float = 0.1


def generate(options: Options, say: Callable[[str], None] = lambda text: None) -> Generated:
    """Make the data, or return the equal ones that are already there.

    Raises:
        HarnessError: An option or a source is wrong, a model refuses or leaves too much
            unanswered, or the folder holds something else.
    """
    _check(options)
    concepts = seeds.read_concepts(options.concepts, options.genres)
    pools = seeds.read_instructions(options.instructions, options.genres)
    for genre in options.genres:
        pools.check(genre, **_needed(options, genre))
    steering = _steering(options)
    cutter = Cutter(tokenizer_of(options.target, options.tokenizer))
    writer = Desk("writer", options.writer, options.max_missing, say)
    role = "target" if options.target else "writer, greedy"
    target = Desk(role, _target(options), options.max_missing, say)
    recipe = _recipe(
        *(options, concepts), pools=pools, steering=steering, desks=(writer, target), cutter=cutter
    )
    present = folder.kept(options.out, recipe)
    if present is not None:
        return present
    with making(options.out, "generation", lambda: answers_kept(writer, target)):
        for desk in (writer, target):
            desk.prepare()
        begin = time.monotonic()
        made = Pipeline(
            *(writer, target, pools, cutter, options.sizes),
            genres=options.genres,
            seed=options.seed,
            max_missing=options.max_missing,
        )
        made.run(concepts)
        writer.dismiss()
        facts = {
            "revisions": {desk.role: desk.revision for desk in (writer, target)},
            "instructions_left_out": pools.left_out,
            "responses": made.counts,
            "dropped_concepts": made.dropped,
            "missing_rows": made.missing,
            "costs": {
                desk.role: {k: dict(c) for k, c in desk.costs.items()} for desk in (writer, target)
            },
            "seconds": round(time.monotonic() - begin, 1),
        }
        return folder.write(
            options.out,
            recipe=recipe,
            concepts=made.concepts,
            rows=made.rows,
            steering=steering,
            facts=facts,
        )


def _check(options: Options) -> None:
    unknown = sorted(set(options.genres) - set(GENRES))
    if unknown or not options.genres or len(set(options.genres)) < len(options.genres):
        raise HarnessError(f"--genres are some of {', '.join(GENRES)}, each once")
    for name, value in asdict(options.sizes).items():
        least = 0 if name == "hard_per_concept" else 1
        if value < least:
            raise HarnessError(f"--{name.replace('_', '-')} is at least {least}, not {value}")
    if not 0 <= options.max_missing < 1:
        raise HarnessError(f"--max-missing is a share from 0 to 1, not {options.max_missing}")
    check_writable(options.out)


def _needed(options: Options, genre: str) -> dict[str, int]:
    """How many instructions of a genre one draw takes at most."""
    sizes = options.sizes
    negatives = negatives_by_genre(sizes.eval_per_concept, options.genres)[genre]
    return {
        "train": max(sizes.train_per_concept, sizes.negatives_per_genre),
        "evaluation": sizes.eval_per_concept + negatives + sizes.hard_per_concept,
    }


def _target(options: Options) -> AssistantSpec:
    return options.target or greedy(options.writer, options.sizes.target_tokens)


def _steering(options: Options) -> list[str]:
    wanted = options.steering_instructions
    if wanted is None:
        return []
    source = Source("folder", str(wanted), "--steering-instructions")
    return steering_instructions(wanted, source)


def _recipe(
    options: Options,
    concepts: Sequence[ConceptSeed],
    *,
    pools: Instructions,
    steering: Sequence[str],
    desks: tuple[Desk, Desk],
    cutter: Cutter,
) -> dict[str, Any]:
    """What the data follow from: equal recipes, equal data, as far as the models repeat theirs."""
    return {
        "concepts": key_of(concepts=[asdict(concept) for concept in concepts]),
        "instructions": {"source": Path(pools.source).name, "sha256": pools.sha256},
        "steering_instructions": key_of(instructions=list(steering)) if steering else None,
        "writer": desks[0].identity(),
        "training_negatives": desks[1].identity(),
        "tokenizer": cutter.sha256,
        "wording": questions.wording(),
        "genres": list(options.genres),
        "sizes": asdict(options.sizes),
        "seed": options.seed,
        "max_missing": options.max_missing,
    }
