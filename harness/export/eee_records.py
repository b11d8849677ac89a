"""One record of every_eval_ever's schema: of a task's metrics, and of one document."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Any

from harness.export.runs import Evaluated
from harness.export.samples import CHOICES, Answer, Sample
from harness.export.scorers import named
from harness.leaderboard.intervals import range_of
from harness.leaderboard.rows import Row
from harness.reports.values import mapping, parse_model_args, real, text, whole

VERSION = "0.3.0"
_LOCAL = "local"
"""Who is said to have made a model whose name does not say it."""
_ENGINES = {"vllm": "vllm", "gguf": "llama.cpp", "hf": "transformers"}
_CANONICAL = {
    "acc": "accuracy",
    "accuracy": "accuracy",
    "em": "exact-match",
    "exact_match": "exact-match",
    "f1": "f1",
    "perplexity": "perplexity",
    "precision": "precision",
    "recall": "recall",
}
"""Metrics that mean the same in every harness, by their registered names."""
_WORKED = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}

Record = dict[str, Any]


def aggregate(task: Evaluated) -> Record:
    """The record of a task of a run.

    Args:
        task: The task.

    Returns:
        A record without ``detailed_evaluation_results``.
    """
    run = task.run
    stamp = str(int(datetime.fromisoformat(run.date).timestamp())) if run.date else "0"
    model = _model(task)
    rows = [row for row in task.rows if row.value is not None and not row.predicted]
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{task.name}/{model['id']}/{stamp}-{run.run_id}",
        "evaluation_timestamp": stamp,
        "retrieved_timestamp": stamp,
        "source_metadata": {
            "source_name": "lm-evaluation-harness",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "lm_eval",
            "version": run.lm_eval_version or "unknown",
            "additional_details": _texts(
                {
                    "paperharness": run.harness_version,
                    "torch": run.torch_version,
                    "transformers": run.transformers_version,
                    "hardware": run.hardware,
                }
            ),
        },
        "model_info": model,
        "evaluation_results": [_result(task, row) for row in rows],
    }


def _model(task: Evaluated) -> Record:
    run = task.run
    path = PurePath(run.model)
    identity = path.name if path.is_absolute() or run.model.count("/") != 1 else run.model
    developer, slash, _ = identity.partition("/")
    engine = next((name for kind, name in _ENGINES.items() if run.model_type.startswith(kind)), "")
    local = "pretrained" in parse_model_args(run.model_args)
    return {
        "name": f"{run.model} + {run.method}" if run.method else run.model,
        "id": identity,
        "developer": developer if slash else _LOCAL,
        **({"inference_engine": {"name": engine}} if engine else {}),
        "additional_details": {
            "deployment_type": "self_deployed" if local else "unknown",
            "model_availability": "unknown",
            **_texts(
                {
                    "model_type": run.model_type,
                    "model_args": run.model_args,
                    "revision": run.revision,
                    "sha": run.model_sha,
                    "dtype": run.dtype,
                    "method": run.method,
                    "method_args": run.method_args,
                    "artefact_hash": run.artefact_hash,
                }
            ),
        },
    }


def _result(task: Evaluated, row: Row) -> Record:
    name = named(row.metric, row.filter)
    interval = row.ci95_low is not None and row.ci95_high is not None
    uncertainty: Record = {} if row.n is None else {"num_samples": row.n}
    if row.stderr is not None:
        uncertainty["standard_error"] = {"value": row.stderr}
    if interval:
        uncertainty["confidence_interval"] = {
            "lower": row.ci95_low,
            "upper": row.ci95_high,
            "confidence_level": 0.95,
        }
    return {
        "evaluation_result_id": name,
        "evaluation_name": task.name if row.filter == "none" else f"{task.name}/{row.filter}",
        "source_data": _data(task),
        "metric_config": _metric(task, row),
        "score_details": {
            "score": row.value,
            "details": _texts(
                {
                    "headline": row.headline,
                    "unscored": row.n_unscored,
                    "limited": task.task.limited,
                    "chance": row.chance,
                }
            ),
            **({"uncertainty": uncertainty} if uncertainty else {}),
        },
        "generation_config": _generation(task),
    }


def _metric(task: Evaluated, row: Row) -> Record:
    low, high = range_of(row.metric, mapping(task.metadata.get("ranges")).get(row.metric))
    within = row.value is not None and low <= row.value <= high
    known = within and (math.isfinite(low) or math.isfinite(high))
    told: dict[str, Any] = {"judge": task.task.judge, "filter": row.filter}
    if row.higher_is_better is None:
        told["polarity"] = "unknown"
    if not known:
        told["bounds_status"] = "unknown"
    made: Record = {
        "metric_id": _CANONICAL.get(row.metric, f"lm-evaluation-harness.{row.metric}"),
        "metric_name": row.metric,
        "lower_is_better": row.higher_is_better is False,
        "additional_details": _texts(told),
    }
    if known:
        made |= {"score_type": "continuous", "min_score": _end(low), "max_score": _end(high)}
    return made


def _end(bound: float) -> float | str:
    """A bound as the schema writes it, which has no infinite numbers."""
    if math.isfinite(bound):
        return bound
    return "Infinity" if bound > 0 else "-Infinity"


def _data(task: Evaluated) -> Record:
    path, split = text(task.config.get("dataset_path")), task.task.split
    told = _texts({"source": task.task.data_source, "sha256": task.task.data_sha256})
    count = {} if task.documents is None else {"samples_number": task.documents}
    if path.count("/") == 1 and not path.startswith("/"):
        where = {"source_type": "hf_dataset", "hf_repo": path}
        where |= {"hf_split": split} if split else {}
        return {"dataset_name": task.name, **where, **count, "additional_details": told}
    told |= _texts({"split": split, **count})
    return {"dataset_name": task.name, "source_type": "other", "additional_details": told}


def _generation(task: Evaluated) -> Record:
    own = mapping(task.config.get("generation_kwargs"))
    settings = own | parse_model_args(task.settings.get("gen_kwargs"))
    made: Record = {
        name: real(settings[key])
        for key, name in _WORKED.items()
        if real(settings.get(key)) is not None
    }
    longest = whole(settings.get("max_gen_toks"))
    if longest and longest > 0:
        made["max_tokens"] = longest
    rest = {k: v for k, v in settings.items() if k not in (*_WORKED, "max_gen_toks")}
    run = task.run
    rest |= {
        "n_shot": task.task.n_shot,
        "output_type": task.config.get("output_type"),
        "chat_template": run.chat_template,
        "system_instruction": run.system_instruction,
        "seeds": run.seeds,
        "limit": run.limit,
    }
    return {"generation_args": made, "additional_details": _texts(rest)}


def instance(
    task: Evaluated,
    sample: Sample,
    answer: Answer,
    record: Record,
    *,
    result: str | None,
    score: float,
    correct: bool,
    rating: str = "",
) -> Record:
    """The record of one document, by one metric.

    Args:
        task: Its task.
        sample: The document.
        answer: What was scored.
        record: The task's record.
        result: Which of the task's results it counts in; None for none by itself.
        score: Its number.
        correct: Whether it is right.
        rating: The judge's question, where the number is a rating.
    """
    reference = list(sample.target)
    held = json.dumps({"raw": sample.prompt, "reference": reference}, sort_keys=True)
    name = task.name if answer.filter == "none" else f"{task.name}/{answer.filter}"
    return {
        "schema_version": VERSION,
        "evaluation_id": record["evaluation_id"],
        "model_id": record["model_info"]["id"],
        "evaluation_name": f"{name}/{rating}" if rating else name,
        **({"evaluation_result_id": result} if result else {}),
        "sample_id": str(sample.number),
        "sample_hash": hashlib.sha256(held.encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": sample.prompt,
            "reference": reference,
            "choices": list(sample.choices) or None,
        },
        "output": {"raw": list(sample.responses) or [sample.output]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": answer.text,
                "extraction_method": _method(task, answer, rating),
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": score, "is_correct": correct},
        "metadata": _texts(_about(sample, answer, rating)),
    }


def _method(task: Evaluated, answer: Answer, rating: str) -> str:
    if rating:
        return "llm_judge"
    if answer.filter != "none":
        return answer.filter
    return "most_probable_choice" if task.config.get("output_type") == CHOICES else "none"


def _about(sample: Sample, answer: Answer, rating: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "document_hash": sample.hash,
        "row": dict(sample.doc),
        "trace": dict(answer.trace),
        "log_probabilities": list(sample.scores),
        "values": dict(answer.values),
    }
    if rating:
        told["is_correct"] = "not defined for a rating; the schema asks for it"
        told["judge"] = list(answer.reasons.get(rating, ()))
    return told


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as the schema's additional details: texts only, without what is not known."""
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
        if value not in (None, "", {}, [])
    }
