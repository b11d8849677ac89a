"""What reads results and samples of lm-eval, on small whole files; and pure parsers of texts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from mangling import Target

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from harness.artefacts.reading import loads
from harness.asking.spec import AssistantSpec
from harness.errors import DataError, one_line, shown
from harness.host import discovery
from harness.judging.options import judge_options
from harness.judging.ratings import parse_rating, reference_rating
from harness.leaderboard import environment, read_results, write_csv, write_html, write_wide
from harness.leaderboard.parsing import rows_of
from harness.reports.files import defuse
from harness.reports.page import embedded_json
from harness.reports.values import compact, parse_model_args, printable, text

TASKS = ("axbench_detect", "axbench_steer", "astral_safety", "taid_fidelity")


def run_of_testbed(folder: Path) -> Path:
    """Results and samples of testbed tasks, judged by the testbed's judge."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    folders = [str(one) for plugin in discovery.plugins() for one in plugin.folders]
    manager = TaskManager(
        include_path=folders,
        include_defaults=False,
        metadata={"data": "testbed", "astral_max_unknown": 1.0},
    )
    tracker = EvaluationTracker(output_path=str(folder))
    with mock.patch("lm_eval.evaluator.add_env_info"):  # takes five seconds
        results = lm_eval.simple_evaluate(
            model="dummy",
            tasks=list(TASKS[:-1]),
            task_manager=manager,
            limit=12,
            bootstrap_iters=0,
            evaluation_tracker=tracker,
        )
    samples = results.pop("samples")
    fidelity = {"forward_kl,none": 0.5, "forward_kl_stderr,none": 0.1, "sample_len": 12}
    results["results"][TASKS[-1]] = fidelity
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    (file,) = folder.rglob("results_*.json")
    return file


def targets(folder: Path) -> list[Target]:
    """Everything that reads a run's files; all share one run, in the folder."""
    file = run_of_testbed(folder / "run")
    samples = {name: next(file.parent.glob(f"samples_{name}_*.jsonl")) for name in TASKS[:-1]}
    out = folder / "out"

    def of(name: str, read: Callable[[], object], *tasks: str) -> Target:
        return Target(name, [file, *(samples[task] for task in tasks)], read)

    return [
        of("leaderboard", lambda: _board(file, out)),
        of("compare", _comparing(file, folder / "intact"), "axbench_detect", "axbench_steer"),
        of("score", lambda: _score(file, out), "axbench_steer", "astral_safety"),
        of("axbench report", lambda: _axbench(file), "axbench_detect", "axbench_steer"),
        of("axbench baseline", lambda: _baseline(file), "axbench_steer"),
        of("astral report", lambda: _astral(file), "astral_safety"),
        of("taid report", lambda: _taid(file)),
        of("view", lambda: _view(file, out), *TASKS[:-1]),
    ]


def _board(file: Path, out: Path) -> None:
    table = read_results([file.parent])
    write_csv(table, out / "long.csv")
    write_wide(table, out / "wide.csv")
    write_html(table, out / "board.html")


def _comparing(file: Path, intact: Path) -> Callable[[], object]:
    from harness.comparing import compare

    shutil.copytree(file.parent, intact)
    runs = {"intact": [intact], "mangled": [file.parent]}
    return lambda: compare(runs, "intact", all_metrics=True, resamples=200)


def _score(file: Path, out: Path) -> None:
    from harness.judging.rescore import rescore

    rescore(file, judge='{"model": "testbed-judge", "retries": 0}', max_unscored=1.0, out=out)


def _axbench(file: Path) -> None:
    from harness_axbench.report import read_runs
    from harness_axbench.report.curves import factor_curves, kinds_of, per_concept, roc, standings
    from harness_axbench.report.reading import DETECTION

    for section in read_runs([file]).sections:
        order = standings(section)
        per_concept(section, order)
        for one in section.series:
            if section.family == DETECTION:
                roc(one.items)
            else:
                factor_curves(one.items, list(kinds_of(section)))


def _baseline(file: Path) -> None:
    from harness_axbench.tasks.baseline import scores

    scores(str(file.parent), {}, suppressed=False)


def _astral(file: Path) -> None:
    from harness_astral.report.page import render
    from harness_astral.report.reading import read_runs
    from harness_astral.report.report import report_of

    render(report_of(read_runs([file], show_text=True), show_text=True), "title")


def _taid(file: Path) -> None:
    from harness_taid.report.page import render
    from harness_taid.report.reading import read_comparisons

    render([], read_comparisons([file], []), title="title")


def _view(file: Path, out: Path) -> None:
    from harness.view import write_view

    write_view([file], out / "view", show_text=True)


def _value(given: str) -> Any:
    try:
        return loads(given)
    except ValueError as cause:
        raise DataError(one_line(cause)) from None


def _object(given: str) -> Mapping[str, Any]:
    value = _value(given)
    return value if isinstance(value, dict) else {"judge": value}


def _metric(name: str) -> object:
    entry = {name: 0.5, f"{name},none": 1, f"{name}_stderr,none": 0.1, f"{name}_ci95,none": [0, 1]}
    return rows_of({"results": {name: entry}, "config": {}}, run_id="0", file=name)


def _document(given: str) -> object:
    results = {"results": {"t": {"acc,none": 0.5}}}
    value = _object(given)
    return rows_of({**value, **results} if value else results, run_id="0", file="x.json")


PARSERS: dict[str, Callable[[str], object]] = {
    "rating": lambda given: parse_rating(given, 0, 2),
    "reference rating": lambda given: reference_rating(given, 0, 2),
    "judge options": lambda given: judge_options(_object(given)),
    "judge": lambda given: AssistantSpec.parse(_value(given)),
    "judge by name": AssistantSpec.parse,
    "model args": lambda given: compact(parse_model_args(given)),
    "metric name": _metric,
    "results": _document,
    "hardware": lambda given: (environment.hardware(given), environment.torch_version(given)),
    "cell": lambda given: (defuse(given), printable(given), shown(given), text(given)),
    "message": one_line,
    "page": lambda given: embedded_json(text(given)),
}
