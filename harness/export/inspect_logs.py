"""Inspect's logs, written by ``inspect_ai`` itself: a log for each run and task.

    lm-eval                                     Inspect
    the prompt, or its messages                 input, messages
    the answer; the most probable choice        output, choices
    each metric's value of a document           scores, with the judge's words as explanation
    what the model said of its answer, the row  the sample's metadata
    a metric, its standard error, interval      results.scores[…].metrics
    model, its arguments, method                eval.model, model_args, metadata
    the task's configuration                    eval.task_args, dataset, metadata

Inspect has no log for a group of tasks: groups are left out. A log's samples are in memory while it
is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.export.reading import samples_of
from harness.export.runs import Evaluated, Evaluations, counted
from harness.export.samples import Answer, Sample
from harness.export.scorers import Scorer, named, scorers_of
from harness.reports.values import mapping, parse_model_args, real

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalResults, EvalSample, EvalSpec
    from inspect_ai.model import ChatMessage
    from inspect_ai.scorer import Score

MISSING = "--to inspect needs the package inspect-ai: pip install 'paperharness[inspect]'"
_NO_DATE = "1970-01-01T00:00:00Z"
_SETTINGS = {"temperature": float, "top_p": float, "top_k": int, "max_gen_toks": int}
_ASKED = ("num_fewshot", "output_type", "test_split", "generation_kwargs")
"""Of a task's configuration, what lists of logs show; the whole is in the metadata."""
_RENAMED = {"max_gen_toks": "max_tokens"}


def check() -> None:
    """See that ``inspect_ai`` is there.

    Raises:
        HarnessError: It is not.
    """
    try:
        import inspect_ai.log  # noqa: F401
    except ImportError as cause:
        raise HarnessError(MISSING) from cause


def write(found: Evaluations, folder: Path) -> list[str]:
    """Write a log for each task of each run.

    Args:
        found: What to write.
        folder: An empty folder.

    Returns:
        What was written, in a few lines.

    Raises:
        DataError: Samples are damaged; the message says where.
    """
    from inspect_ai.log import write_eval_log

    documents = 0
    for task in found.each():
        log = _log(task)
        documents += len(log.samples or ())
        stamp = log.eval.created.replace(":", "-")
        place = folder / f"{stamp}_{task.name}_{task.run.run_id}.eval"
        write_eval_log(log, place, "eval")
    return [f"{counted(len(found.tasks), 'log')} of {counted(documents, 'sample')}"]


def _log(task: Evaluated) -> EvalLog:
    from inspect_ai.log import EvalLog, EvalStats

    samples: list[EvalSample] = []
    scorers = scorers_of(task.rows, ())
    for sample in samples_of(task):
        if not samples:
            scorers = scorers_of(task.rows, sample.answers)
        samples.append(_sample(sample, task, scorers))
    begun = task.run.date or _NO_DATE
    seconds = task.run.seconds or 0.0
    ended = datetime.fromisoformat(begun).timestamp() + seconds
    return EvalLog(
        status="success",
        eval=_spec(task, begun, len(samples)),
        results=_results(task, scorers, len(samples)),
        stats=EvalStats(
            started_at=begun, completed_at=datetime.fromtimestamp(ended, tz=UTC).isoformat()
        ),
        samples=samples or None,
    )


def _spec(task: Evaluated, begun: str, count: int) -> EvalSpec:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec
    from inspect_ai.model import GenerateConfig

    run, config = task.run, task.config
    told = {name: getattr(run, name) for name in ("method", "method_args", "artefact_hash",
            "revision", "model_sha", "dtype", "chat_template", "system_instruction", "limit",
            "seeds", "hardware")}  # fmt: skip
    read = mapping(config.get("generation_kwargs")) | parse_model_args(
        task.settings.get("gen_kwargs")
    )
    return EvalSpec(
        eval_id=f"{run.run_id}-{task.name}",
        run_id=run.run_id,
        created=begun,
        task=task.name,
        task_id=task.name,
        task_version=task.task.version or 0,
        task_args={name: config[name] for name in _ASKED if config.get(name) is not None},
        tags=[run.method] if run.method else None,
        dataset=EvalDataset(
            name=str(config.get("dataset_path") or task.task.data_source or task.name),
            location=task.task.data_source or None,
            samples=task.documents or count or None,
        ),
        model=f"{run.model_type}/{run.model}" if run.model_type else run.model,
        model_args=parse_model_args(run.model_args),
        model_generate_config=GenerateConfig(
            **{
                _RENAMED.get(name, name): kind(real(read[name]))
                for name, kind in _SETTINGS.items()
                if real(read.get(name)) is not None
            }
        ),
        config=EvalConfig(limit=int(run.limit) if run.limit and run.limit >= 1 else None),
        packages={
            name: version
            for name, version in (
                ("lm_eval", run.lm_eval_version),
                ("paperharness", run.harness_version),
                ("torch", run.torch_version),
                ("transformers", run.transformers_version),
            )
            if version
        },
        metadata={name: value for name, value in told.items() if value not in ("", None)}
        | {"task_config": dict(config), "texts": "not shown" if task.hidden else "shown"},
    )


def _results(task: Evaluated, scorers: list[Scorer], count: int) -> EvalResults:
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore, HeadlineMetric

    rows = {(row.metric, row.filter): row for row in task.rows}
    scores = []
    for scorer in scorers:
        metrics: dict[str, EvalMetric] = {}
        undefined = []
        for name in scorer.metrics:
            row = rows[name, scorer.filter]
            if row.value is None:
                undefined.append(name)
                continue
            more = {"ci95_low": row.ci95_low, "ci95_high": row.ci95_high, "chance": row.chance}
            more |= {"higher_is_better": row.higher_is_better}
            told = {key: value for key, value in more.items() if value is not None}
            metrics[name] = EvalMetric(name=name, value=row.value, metadata=told)
            if row.stderr is not None:
                other = "stderr" if len(scorer.metrics) == 1 else f"{name}_stderr"
                metrics[other] = EvalMetric(name=other, value=row.stderr)
        first = rows[scorer.metrics[0], scorer.filter]
        scores.append(
            EvalScore(
                name=scorer.name,
                scorer=scorer.name,
                scored_samples=None if first.n is None else first.n - (first.n_unscored or 0),
                unscored_samples=first.n_unscored,
                metrics=metrics,
                metadata={"undefined": undefined} if undefined else None,
            )
        )
    total = task.documents or count
    headline = HeadlineMetric(
        scorer=scorers[0].name, score=scorers[0].name, metric=task.headline.metric
    )
    return EvalResults(
        total_samples=total, completed_samples=total, scores=scores, headline=headline
    )


def _sample(sample: Sample, task: Evaluated, scorers: list[Scorer]) -> EvalSample:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput

    asked = _asked(sample)
    words = sample.responses or ((sample.output,) if sample.output or sample.choices else ())
    output = ModelOutput(
        model=task.run.model,
        choices=[
            ChatCompletionChoice(message=ChatMessageAssistant(content=text, model=task.run.model))
            for text in words
        ],
    )
    return EvalSample(
        id=sample.number,
        epoch=1,
        input=sample.prompt if len(asked) == 1 else asked,
        choices=list(sample.choices) or None,
        target=sample.target[0] if len(sample.target) == 1 else list(sample.target),
        messages=[*asked, *(choice.message for choice in output.choices[:1])],
        output=output,
        scores=_scores(sample, scorers),
        metadata=_metadata(sample),
    )


def _asked(sample: Sample) -> list[ChatMessage]:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds = {"system": ChatMessageSystem, "assistant": ChatMessageAssistant}
    return [kinds.get(role, ChatMessageUser)(content=words) for role, words in sample.messages]


def _metadata(sample: Sample) -> dict[str, Any]:
    told: dict[str, Any] = {"doc": dict(sample.doc), "doc_hash": sample.hash}
    if sample.scores:
        told["log_probabilities"] = list(sample.scores)
    for answer in sample.answers:
        key = named("traces", answer.filter)
        told |= {key: list(map(dict, answer.traces))} if answer.traces else {}
        told |= {named(name, answer.filter): value for name, value in answer.more.items()}
    return {name: value for name, value in told.items() if value not in ({}, "", [])}


def _scores(sample: Sample, scorers: list[Scorer]) -> dict[str, Score]:
    by_filter = {answer.filter: answer for answer in sample.answers}
    found = {}
    for scorer in scorers:
        answer = by_filter.get(scorer.filter)
        if answer is None:
            continue
        value = answer.values.get(scorer.metrics[0])
        if value is not None:
            found[scorer.name] = _score(value, answer)
        for other in scorer.metrics[1:]:  # a document of which the two are not the same after all
            own = answer.values.get(other)
            if own is not None and own != value:
                found[named(other, scorer.filter)] = _score(own, answer)
    return found


def _score(value: Any, answer: Answer) -> Score:
    from inspect_ai.scorer import Score

    words = [f"{question}: {said}" for question, own in answer.reasons.items() for said in own]
    plain, rest = _plain(value)
    told = {"ratings": dict(answer.ratings)} if answer.ratings else {}
    return Score(
        value=plain,
        answer=answer.text,
        explanation="\n\n".join(words) or None,
        metadata=(told | ({"value": rest} if rest else {})) or None,
    )


def _plain(value: Any) -> tuple[Any, Any]:
    """A value as Inspect may have it, and the whole where that is more."""
    if isinstance(value, Mapping):
        flat = {
            str(key): inner
            for key, inner in value.items()
            if inner is None or isinstance(inner, (str, int, float, bool))
        }
        return flat, None if len(flat) == len(value) else dict(value)
    if isinstance(value, list):
        fits = all(isinstance(one, (str, int, float, bool)) for one in value)
        return (value, None) if fits else (json.dumps(value, ensure_ascii=False), value)
    return value, None
