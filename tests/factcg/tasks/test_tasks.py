from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import yaml
from harness_factcg import tasks
from harness_factcg.data.aggrefact import DATASETS, task_name
from harness_factcg.data.core_pairs import TESTBED_PAIRS
from harness_factcg.plugin import register
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.utils import make_table
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from factcg.made_up import rows, write_jsonl
from harness.data.sourced_task import SourcedTask
from harness.errors import DataError, HarnessError
from harness.host.task_files import task_folder
from harness.models.responses import Score

pytestmark = pytest.mark.long

FOLDER = task_folder("factcg")


def tuned_task_name(dataset):
    return task_name(dataset).replace("llm_aggrefact", "llm_aggrefact_tuned")


NAMES = [task_name(name) for name in DATASETS]
TUNED = [tuned_task_name(name) for name in DATASETS]
OWN = ["fact_check", "factcg_core"]


@pytest.fixture
def own_rows(tmp_path):
    return str(write_jsonl(tmp_path / "test.jsonl", rows()))


def manager(**metadata):
    return TaskManager(include_path=str(FOLDER), include_defaults=False, metadata=metadata)


def evaluate(model, model_args, names, **options):
    metadata = options.pop("metadata")
    return simple_evaluate(
        model=model,
        model_args=model_args,
        tasks=names,
        task_manager=manager(**metadata),
        bootstrap_iters=100,
        **options,
    )


def test_every_file_loads_strictly():
    for path in sorted(FOLDER.glob("*.yaml")):
        assert load_yaml(path), path
    files = [path for path in FOLDER.glob("*.yaml") if not path.stem.startswith("_")]
    plain = {path.stem: yaml.safe_load(_tags_left_out(path)) for path in files}
    assert {c.get("task") if "group" not in c else c["group"] for c in plain.values()} == set(plain)
    assert set(plain) == {*NAMES, *TUNED, *OWN, "llm_aggrefact", "llm_aggrefact_tuned"}
    for own in (task_name, tuned_task_name):
        kwargs = [plain[own(name)]["dataset_kwargs"] for name in DATASETS]
        assert kwargs == [{"dataset": name} for name in DATASETS]
    assert plain["llm_aggrefact"]["task"] == NAMES
    assert plain["llm_aggrefact_tuned"]["task"] == TUNED


def _tags_left_out(path):
    return path.read_text().replace("!function ", "")


@pytest.mark.parametrize("name", [NAMES[0], TUNED[0], *OWN])
def test_a_metric_is_named_as_its_aggregation(name):
    task = manager(data="testbed").load([name])["tasks"][name]
    listed = task.config.metric_list
    assert len({entry["metric"] for entry in listed}) == len(listed) > 7
    for entry in listed:
        function = entry["aggregation"]
        shown = function.__name__ if hasattr(function, "__name__") else repr(function)
        shown = "ci95" if shown == "ci95" else shown.rsplit(".", 1)[-1]
        assert entry["metric"].endswith(shown) and shown
    assert task.config.metadata["headline"] == listed[0]["metric"]


def test_the_group_has_the_eleven(own_rows):
    loaded = manager(aggrefact_data=own_rows).load(["llm_aggrefact"])
    assert list(loaded["tasks"]) == NAMES
    for name, task in loaded["tasks"].items():
        assert isinstance(task, SourcedTask)
        assert len(task.test_docs()) == 6
        assert task.config.metadata["headline"] == "balanced_accuracy"
        assert task.config.metadata["split"] == "test"
        assert task.config.metadata["data_source"].startswith("folder:")
        assert task_name(task.test_docs()[0]["dataset"]) == name
        json.dumps(task.dump_config(), default=str)


def test_prompt_and_choices(own_rows):
    task = manager(aggrefact_data=own_rows).load(["llm_aggrefact_wice"])["tasks"][
        "llm_aggrefact_wice"
    ]
    task.build_all_requests()
    first, second = task.instances[:2]
    assert first.args[0] == second.args[0] == tasks.doc_to_text(first.doc)
    assert first.args[0].startswith(first.doc["doc"] + "\n\nQuestion:")
    assert (first.args[1], second.args[1]) == (" No", " Yes")


def test_a_file_with_one_data_set(tmp_path):
    path = str(write_jsonl(tmp_path / "dev.jsonl", rows(4, ["Wice"])))
    assert manager(aggrefact_data=path).load(["llm_aggrefact_wice"])["tasks"]
    with pytest.raises(DataError, match="run --tasks llm_aggrefact_wice"):
        manager(aggrefact_data=path).load(["llm_aggrefact"])


def test_a_model_without_a_number_is_an_error():
    row = {"label": 1, "claim": "Anna lives in Rome.", "doc": "A text."}
    with pytest.raises(HarnessError, match=r"no score for the claim 'Anna lives.*dtype=float32"):
        tasks.judged(row, [(math.nan, False), (-1.0, True)])


def checked(results, name, content):
    """The task's figures, after comparing them with sklearn on its logged samples."""
    samples = results["samples"][name]
    items = [sample["balanced_accuracy"] for sample in samples]
    labels = [item["label"] for item in items]
    margins = [item["margin"] for item in items]
    assert labels == [row["label"] for row in content]
    assert len({item["document"] for item in items}) == len({row["doc"] for row in content})
    figures = results["results"][name]
    expected = balanced_accuracy_score(labels, [margin > 0 for margin in margins])
    assert figures["balanced_accuracy,none"] == pytest.approx(expected)
    assert figures["auroc,none"] == pytest.approx(roc_auc_score(labels, margins))
    return items, figures


def test_fact_checker_end_to_end(own_rows, checker_path):
    results = evaluate(
        "hf-fact-checker",
        {"pretrained": checker_path, "chunk_size": 60},
        ["llm_aggrefact"],
        metadata={"aggrefact_data": own_rows},
        device="cpu",
    )
    values, errors = [], []
    for dataset, name in zip(DATASETS, NAMES, strict=True):
        content = [row for row in rows() if row["dataset"] == dataset]
        items, figures = checked(results, name, content)
        values.append(figures["balanced_accuracy,none"])
        errors.append(figures["balanced_accuracy_stderr,none"])
        low, high = figures["balanced_accuracy_ci95,none"]
        assert low <= values[-1] <= high
        for item in items:
            assert item["score"] == pytest.approx(1 / (1 + math.exp(-item["margin"])))
            assert 0 <= item["deciding_chunk"] < item["chunks"]
            assert item["truncated"] is False
            assert item["seconds"] > 0
        total = sum(item["seconds"] for item in items)
        assert figures["pairs_per_second,none"] == pytest.approx(len(items) / total)
        assert figures["truncated_share,none"] == 0
        assert figures["ece_stderr,none"] > 0
        table = results["configs"][name]["metadata"]["reliability"]
        assert sum(row["n"] for row in table) == len(items)
        gaps = [row["n"] * abs(row["supported"] - row["score"]) for row in table]
        assert figures["ece,none"] == pytest.approx(sum(gaps) / len(items))
    assert max(item["chunks"] for item in items) > 2
    group = results["results"]["llm_aggrefact"]
    assert group["balanced_accuracy,none"] == pytest.approx(sum(values) / 11)
    variance = sum(error**2 for error in errors)
    assert group["balanced_accuracy_stderr,none"] == pytest.approx(math.sqrt(variance) / 11)
    assert group["auroc,none"] > 0
    assert results["config"]["method"] == "fact-checker"
    assert results["configs"][NAMES[4]]["metadata"]["n_rows"] == 6
    json.dumps(results["config"], default=str)


def test_a_generative_model_answers_the_same_task(own_rows, llama_path):
    results = evaluate(
        "hf",
        {"pretrained": llama_path, "max_length": 250},
        ["llm_aggrefact_aggrefact_cnn", "llm_aggrefact_ragtruth"],
        metadata={"aggrefact_data": own_rows},
        device="cpu",
        batch_size=4,
    )
    for place in (0, 10):
        content = [row for row in rows() if row["dataset"] == DATASETS[place]]
        items, _ = checked(results, NAMES[place], content)
        assert set(items[0]) == {"label", "margin", "document"}
        measured = {key.partition(",")[0] for key in results["results"][NAMES[place]]}
        assert "ece" in measured
        assert not measured & {"truncated_share", "pairs_per_second"}
        assert len({item["margin"] for item in items}) > 2


def test_lm_evals_own_cache(own_rows, checker_path, tmp_path):
    options = {
        "model_args": {"pretrained": checker_path},
        "metadata": {"aggrefact_data": own_rows},
        "use_cache": str(tmp_path / "cache"),
        "device": "cpu",
    }
    first, second = (
        evaluate("hf-fact-checker", names=["llm_aggrefact_wice"], **options) for _ in range(2)
    )
    assert (
        second["samples"]["llm_aggrefact_wice"][0]["balanced_accuracy"]
        == first["samples"]["llm_aggrefact_wice"][0]["balanced_accuracy"]
    )


def test_what_was_cut_is_counted(own_rows, checker_path):
    results = evaluate(
        "hf-fact-checker",
        {"pretrained": checker_path, "max_length": 90, "overlong": "cut"},
        ["llm_aggrefact_ragtruth"],
        metadata={"aggrefact_data": own_rows},
        device="cpu",
    )
    samples = results["samples"]["llm_aggrefact_ragtruth"]
    cut = {s["balanced_accuracy"]["document"]: s["balanced_accuracy"]["truncated"] for s in samples}
    assert len(cut) == 3 and any(cut.values())
    share = results["results"]["llm_aggrefact_ragtruth"]["truncated_share,none"]
    assert share == pytest.approx(sum(cut.values()) / 3)


def test_kept_answers_have_no_speed():
    task = manager(data="testbed").load(["llm_aggrefact_wice"])["tasks"]["llm_aggrefact_wice"]
    row, trace = task.test_docs()[0], {"truncated": False, "seconds": 0.0}
    found = task.process_results(row, [Score(-1.0), Score(-0.5, trace=trace)])
    assert "pairs_per_second" not in found and found["truncated_share"]["truncated"] is False
    assert found["balanced_accuracy"]["seconds"] == 0.0


def test_tuned_end_to_end(tmp_path, checker_path):
    dev = [row | {"doc": f"It rains. {row['doc']}"} for row in rows(12)]
    write_jsonl(tmp_path / "dev.jsonl", dev)
    write_jsonl(tmp_path / "test.jsonl", rows(8))
    options = {
        "model_args": {"pretrained": checker_path},
        "metadata": {"aggrefact_data": str(tmp_path)},
        "device": "cpu",
    }
    results = evaluate("hf-fact-checker", names=["llm_aggrefact_tuned"], **options)
    values = []
    for name in TUNED:
        items = [s["balanced_accuracy"] for s in results["samples"][name]]
        parts = {split: [i for i in items if i["split"] == split] for split in ("dev", "test")}
        assert (len(parts["dev"]), len(parts["test"])) == (12, 8)
        figures = results["results"][name]
        theta = figures["threshold,none"]
        for split, metric in (("dev", "dev_balanced_accuracy"), ("test", "balanced_accuracy")):
            labels = [item["label"] for item in parts[split]]
            called = [item["score"] > theta for item in parts[split]]
            expected = balanced_accuracy_score(labels, called)
            assert figures[f"{metric},none"] == pytest.approx(expected)
        low, high = figures["balanced_accuracy_ci95,none"]
        assert low <= figures["balanced_accuracy,none"] <= high
        metadata = results["configs"][name]["metadata"]
        assert (metadata["n_dev"], metadata["n_test"], metadata["split"]) == (12, 8, "test")
        values.append(figures["balanced_accuracy,none"])
    group = results["results"]["llm_aggrefact_tuned"]
    assert group["balanced_accuracy,none"] == pytest.approx(sum(values) / 11)
    limited = evaluate("hf-fact-checker", names=TUNED[:1], limit=5, **options)
    splits = [s["balanced_accuracy"]["split"] for s in limited["samples"][TUNED[0]]]
    assert sorted(splits) == ["dev", "dev", "dev", "test", "test"]


def test_core_end_to_end(checker_path, capsys):
    results = evaluate(
        "hf-fact-checker",
        {"pretrained": checker_path},
        ["factcg_core"],
        metadata={"data": "testbed"},
        device="cpu",
    )
    items = [s["acc_core"] for s in results["samples"]["factcg_core"]]
    called = [item["margin"] > 0 for item in items]
    assert [item["label"] for item in items] == [1, 0] * TESTBED_PAIRS
    apart = sum(pos and not neg for pos, neg in zip(called[::2], called[1::2], strict=True))
    figures = results["results"]["factcg_core"]
    assert figures["acc_core,none"] == pytest.approx(apart / TESTBED_PAIRS)
    accepted = sum(called[::2])
    assert figures["recall,none"] == pytest.approx(accepted / TESTBED_PAIRS)
    assert figures["prec_core,none"] == pytest.approx(apart / accepted if accepted else 0.0)
    low, high = figures["acc_core_ci95,none"]
    assert low <= figures["acc_core,none"] <= high
    assert results["configs"]["factcg_core"]["metadata"]["n_pairs"] == TESTBED_PAIRS


def test_cores_threshold_is_tuned_end_to_end(checker_path, capsys):
    """The lowest θ of those with the best balanced accuracy on dev, by scikit-learn."""
    results = evaluate(
        "hf-fact-checker",
        {"pretrained": checker_path},
        ["factcg_core"],
        metadata={"data": "testbed", "core_threshold": "tuned"},
        device="cpu",
    )
    items = [s["acc_core"] for s in results["samples"]["factcg_core"]]
    dev = [item for item in items if item["split"] == "dev"]
    labels = [item["label"] for item in dev]
    grid = [k / 100 for k in range(1, 100)]
    found = [balanced_accuracy_score(labels, [d["score"] > t for d in dev]) for t in grid]
    theta = grid[found.index(max(found))]
    metadata = results["configs"]["factcg_core"]["metadata"]
    assert (metadata["threshold"], metadata["n_dev"]) == (theta, len(dev)) and len(dev) > 10
    pairs = {}
    for item in items:
        pairs.setdefault(item["pair"], {})[item["label"]] = item["score"] > theta
    told = [pair[1] and not pair[0] for name, pair in pairs.items() if name]
    figures = results["results"]["factcg_core"]
    assert figures["acc_core,none"] == pytest.approx(sum(told) / TESTBED_PAIRS)


def test_own_rows_end_to_end(tmp_path, checker_path):
    content = [row | {"dataset": f"set {k % 3}"} for k, row in enumerate(rows(6))]
    path = write_jsonl(tmp_path / "mine.jsonl", content)
    options = {"model_args": {"pretrained": checker_path}, "device": "cpu"}
    for one_set in (False, True):
        if one_set:
            content = [{k: row[k] for k in ("doc", "claim", "label")} for row in content]
            write_jsonl(path, content)
        results = evaluate(
            "hf-fact-checker",
            names=["fact_check"],
            metadata={"fact_check_data": str(path)},
            **options,
        )
        _, figures = checked(results, "fact_check", content)
        assert ("mean_balanced_accuracy,none" in figures) is not one_set
        assert (
            "mean_balanced_accuracy" in results["higher_is_better"]["fact_check"]
        ) is not one_set
        assert results["configs"]["fact_check"]["metadata"]["split"] == "mine"


def test_the_printed_table_is_readable(own_rows, checker_path):
    results = evaluate(
        "hf-fact-checker",
        {"pretrained": checker_path},
        ["llm_aggrefact_wice"],
        metadata={"aggrefact_data": own_rows},
        device="cpu",
    )
    assert max(map(len, make_table(results).splitlines())) < 110


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc": " "}, "row 2: doc is empty or no text"),
        ({"claim": ""}, "row 2: claim is empty or no text"),
        ({"label": 2}, "row 2: label 2 is neither 0 (not supported) nor 1 (supported)"),
    ],
)
def test_a_bad_row_stops_the_task_from_loading(tmp_path, change, message):
    content = rows(4, ["Wice"])
    content[1] |= change
    path = str(write_jsonl(tmp_path / "test.jsonl", content))
    for name, key in (("llm_aggrefact_wice", "aggrefact_data"), ("fact_check", "fact_check_data")):
        with pytest.raises(DataError) as raised:
            manager(**{key: path}).load([name])
        assert f"{path}, {message}" in str(raised.value)


def test_the_command_ends_in_one_line(tmp_path, fresh):
    path = write_jsonl(tmp_path / "mine.jsonl", [{"doc": "", "claim": "It rains.", "label": 1}])
    command = ["lm_eval", "--model", "dummy", "--tasks", "fact_check"]
    done = fresh.run(*command, "--metadata", f"fact_check_data={path}")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == f"error: {path}, row 1: doc is empty or no text"
    assert "Traceback" not in done.stderr


def test_registration():
    models, parts, folders, commands = {}, {}, [], {}
    register(
        SimpleNamespace(
            model=models.__setitem__,
            wrapper=lambda name, **given: parts.update({name: given}),
            tasks=folders.append,
            commands=lambda name, target, help: commands.update({name: target}),
        )
    )
    assert models["hf-fact-checker"] == "harness_factcg.models.hf:FactCheckerHF"
    assert parts["fact-checker"]["vllm"] == "harness_factcg.models.vllm:VLLMFactCheckingMixin"
    assert folders == [FOLDER]
    assert commands == {"factcg": "harness_factcg.commands:app"}


def test_testbed_end_to_end(checker_path):
    names = ["llm_aggrefact_wice", "llm_aggrefact_aggrefact_xsum"]
    results = evaluate(
        "hf-fact-checker",
        {"pretrained": checker_path},
        names,
        metadata={"data": "testbed"},
        device="cpu",
    )
    for name in names:
        assert results["n-samples"][name] == {"original": 48, "effective": 48}
        assert results["configs"][name]["metadata"]["data_source"] == "testbed"
        low, high = results["results"][name]["balanced_accuracy_ci95,none"]
        assert 0 <= low < high <= 1
