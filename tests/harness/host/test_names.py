"""Names that lm-eval has itself, and names that lead nowhere: one clear line for each."""

from __future__ import annotations

import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
import test_host
from forking import Forking
from test_host import Installer, Python, by_name

from harness import PluginError
from harness.host import checking, definitions, lm_eval_seams, task_files

pytestmark = pytest.mark.long

install, run_python = test_host.install, test_host.run_python  # the fixtures

REGISTER = (
    "@hookimpl\ndef register(registrar):\n    {call}\n    registrar.model('spare-{m}', '{m}:x')\n"
)
GENERATE = "dataset_path: nowhere\noutput_type: generate_until\n"


def tasks_of(install: Installer, name: str, **files: str) -> Path:
    """A plugin that brings a folder of task files."""
    folder = install.site / f"{name}_tasks"
    folder.mkdir()
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)
    call = f"registrar.tasks(Path({str(folder)!r}))"
    install(name, REGISTER.format(call=call, m=f"{name}_plugin") + "x = 1\n")
    return folder


@pytest.fixture
def command(fresh: Forking, install: Installer) -> Python:
    """Runs a command where the fake distributions are found."""
    return partial(fresh.run, PYTHONPATH=str(install.site))


GREEDY = {
    "model": "registrar.model('hf', 'some.module:Class')",
    "metric": "registrar.metric('acc', 'm:f', aggregation='mean', higher_is_better=True)",
    "aggregation": "registrar.aggregation('mean', 'm:f')",
    "filter": "registrar.filter('take_first', 'm:F')",
}


@pytest.mark.parametrize("autoload", ["0", "1"])
def test_plugins_and_doctor_refuse_lm_evals_own_names(
    install: Installer, autoload: str, command: Python
) -> None:
    for kind, call in GREEDY.items():
        install(f"greedy{kind}", REGISTER.format(call=call, m=f"m{kind}"))
    tasks_of(install, "greedytask", a__yaml=f"task: arc_easy\n{GENERATE}")
    tasks_of(install, "greedygroup", a__yaml="group: mmlu\ntask:\n  - arc_easy\n")
    tasks_of(install, "greedytag", a__yaml=f"task: mine\ntag: ai2_arc\n{GENERATE}")
    done = command("harness", "plugins", PAPERHARNESS_AUTOLOAD=autoload)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if " is broken: " in line]
    assert len(lines) == 7, done.stdout
    for kind, name in (
        ("model", "hf"),
        ("metric", "acc"),
        ("aggregation", "mean"),
        ("filter", "take_first"),
        ("task", "arc_easy"),
        ("group", "mmlu"),
        ("tag", "ai2_arc"),
    ):
        line = next(line for line in lines if line.startswith(f"greedy{kind} "))
        assert f"'{name}' is lm-eval's own (lm-eval {lm_eval_seams.version()}: " in line
        assert f"named by 'greedy{kind}' (greedy{kind} 1.0) too" in line
        place = {"task": "/a.yaml:1", "group": "/a.yaml:1", "tag": "/a.yaml"}
        assert f"{place.get(kind, f'greedy{kind}_plugin.py:5')})" in line
    doctor = command("harness", "doctor", HF_HUB_OFFLINE="1")
    assert doctor.returncode == 1 and "'arc_easy' is lm-eval's own" in " ".join(
        part.strip() for part in doctor.stdout.replace("│", "\n").splitlines()
    ).replace("  ", " ")


def test_a_run_leaves_out_a_plugin_that_names_a_task_as_lm_eval_does(
    install: Installer, run_python: Python
) -> None:
    tasks_of(
        install, "greedy", a__yaml=f"task: arc_easy\n{GENERATE}", b__yaml=f"task: b\n{GENERATE}"
    )
    tasks_of(install, "tagger", a__yaml=f"task: mine\ntag: [x, ai2_arc]\n{GENERATE}")
    tasks_of(install, "modest", a__yaml=f"task: modest_one\ntag: modest\n{GENERATE}")
    body = """
again = lm_eval.tasks.TaskManager()
index = again.task_index
print('arc_easy:', index['arc_easy'].yaml_path, sorted(index['ai2_arc'].tags))
print('there:', [n for n in ('b', 'mine', 'x', 'modest_one', 'modest') if n in again.all_tasks])
print('lists:', 'modest' in again.all_tags, 'modest_one' in again.all_subtasks)
print('spare:', 'spare-greedy_plugin' in registry.model_registry)
again.match_tasks(['b'])
"""
    done = run_python(body)
    out = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert out["spare"] == "False"
    assert "lm_eval/tasks/arc/arc_easy.yaml ['arc_challenge', 'arc_easy']" in out["arc_easy"]
    assert out["there"] == "['modest_one', 'modest']" and out["lists"] == "True True"
    told = [line for line in done.stderr.splitlines() if "is left out" in line]
    assert len(told) == 2, done.stderr
    assert "plugin 'greedy' (greedy 1.0) is left out: task 'arc_easy' is lm-eval's own" in told[0]
    assert "plugin 'tagger' (tagger 1.0) is left out: task 'ai2_arc' is lm-eval's own" in told[1]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: tasks not found: b. ") and "'arc_easy' is lm-eval's own" in last


def test_a_refused_plugins_models_are_withdrawn_with_its_tasks(
    install: Installer, run_python: Python
) -> None:
    tasks_of(install, "greedy", a__yaml=f"task: arc_easy\n{GENERATE}")
    done = run_python("registry.get_model('spare-greedy_plugin')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: model 'spare-greedy_plugin' not found. ")


def test_a_folder_given_by_include_path_goes_before_a_plugins(
    install: Installer, run_python: Python
) -> None:
    tasks_of(install, "modest", a__yaml=f"task: modest_one\n{GENERATE}")
    folder = install.site / "mine"
    folder.mkdir()
    (folder / "mine.yaml").write_text(f"task: modest_one\n{GENERATE}")
    body = f"""
index = lm_eval.tasks.TaskManager(include_path={str(folder)!r}).task_index
print(index['modest_one'].yaml_path)
"""
    done = run_python(body, defaults=False)
    assert done.stdout.strip() == str(folder / "mine.yaml"), done.stderr


def test_two_plugins_with_one_tag_are_told_apart(install: Installer) -> None:
    tasks_of(install, "first", a__yaml=f"task: a\ntag: shared\n{GENERATE}")
    tasks_of(install, "second", a__yaml=f"task: b\ntag: shared\n{GENERATE}")
    error = by_name("second").error
    assert error is not None and "'shared' is registered by both 'first'" in error


FAULTY = f"""task: faulty
{GENERATE}doc_to_text: !function utils.missing
doc_to_target: !function no_such_package.module.f
process_docs: !function utils.present
metric_list:
  - metric: exact_match
    aggregation: !function json.dumpss
  - metric: exactly_match
    aggregation: meen
  - metric: squad_v2
    hf_evaluate: true
    aggregation: mean
"""


def test_what_a_task_file_names_and_is_not_there_is_told_with_its_line(
    install: Installer, command: Python
) -> None:
    folder = tasks_of(
        install, "vague", t__yaml=FAULTY, utils__py="def present(docs): return docs\n"
    )
    file = folder / "t.yaml"
    told = [
        f"{file}:4: !function utils.missing: '{folder / 'utils.py'}' has no 'missing'",
        f"{file}:5: !function no_such_package.module.f: there is no module "
        "'no_such_package.module'",
        f"{file}:9: !function json.dumpss: 'json' has no 'dumpss'",
        f"{file}:11: unknown aggregation 'meen'",
        f"{file}:10: unknown metric 'exactly_match': neither lm-eval nor a plugin brings it",
    ]
    found = checking.faults(by_name("vague"))
    assert len(found) == len(told)
    for line, start in zip(found, told, strict=True):
        assert line.startswith(start)
    shown = command("harness", "plugins")
    for line in told:
        assert f"vague is faulty: {line}" in shown.stdout
    doctor = command("harness", "doctor", HF_HUB_OFFLINE="1")
    assert doctor.returncode == 1 and "faulty" in doctor.stdout


@pytest.mark.parametrize("asked", ["faulty", "all_of_it", "some_of_it", "faul*"])
def test_a_run_that_asks_for_a_faulty_task_stops_before_the_model(
    install: Installer, asked: str, command: Python
) -> None:
    tasks_of(
        install,
        "vague",
        t__yaml=FAULTY + "tag: some_of_it\n",
        group__yaml="group: all_of_it\ntask:\n  - group: inner\n    task:\n      - faulty\n",
        utils__py="def present(docs): return docs\n",
    )
    words = ("lm_eval", "run", "--model", "dummy", "--tasks", asked)
    done = command(*words)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: task 'faulty' of 'vague' (vague 1.0) is faulty: ")
    assert "t.yaml:4: !function utils.missing" in last
    assert "Initializing" not in done.stderr


def test_the_python_api_is_told_the_same(install: Installer, run_python: Python) -> None:
    tasks_of(install, "vague", t__yaml=FAULTY)
    install("wreck", "import no_such_module_at_all\n")
    faulty = run_python("manager.load(['faulty'])")
    assert faulty.stderr.splitlines()[-1].startswith("error: task 'faulty' of 'vague'")
    missing = run_python("manager.load('nobody_has_this')")
    assert "error: tasks not found: nobody_has_this. Plugins that" in missing.stderr


TARGETS = """
x = 1
@hookimpl
def register(registrar):
    registrar.model("no-module", "no_such_module.deep:Class")
    registrar.model("no-class", "lost_plugin:Class")
    registrar.model("no-package", "lost_plugin.deep:Class")
    registrar.filter("no-filter", "json:Nothing")
    registrar.metric("no-metric", "json:nothing", aggregation="nothing", higher_is_better=True)
    registrar.model("in-place", "lost_plugin:x")
    registrar.model("made-late", "late:anything")
    registrar.model("made-later", "later:anything")
    registrar.model("raises", "raising:Class")
"""


def test_targets_that_are_not_there_are_told_with_the_line_that_names_them(
    install: Installer,
) -> None:
    install("lost", TARGETS)
    (install.site / "late.py").write_text("def __getattr__(name): return 1\n")
    (install.site / "later.py").write_text("globals()['anything'] = 1\n")
    (install.site / "raising.py").write_text("\nraise OSError('no ink')\n")
    at = install.site / "lost_plugin.py"
    assert checking.faults(by_name("lost")) == [
        f"model 'no-module' ({at}:7): there is no module 'no_such_module.deep'",
        f"model 'no-class' ({at}:8): 'lost_plugin' has no 'Class'",
        f"model 'no-package' ({at}:9): there is no module 'lost_plugin.deep'",
        f"filter 'no-filter' ({at}:10): 'json' has no 'Nothing'",
        f"metric 'no-metric' ({at}:11): 'json' has no 'nothing'",
        f"model 'raises' ({at}:15): OSError: no ink ({install.site / 'raising.py'}:2)",
        f"metric 'no-metric' ({at}:11): unknown aggregation 'nothing'",
    ]
    assert "late" not in sys.modules  # only what seems to be missing is imported


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("no-module", "'no_such_module.deep:Class': ModuleNotFoundError: No module named"),
        ("no-class", "'lost_plugin:Class': AttributeError: module 'lost_plugin' has no attribute"),
        ("raises", "'raising:Class': OSError: no ink"),
    ],
)
def test_a_run_that_asks_for_a_lost_target_says_whose_it_is(
    install: Installer, model: str, cause: str, run_python: Python
) -> None:
    install("lost", TARGETS)
    (install.site / "raising.py").write_text("\nraise OSError('no ink')\n")
    done = run_python(f"registry.get_model({model!r})", defaults=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: model '{model}' of 'lost' (lost 1.0) cannot be loaded from ")
    assert cause in last and "lost_plugin.py:" in last


def test_lm_eval_starts_beside_a_metric_that_leads_nowhere(
    install: Installer, run_python: Python
) -> None:
    install("lost", TARGETS)
    body = "import lm_eval.api.metrics as m; print(registry.get_metric('acc').__name__)"
    done = run_python(body, defaults=False)
    assert done.returncode == 0 and done.stdout.strip() == "acc_fn", done.stderr


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def deep():\n    raise RuntimeError('out of ink')\n\ndeep()\n", 4),
        ("import json\n\njson.loads('no json')\n", 5),
        ("def wrong(:\n", 3),
        ("@hookimpl\ndef register(registrar):\n    registrar.model('x', 'nonsense')\n", 5),
        ("@hookimpl\ndef register(registrar):\n    registrar.model('x', 'm:Class.inner')\n", 5),
    ],
)
def test_a_broken_plugins_cause_has_file_and_line(install: Installer, code: str, line: int) -> None:
    install("wreck", code)
    plugin = by_name("wreck")
    assert plugin.error is not None
    assert plugin.error.endswith(f"({install.site / 'wreck_plugin.py'}:{line})")
    assert "Traceback (most recent call last)" in plugin.traceback


def test_verbose_shows_the_traceback(install: Installer, command: Python) -> None:
    install("wreck", "raise RuntimeError('out of ink')\n")
    short = command("harness", "plugins")
    assert "wreck is broken: RuntimeError: out of ink (" in short.stdout
    assert "Traceback" not in short.stdout
    assert "Traceback" in command("harness", "plugins", "--verbose").stdout


def read(folder: Path, **files: str) -> task_files.TaskFile:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return task_files.read(folder / "task.yaml")


def test_a_task_file_is_read_as_lm_eval_reads_it(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        base="tag: [one, two]\ntask: from_base\nmetric_list:\n  - metric: odd\ntask_list: [x]\n",
        task__yaml="include: base\noutput_type: generate_until\n",
    )
    assert (file.name, file.kind, file.tags) == ("from_base", "task", ("one", "two"))
    assert [(m.text, m.path.name, m.line) for m in file.metrics] == [("odd", "base", 4)]
    assert lm_eval_seams.load_yaml(tmp_path / "task.yaml")["task"] == "from_base"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include: nowhere.yaml\ntask: a\n", r"task.yaml includes .*nowhere.yaml, which does not"),
        ("include: task.yaml\ntask: a\n", r"includes itself"),
        ("- task: a\n", r"task.yaml is not a YAML mapping"),
        ("", r"task.yaml is not a YAML mapping"),
        ("task: !unknown a\n", r"task.yaml is not valid YAML: .*line 1"),
        ("task: a\nday: 2026-13-45\n", r"task.yaml is not valid YAML"),
    ],
)
def test_a_task_file_that_lm_eval_would_skip_in_silence_is_an_error(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(PluginError) as caught:
        read(tmp_path, task__yaml=text)
    assert caught.match(message.replace(".*", r"[\s\S]*"))


def test_a_class_that_computes_its_metrics_may_name_them_as_it_likes(tmp_path: Path) -> None:
    def of_class(name: str) -> list[str]:
        named = f"class: !function {name}\ntask: t\nmetric_list:\n  - metric: odd\n"
        return checking.task_faults([read(tmp_path, task__yaml=named)])

    assert of_class("harness.judging.judged_task.JudgedTask") != []
    assert of_class("lm_eval.api.task.ConfigurableTask") != []
    assert of_class("lm_eval.tasks.squadv2.task.SQuAD2") == []
    given = "task: t\nprocess_results: !function json.dumps\nmetric_list:\n  - metric: odd\n"
    assert checking.task_faults([read(tmp_path, task__yaml=given)]) == []


def test_definitions_are_read_without_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "unimported"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit\n")
    (package / "inner" / "__init__.py").write_text("")
    text = """
    import os.path
    from json import loads as reads
    try:
        import tomllib
    except ImportError:
        tomllib = None
    if os: late: int = 1
    def function(): inside = 1
    class Class: ...
    """
    (package / "inner" / "module.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = definitions.find("unimported.inner.module")
    source = definitions.source_of(spec) if spec else None
    assert source is not None
    for name in ("os", "reads", "tomllib", "late", "function", "Class"):
        assert not definitions.lacks(source, name), name
    for name in ("json", "loads", "inside", "path"):
        assert definitions.lacks(source, name), name
    assert definitions.find("unimported.inner.module.deeper") is None
    assert definitions.find("unimported.missing") is None
    assert "unimported" not in sys.modules
