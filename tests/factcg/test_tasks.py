from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import yaml
from harness_factcg import tasks
from harness_factcg.data import DATASETS, task_name
from harness_factcg.plugin import register
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from harness.errors import DataError, HarnessError
from harness.host import task_folder
from harness.tasks import SourcedTask

from .made_up import rows, write_jsonl

FOLDER = task_folder("factcg")
NAMES = [task_name(name) for name in DATASETS]


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
    plain = {p.stem: yaml.safe_load(p.read_text()) for p in FOLDER.glob("llm_aggrefact_*.yaml")}
    assert {stem: config["task"] for stem, config in plain.items()} == {n: n for n in NAMES}
    assert [plain[task_name(n)]["dataset_kwargs"] for n in DATASETS] == [
        {"dataset": name} for name in DATASETS
    ]


def test_the_group_has_the_eleven(own_rows):
    loaded = manager(aggrefact_data=own_rows).load(["llm_aggrefact"])
    assert list(loaded["tasks"]) == NAMES
    for name, task in loaded["tasks"].items():
        assert type(task) is SourcedTask
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
        tasks.process_results(row, [(math.nan, False), (-1.0, True)])


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


def test_registration():
    models, folders = {}, []
    register(SimpleNamespace(model=models.__setitem__, tasks=folders.append))
    assert models == {"hf-fact-checker": "harness_factcg.hf_model:FactCheckerHF"}
    assert folders == [FOLDER]


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
