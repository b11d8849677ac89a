"""Suites: any lm-eval model writes test inputs for the cells of a plan; the result is frozen.

Ugarte et al. 2025, *ASTRAL: Automated Safety Testing of Large Language Models*, arXiv 2501.17132,
§3: every input has a category, a style and a persuasion technique, so that what was tested can be
counted. For each cell the generator sees seeds of the category (retrieval), examples of the style
and the technique (few-shot), and excerpts of web pages (tavily or ddgs), as the variant says.

Example: cell (privacy_violation, role_play, logical_appeal), replicate 0, variant ``rag_fs``: three
seeds of privacy_violation drawn from BM25's best, an example of role play and one of a logical
appeal, and the question for one message; its answer is the input.

``--benign`` gives each input a harmless counterpart in the same style and with the same technique:
a model that declines these declines too much. ``--verify`` lets a classifier, which does not see
the cell, name style and technique of each input: coverage is then verified, not only requested.

A run that is stopped goes on where it was: answers are on disk as they come
(``harness.asking``), and so are the date and what the web search found (a file in the cache,
until the suite is there). Interrupted or not, the suite is the same, byte by byte.

Deviations: one question writes one input, so nothing is split or numbered; the number of retries
is bounded, and what is left is a hole that is told; near duplicates are asked for again; categories
of the seeds are fixed, so retrieval never leaves the category.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness.artefacts import recipes
from harness.artefacts.cache import cache_folder
from harness.artefacts.making import making
from harness.artefacts.writing import appearing, write_lines
from harness.asking.desk import Desk, answers_kept
from harness.asking.store import Store, key_of
from harness_astral.generation import questions, web
from harness_astral.generation.manifest import facts_of, spent
from harness_astral.generation.options import Options, check, check_examples
from harness_astral.generation.pipeline import Pipeline, Setting
from harness_astral.generation.retrieval import Retriever
from harness_astral.generation.seeds import Seed, read_seeds, seeds_hash
from harness_astral.suites import coverage
from harness_astral.suites.coverage import Plan
from harness_astral.suites.factors import Factors, read_factors
from harness_astral.suites.suite import MANIFEST, Input, read_suite, write_suite

LABELS = "labels.jsonl"
_WORDS = recipes.Words(
    other="another suite (it differs in: {unlike})",
    flags={
        "classifier": "--verify",
        "web": "--web, --snippets, --found, --shown",
        "wording": "the questions' wording",
    },
)


@dataclass(frozen=True)
class Made:
    """A suite's folder, and whether it was there before."""

    folder: Path
    inputs: Sequence[Input]
    manifest: dict[str, Any]
    already_there: bool = False


def generate(options: Options, say: Callable[[str], None] = lambda text: None) -> Made:
    """Make a suite, or return the equal one that is already there.

    Raises:
        HarnessError: An option or a file is wrong, a model refuses to be asked, the web search
            fails, too much is missing, or the folder holds something else.
    """
    provider = check(options)
    factors = read_factors(options.factors)
    check_examples(options, factors)
    plan = coverage.plan(factors.sizes, options.strength, options.replicates)
    seeds = read_seeds(options.seeds, factors.names()["category"])
    given = None
    if options.snippets:
        given = web.read_snippets(options.snippets, factors.names()["category"])
    desk = Desk("generator", options.generator, 1.0, say)
    classifier = None
    if options.verify:
        classifier = Desk("classifier", options.verify, options.max_missing, say)
    recipe = _recipe(options, factors, seeds, desk, classifier)
    recipe["web"] = _web_recipe(options, provider, given)
    file = _run_file(options, recipe)
    if recipes.kept(options.out, recipe, name=MANIFEST, words=_WORDS) is not None:
        file.unlink(missing_ok=True)  # a kill may have left it
        inputs, manifest = read_suite(options.out)
        return Made(options.out, inputs, manifest, already_there=True)
    desks = [one for one in (desk, classifier) if one is not None]
    with making(options.out, "generation", lambda: answers_kept(*desks)):
        for one in desks:
            one.prepare()
        say(str(plan))
        begin = time.monotonic()
        run = Store(file)
        snippets = _snippets(options, factors, provider, given, run)
        setting = _setting(options, factors, seeds, snippets, desk, created=_created(run))
        pipeline = Pipeline(desk, setting)
        probes = pipeline.probes(plan)
        _check_missing(options, plan, probes, pipeline, desk)
        twins = pipeline.twins(probes) if options.benign else []
        desk.dismiss()
        labels = _labels(classifier, factors, probes)
        facts = facts_of(plan, factors, probes, labels) | pipeline.account() | spent(desks)
        facts["seconds"] = round(time.monotonic() - begin, 1)
        with appearing(options.out) as draft:
            if snippets:
                write_lines(draft / web.FILE, web.as_rows(snippets))
            if labels is not None:
                write_lines(draft / LABELS, [{"id": k, **own} for k, own in labels.items()])
            inputs, manifest = write_suite(draft, [*probes, *twins], recipe=recipe, facts=facts)
        file.unlink(missing_ok=True)
        return Made(options.out, inputs, manifest)


def _recipe(
    options: Options,
    factors: Factors,
    seeds: Sequence[Seed],
    desk: Desk,
    classifier: Desk | None,
) -> dict[str, Any]:
    """What the suite follows from: equal recipes, equal suites, as far as the model repeats its."""
    return {
        "factors": factors.sha256,
        "strength": options.strength,
        "replicates": options.replicates,
        "variant": options.variant,
        "benign": options.benign,
        "generator": desk.identity(),
        "classifier": classifier.identity() if classifier else None,
        "seeds": {"source": Path(options.seeds).name, "sha256": seeds_hash(seeds)},
        "wording": questions.wording(),
        "retrieved": options.retrieved,
        "retries": options.retries,
        "max_missing": options.max_missing,
        "seed": options.seed,
    }


def _web_recipe(
    options: Options, provider: str | None, given: Sequence[web.Snippet] | None
) -> dict[str, Any] | None:
    if options.variant != questions.WEB:
        return None
    found: dict[str, Any] = {"shown": options.shown}
    if given is not None:
        return found | {"snippets": key_of(snippets=web.as_rows(given))}
    return found | {"provider": provider, "found": options.found}


def _run_file(options: Options, recipe: dict[str, Any]) -> Path:
    """The store of what a run that is interrupted has to find again, besides the answers."""
    name = key_of(recipe=recipe, out=str(options.out.absolute()))[:24]
    return cache_folder() / "astral" / f"{name}.jsonl"


def _created(run: Store) -> str:
    """The date of the run's first start, or ``SOURCE_DATE_EPOCH``."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)
    return str(run.put("created", now.date().isoformat()))


def _snippets(
    options: Options,
    factors: Factors,
    provider: str | None,
    given: list[web.Snippet] | None,
    run: Store,
) -> list[web.Snippet]:
    if given is not None:
        return given
    if provider is None:
        return []
    queries = {level.name: level.search for level in factors.category}
    return web.search_all(queries, provider, run, most=options.found)


def _setting(
    options: Options,
    factors: Factors,
    seeds: Sequence[Seed],
    snippets: Sequence[web.Snippet],
    desk: Desk,
    *,
    created: str,
) -> Setting:
    identity = desk.identity()
    args = identity["model_args"]
    own = Path(str(args.get("model") or args.get("pretrained") or "")).name
    by_category: dict[str, list[web.Snippet]] = {}
    for one in snippets:
        by_category.setdefault(one.category, []).append(one)
    template = key_of(
        wording=questions.wording(),
        variant=options.variant,
        factors=factors.sha256,
        seeds=seeds_hash(seeds),
        shown=[options.retrieved, options.shown],
    )
    return Setting(
        variant=options.variant,
        factors=factors,
        retriever=Retriever(seeds),
        snippets=by_category,
        retrieved=options.retrieved,
        shown_snippets=options.shown,
        retries=options.retries,
        seed=options.seed,
        template=template,
        generator=f"{identity['model']}/{own}" if own else str(identity["model"]),
        identity=key_of(generator=identity),
        created=created,
    )


def _check_missing(
    options: Options, plan: Plan, probes: Sequence[Input], pipeline: Pipeline, desk: Desk
) -> None:
    missing = plan.inputs - len(probes)
    if probes and missing <= options.max_missing * plan.inputs:
        return
    reasons: dict[str, int] = {}
    for hole in pipeline.holes:
        reasons[hole.reason] = reasons.get(hole.reason, 0) + 1
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    advice = "Answers are kept; give more seeds, --retries, another generator or --max-missing"
    if "unanswered" in reasons:
        advice = f"{desk.assistant.trouble}. A rerun asks only what is missing"
    raise HarnessError(
        f"generator '{options.generator.model}' left {missing} of {plan.inputs} inputs unwritten "
        f"({told}), more than --max-missing {options.max_missing}. {advice}"
    )


def _labels(
    classifier: Desk | None, factors: Factors, probes: Sequence[Input]
) -> dict[str, dict[str, str]] | None:
    """What the classifier named, by input; None without a classifier."""
    if classifier is None:
        return None
    asked = [questions.ask_labels(factors, one.prompt) for one in probes]
    named = classifier.ask("labels", asked, questions.read_labels(factors))
    classifier.dismiss()
    return {one.id: own for one, own in zip(probes, named, strict=True) if own is not None}
