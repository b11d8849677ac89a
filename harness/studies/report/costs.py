"""What a cell cost, read off its results and, of judged tasks, its samples.

- Seconds: ``total_evaluation_time_seconds``, as lm-eval measured them.
- Tokens: what a model says that it decoded (``hf-speculative``, ``vllm-speculative``); 0 where a
  task only scores given texts; unknown elsewhere.
- Judge calls: the questions behind the ratings in the samples; 0 where the results name no judge,
  or one that is no model (``none``, ``proxy``). Questions asked again, equal questions and answers
  kept from before are not told apart: this is what the scores rest on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.artefacts.reading import loads
from harness.data.lines import numbered
from harness.judging.run_files import read_results, samples_file
from harness.leaderboard import Table
from harness.reports.values import mapping, real, text, whole
from harness.studies.report.places import Places
from harness.studies.report.view import Cost, StudyCell

_NO_MODEL = frozenset({"none", "proxy"})
_SCORING = frozenset({"loglikelihood", "loglikelihood_rolling", "multiple_choice"})


def costs_of(cells: Iterable[StudyCell], table: Table) -> dict[str, Cost]:
    """What each cell cost that has results in the table.

    Raises:
        DataError: A file of results or samples is damaged.
        HarnessError: Results are of no cell.
    """
    places = Places(cells)
    return {places.cell(run.file).name: cost_of(Path(run.file)) for run in table.runs}


def cost_of(results: Path) -> Cost:
    """What a run cost.

    Args:
        results: lm-eval's results file.

    Raises:
        DataError: It, or a file of samples beside it, is damaged.
    """
    saved = read_results(results)
    tasks = {name: mapping(config) for name, config in mapping(saved["configs"]).items()}
    return Cost(
        seconds=real(saved.get("total_evaluation_time_seconds")),
        tokens=_tokens(mapping(saved.get("config")), tasks.values()),
        judge_calls=_judge_calls(results, tasks),
        answers=_answers(saved),
    )


def _answers(saved: dict[str, Any]) -> int | None:
    counts = [
        whole(mapping(one).get("effective")) for one in mapping(saved.get("n-samples")).values()
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _tokens(config: dict[str, Any], tasks: Iterable[dict[str, Any]]) -> int | None:
    counted = whole(mapping(config.get("speculation")).get("tokens"))
    if counted is not None:
        return counted
    return 0 if all(task.get("output_type") in _SCORING for task in tasks) else None


def _judge_calls(results: Path, tasks: dict[str, dict[str, Any]]) -> int | None:
    """None where a judged task's samples were not saved, or hold no judgements."""
    counts = [_asked(samples_file(results, name)) for name, task in tasks.items() if _judged(task)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _judged(task: dict[str, Any]) -> bool:
    """Whether a model judges, or one of several."""
    note = mapping(task.get("metadata")).get("judge")
    notes = note if isinstance(note, list) else [note]
    models = {text(mapping(one).get("model")) for one in notes}
    return bool(models - _NO_MODEL - {""})


def _asked(file: Path) -> int | None:
    """How many questions are behind the judgements in a file: one for each vote."""
    if not file.exists():
        return None
    total = 0
    for _, sample in numbered(file):
        responses = sample.get("filtered_resps")
        for response in responses if isinstance(responses, list) else [None]:
            votes = _votes(response)
            if votes is None:
                return None
            total += votes
    return total


def _votes(response: object) -> int | None:
    try:
        judgement = mapping(loads(response)) if isinstance(response, str) else {}
    except ValueError:
        return None
    answers = judgement.get("answers")
    if not isinstance(answers, dict):
        return None
    return sum(len(given) for given in answers.values() if isinstance(given, list))
