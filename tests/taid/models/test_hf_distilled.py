"""``hf-distilled`` and its tasks, on the testbed's teacher and student."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from harness_taid.data import held_out
from harness_taid.models.own_samples import seed_of
from harness_taid.network.teachers import shared_vocabulary
from harness_taid.requests import ALONG
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness import compose
from harness.errors import ArtefactError, DataError, HarnessError
from harness.host.task_files import task_folder
from harness.models.checkpoints import content_of
from harness.testbed import model_path

pytestmark = pytest.mark.long

DistilledHF = compose("hf-distilled")

FOLDER = task_folder("taid")
TASKS = ["taid_fidelity", "taid_fidelity_on_policy", "taid_generation"]
LENGTH = 12


@pytest.fixture(scope="module")
def pair():
    return DistilledHF("testbed:student", teacher="testbed:teacher", device="cpu", batch_size=3)


def evaluate(model, tasks=TASKS, **options):
    metadata = {"data": "testbed", "rows": 20} | options.pop("metadata", {})
    manager = TaskManager(include_path=str(FOLDER), include_defaults=False, metadata=metadata)
    return simple_evaluate(
        model=model,
        tasks=tasks,
        task_manager=manager,
        limit=4,
        bootstrap_iters=100,
        **{"gen_kwargs": f"max_gen_toks={LENGTH}", "apply_chat_template": True} | options,
    )


@pytest.fixture(scope="module")
def results(pair):
    return evaluate(pair)


def request(along="reference", response="It is late.", text="What is it like?", seed=0, **options):
    settings = {"until": [], "max_gen_toks": LENGTH, "do_sample": True, "temperature": 1.0}
    doc = {ALONG: [along], "taid_seed": seed, "response": response}
    return Instance("generate_until", doc, (text, settings | options), 0, ("taid_fidelity", 0, 1))


def student_folder(tmp_path, manifest=None):
    folder = tmp_path / "student"
    shutil.copytree(model_path("student"), folder)
    if manifest is not None:
        (folder / "distillation.json").write_text(json.dumps(manifest))
    return folder


RECIPE = {
    "objective": "taid", "teacher": "testbed:teacher", "seed": 3, "compat": "paper",
    "settings": {"alpha": 0.0005}, "sampler": "mixed",
}  # fmt: skip


def test_every_file_loads_strictly():
    for path in sorted(FOLDER.glob("*.yaml")):
        assert load_yaml(path), path


def test_figures_along_the_reference_by_two_plain_passes(pair, results):
    tokenizer = pair.tokenizer
    for sample in results["samples"]["taid_fidelity"]:
        doc, figures = sample["doc"], sample["acceptance"]
        turns = [
            {"role": "user", "content": doc["prompt"]},
            {"role": "assistant", "content": doc["response"]},
        ]
        text = tokenizer.apply_chat_template(turns, tokenize=False).rstrip("\n")
        whole = tokenizer.encode(text, add_special_tokens=False)
        count = len(figures["tvd"])
        assert count > 3 and whole[-1] == tokenizer.eos_token_id
        ids = torch.tensor([whole])
        with torch.inference_mode():
            p, q = (
                torch.softmax(one(ids).logits[0, -count - 1 : -1].double(), -1).numpy()
                for one in (pair.pair.teacher, pair.model)
            )
        answer = tokenizer.decode(whole[-count:-1])
        assert answer.strip() == doc["response"].strip() == sample["resps"][0][0].split("</s>")[0]
        assert figures["tvd"] == pytest.approx(1 - np.minimum(p, q).sum(-1), abs=1e-5)
        assert figures["forward_kl"] == pytest.approx((p * np.log(p / q)).sum(-1), abs=1e-4)
        following = q[np.arange(count), whole[-count:]]
        assert figures["student_nll"] == pytest.approx(-np.log(following), abs=1e-4)
        right = q.argmax(-1) == np.array(whole[-count:])
        assert figures["correct"] == right.tolist()
        assert not figures["cut"]


def test_metrics_are_over_all_tokens(results):
    figures = results["results"]["taid_fidelity"]
    samples = [sample["acceptance"] for sample in results["samples"]["taid_fidelity"]]

    def mean(name):
        values = [x for sample in samples for x in sample[name]]
        return sum(values) / len(values)

    assert figures["acceptance,none"] == pytest.approx(1 - mean("tvd"))
    assert figures["tvd,none"] == pytest.approx(mean("tvd"))
    for name, of in (
        ("forward_kl", "forward_kl"), ("reverse_kl", "reverse_kl"), ("jsd", "jsd"),
        ("top1_agreement", "top1"), ("top5_agreement", "top5"),
        ("student_head_mass", "student_head"),
    ):  # fmt: skip
        assert figures[f"{name},none"] == pytest.approx(mean(of))
        assert figures[f"{name}_stderr,none"] > 0
    for side in ("student", "teacher"):
        perplexity = figures[f"{side}_perplexity,none"]
        assert perplexity == pytest.approx(math.exp(mean(f"{side}_nll"))) and perplexity > 1
    gap = mean("student_entropy") - mean("teacher_entropy")
    assert figures["entropy_gap,none"] == pytest.approx(gap)
    low, high = figures["acceptance_ci95,none"]
    assert low < figures["acceptance,none"] < high
    assert 0 < figures["ece,none"] < 1
    metadata = results["configs"]["taid_fidelity"]["metadata"]
    assert metadata["split"] == "held out" and metadata["data_source"] == "testbed"
    assert results["config"]["teacher"] == "testbed:teacher"
    assert results["config"]["shared_vocabulary"] == 2048


def test_exposure_bias_is_paired(results):
    off = results["results"]["taid_fidelity"]
    on = results["results"]["taid_fidelity_on_policy"]
    gap = on["forward_kl,none"] - off["forward_kl,none"]
    assert on["exposure_bias,none"] == pytest.approx(gap)
    assert on["exposure_bias_stderr,none"] > 0
    sample = results["samples"]["taid_fidelity_on_policy"][0]["acceptance"]
    assert sample["along"] == "student" and len(sample["tvd"]) <= LENGTH
    assert "reference_forward_kl" in sample


def test_generation_against_reference_and_teacher(pair, results):
    teacher = HFLM(str(model_path("teacher")), device="cpu", batch_size=3)
    student = HFLM(str(model_path("student")), device="cpu", batch_size=3)
    stock = evaluate(student, ["taid_generation"])
    theirs = evaluate(teacher, ["taid_generation"])
    own, other = (found["samples"]["taid_generation"] for found in (stock, theirs))
    for sample, of_student, of_teacher in zip(
        results["samples"]["taid_generation"], own, other, strict=True
    ):
        assert sample["resps"] == of_student["resps"]
        assert sample["rouge_l"]["teacher_answer"] == of_teacher["resps"][0][0]
    figures, plain = (found["results"]["taid_generation"] for found in (results, stock))
    assert {k for k in figures if k not in plain} == {
        f"{name},none" for name in (
            "rouge_l_teacher", "rouge_l_teacher_stderr", "rouge_l_teacher_ci95",
            "rouge_l_teacher_ci95_stderr", "length_ratio_teacher", "length_ratio_teacher_stderr",
        )
    }  # fmt: skip
    for name in ("rouge_l", "distinct_1", "distinct_2", "distinct_3", "length_ratio"):
        assert figures[f"{name},none"] == plain[f"{name},none"]
    assert 0 < figures["rouge_l_teacher,none"] <= 1


def test_a_row_alone_is_the_row_in_a_batch(pair):
    rows = [request("student", text=text) for text in ("What is the theater like?", "Hi", "Say")]
    rows += [request("teacher", max_gen_toks=5), request("teacher", seed=1, max_gen_toks=5)]
    together = pair.generate_until(rows, disable_tqdm=True)
    assert together[3] != together[4]
    for row, one in zip(rows, together, strict=True):
        alone = pair.generate_until([row], disable_tqdm=True)[0]
        assert alone == one
        (kind,) = set(one.trace["fidelity"]) - {"cut"}
        assert alone.trace["fidelity"][kind]["tvd"] == pytest.approx(
            one.trace["fidelity"][kind]["tvd"], abs=1e-5
        )


def test_samples_are_of_the_model_asked_for(pair):
    """Most of a model's own tokens are likely under it: −ln p is about its entropy."""
    for kind, own in (("student", pair.model), ("teacher", pair.pair.teacher)):
        rows = [request(kind, text=f"What is {k} like?") for k in range(8)]
        found = pair.generate_until(rows, disable_tqdm=True)
        surprise, entropy = [], []
        for row, one in zip(rows, found, strict=True):
            before, after = pair.encoded(row.args[0], "")[0], pair.tokenizer.encode(str(one))
            text = torch.tensor([before + [t for t in after if t != pair.prefix_token_id]])
            with torch.inference_mode():
                logs = torch.log_softmax(own(text).logits[0, len(before) - 1 : -1], -1)
            surprise += (-logs.gather(1, text[0, len(before) :, None])[:, 0]).tolist()
            entropy += one.trace["fidelity"][kind][f"{kind}_entropy"]
        assert np.mean(surprise) == pytest.approx(np.mean(entropy), abs=0.6)
    assert seed_of(0, [1]) != seed_of(1, [1]) and seed_of(0, [1]) < 2**63


def test_long_texts_are_cut_and_told(pair, caplog):
    long = "What is the theater like? " * 400
    one = pair.generate_until([request(text=long)], disable_tqdm=True)[0]
    assert one.trace["fidelity"]["cut"] and len(one.trace["fidelity"]["reference"]["tvd"]) > 3
    whole = pair.generate_until([request(response=long)], disable_tqdm=True)[0]
    assert len(whole.trace["fidelity"]["reference"]["tvd"]) == pair.max_length - 1
    assert "1 texts are cut: both models can read 1024 tokens" in caplog.text
    with pytest.raises(HarnessError, match="max_gen_toks=2000 leaves no room for a prompt"):
        pair.generate_until([request("student", max_gen_toks=2000)], disable_tqdm=True)


def test_references_end_where_their_turn_ends(pair, tmp_path):
    """Not at the text of an end token, and not behind what a template puts there."""
    _, after = pair.encoded("Hi", "Say </s> first.")
    assert pair.tokenizer.decode(after) == "Say </s> first.</s>" and after.count(2) == 1
    folder = student_folder(tmp_path)
    words = AutoTokenizer.from_pretrained(folder)
    ended = words.chat_template.replace("{{ eos_token }}", "<mask>")  # a turn's end of its own
    words.chat_template = ended
    words.save_pretrained(folder)
    turns = [{"role": "user", "content": "Hi"}]
    model = DistilledHF(str(folder), teacher="testbed:teacher", device="cpu")
    _, after = model.encoded(model.apply_chat_template(turns), "It is late.")
    assert model.tokenizer.decode(after) == "It is late.<mask>"
    words.chat_template = ended.replace("%}<|assistant|>", "%}<|assistant|><think>", 2).replace(
        "<think>", "", 1
    )
    words.save_pretrained(folder)
    model = DistilledHF(str(folder), teacher="testbed:teacher", device="cpu")
    prompt = model.apply_chat_template(turns)
    assert prompt.endswith("<think>\n") and model.encoded(prompt, None)[1] == []
    with pytest.raises(HarnessError, match="a reference cannot stand behind its prompt"):
        model.encoded(prompt, "It is late.")


def test_a_padded_vocabulary_is_cut_to_the_shared_one(pair, tmp_path):
    folder = tmp_path / "padded"
    shutil.copytree(model_path("teacher"), folder)
    wide = AutoModelForCausalLM.from_pretrained(folder)
    wide.resize_token_embeddings(2112, mean_resizing=False)
    with torch.no_grad():
        wide.get_input_embeddings().weight[2048:] += 1.0  # rows that mean nothing, but have mass
    wide.save_pretrained(folder)
    padded = DistilledHF("testbed:student", teacher=str(folder), device="cpu")
    one, other = (m.generate_until([request()], disable_tqdm=True)[0] for m in (pair, padded))
    assert padded.pair.width == 2048
    for name, values in one.trace["fidelity"]["reference"].items():
        assert other.trace["fidelity"]["reference"][name] == pytest.approx(values, abs=1e-5)


def test_a_distilled_folder_names_teacher_and_method(tmp_path, caplog):
    folder = student_folder(tmp_path, {"recipe": RECIPE, "steps": 7})
    model = DistilledHF(str(folder), device="cpu")
    info = model.get_model_info()
    assert info["method"] == "taid" and info["teacher"] == "testbed:teacher"
    assert info["method_args"] == {
        "teacher": "testbed:teacher", "seed": 3, "settings": {"alpha": 0.0005},
        "sampler": "mixed", "steps": 7,
    }  # fmt: skip
    assert len(info["artefact_hash"]) == 64 and "teacher_dtype" not in info
    answer = model.generate_until([request()], disable_tqdm=True)[0]
    assert answer.trace["fidelity"]["reference"]["tvd"]
    assert "was distilled in its chat template" in caplog.text
    assert model.get_model_info()["teacher_num_parameters"] == 3_279_104


def test_other_tasks_never_load_the_teacher():
    model = DistilledHF("testbed:student", teacher="nowhere/nothing", device="cpu")
    stock = HFLM(str(model_path("student")), device="cpu")
    greedy = {"until": ["."], "max_gen_toks": 6, "do_sample": False}
    asked = [Instance("generate_until", {}, ("What is", greedy), 0, ("other", 0, 1))]
    assert model.generate_until(asked, disable_tqdm=True) == stock.generate_until(
        asked, disable_tqdm=True
    )
    with pytest.raises(ArtefactError, match="teacher: no folder 'nowhere/nothing' is here"):
        model.generate_until([request()], disable_tqdm=True)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"recipe": {"teacher": "x", "seed": 1}, "steps": 2}, "recipe.objective: Field required"),
        ({"recipe": RECIPE | {"seed": "3"}, "steps": 2}, "recipe.seed: Input should be a valid in"),
        ({"recipe": RECIPE | {"settings": []}, "steps": 2}, "recipe.settings: Input should be a v"),
        ({"files": {}}, r"distillation\.json is damaged: recipe: Field required, and 1 more"),
        ([], r"distillation\.json is damaged: Input should be a valid dictionary"),
    ],
)
def test_damaged_manifests(tmp_path, manifest, words):
    with pytest.raises(ArtefactError, match=words):
        DistilledHF(str(student_folder(tmp_path, manifest)), device="cpu")


def named(tmp_path, teacher, **more):
    folder = student_folder(tmp_path, {"recipe": RECIPE | {"teacher": teacher} | more, "steps": 7})
    return DistilledHF(str(folder), device="cpu")


def loaded(model):
    """Parameters of the teacher, which is loaded now."""
    return model.pair.teacher.num_parameters()


def test_a_record_names_the_folder_it_was_distilled_from_or_none(tmp_path, monkeypatch, caplog):
    """A teacher's folder is loaded by its content; one of that name is not enough."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_path("teacher"), tmp_path / "models" / "teacher")
    sha256 = content_of("models/teacher")
    for given in ("models/teacher", str(tmp_path / "models" / "teacher")):
        model = named(tmp_path, given, teacher_sha256=sha256)
        with caplog.at_level("INFO", "harness_taid"):
            assert loaded(model) == 3_279_104
        assert f"teacher: {given}, as {tmp_path}/student/distillation.json says" in caplog.text
        shutil.rmtree(tmp_path / "student")
    for more in ({}, {"teacher_sha256": "0" * 64}):
        with pytest.raises(ArtefactError, match="is not the model that the student was distilled"):
            loaded(named(tmp_path, "models/teacher", **more))
        shutil.rmtree(tmp_path / "student")
    shutil.rmtree(tmp_path / "models")
    for given, more in (("models/teacher", {"teacher_sha256": sha256}), ("../models/teacher", {})):
        with pytest.raises(ArtefactError, match=r"a folder that is not here: give --model_args"):
            loaded(named(tmp_path, given, **more))
        shutil.rmtree(tmp_path / "student")


def test_a_record_names_no_address(tmp_path):
    with pytest.raises(ArtefactError, match="addresses are not loaded from"):
        loaded(named(tmp_path, "https://example.org/model"))
    own = DistilledHF(str(tmp_path / "student"), teacher="testbed:teacher", device="cpu")
    assert loaded(own) == 3_279_104  # the user's wins


def test_a_named_teacher_has_no_code_of_its_own(tmp_path):
    folder = tmp_path / "models" / "odd"
    shutil.copytree(model_path("teacher"), folder)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "odd"}
    config["auto_map"] = {"AutoConfig": "odd.Config", "AutoModelForCausalLM": "odd.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    model = named(tmp_path, str(folder), teacher_sha256=content_of(str(folder)))
    with pytest.raises(ArtefactError, match="teacher: cannot load the checkpoint") as caught:
        loaded(model)
    assert not (tmp_path / "ran").exists() and "\n" not in str(caught.value)


def test_what_is_missing_is_said_in_a_line(tmp_path):
    alone = DistilledHF("testbed:student", device="cpu")
    with pytest.raises(
        HarnessError, match=r"testbed:student names no teacher .* give --model_args"
    ):
        alone.generate_until([request()], disable_tqdm=True)
    stock = HFLM(str(model_path("student")), device="cpu")
    with pytest.raises(
        HarnessError, match=r"taid_fidelity compares .* run it with --model hf-dist"
    ):
        evaluate(stock, ["taid_fidelity"])
    with pytest.raises(HarnessError, match="nowhere/nothing cannot be loaded"):
        DistilledHF("nowhere/nothing", teacher="testbed:teacher", device="cpu")
    with pytest.raises(HarnessError, match="--use_cache keeps answers by prompt alone"):
        cached = DistilledHF("testbed:student", teacher="testbed:teacher", device="cpu")
        evaluate(cached, ["taid_fidelity"], use_cache=str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.5}, "temperature=0.5 in --gen_kwargs: fidelity is of the whole"),
        ({"top_k": 5}, "top_k=5 in --gen_kwargs"),
        ({"until": ["."]}, "until="),
        ({"max_gen_toks": 0}, "max_gen_toks=0: give at least 1"),
    ],
)
def test_what_is_not_measured_is_refused(pair, options, words):
    with pytest.raises(HarnessError, match=words):
        pair.generate_until([request(**options)], disable_tqdm=True)


def test_another_tokenizer_is_refused(tmp_path):
    folder = student_folder(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["zyx"])
    tokenizer.save_pretrained(folder)
    model = DistilledHF(str(folder), teacher="testbed:teacher", device="cpu")
    with pytest.raises(ArtefactError, match=r"different vocabularies \(2048 and 2049 tokens, 1"):
        model.generate_until([request()], disable_tqdm=True)
    same = AutoTokenizer.from_pretrained(model_path("teacher"))
    assert shared_vocabulary(same, same, [2048, 2112]) == 2048
    assert shared_vocabulary(same, same, [2040, 2112]) == 2040


# Rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_are_first_exchanges(tmp_path):
    rows = [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"},
                      {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]},
        {"prompt": "p", "response": "r"},
        {"prompt": "p", "response": " "},
        {"messages": [{"role": "assistant", "content": "b"}]},
    ]  # fmt: skip
    path = write(tmp_path / "dev.jsonl", rows)
    found = held_out.fidelity_rows(taid_data=path, data="hub", along="teacher", sample_seed=4)
    assert [(row["prompt"], row["response"]) for row in found.rows] == [("a", "b"), ("p", "r")]
    assert found.rows[0][ALONG] == ["teacher"] and found.rows[0]["taid_seed"] == 4
    assert found.split == "held out, along teacher" and found.notes == {
        "rows_left_out": 2, "system_messages_left_out": 1,
    }  # fmt: skip
    other = held_out.fidelity_rows(taid_data=path)
    assert other.sha256 != found.sha256 and other.split == "held out"
    assert len(held_out.fidelity_rows(data=path, rows=1).rows) == 1
    write(tmp_path / "train.jsonl", rows[1:2] * 5)
    assert len(held_out.generation_rows(data=str(tmp_path)).rows) == 2  # dev, not train


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"along": "self"}, "along=self: use one of reference, student, teacher"),
        ({"rows": 0}, "rows=0: give a whole number of at least 1"),
        ({"sample_seed": "x"}, "sample_seed=x: give a whole number"),
        ({"taid_dta": "hub"}, "did you mean taid_data"),
    ],
)
def test_bad_metadata_is_refused(metadata, words):
    with pytest.raises(DataError, match=words):
        held_out.fidelity_rows(**({"data": "testbed"} | metadata))


def test_bad_rows_are_refused(tmp_path):
    path = write(tmp_path / "dev.jsonl", [{"prompt": "p", "response": "r"}])
    with (tmp_path / "dev.jsonl").open("a") as file:
        file.write('{"prompt": "cut')
    with pytest.raises(DataError, match=r"dev\.jsonl, line 2: not valid JSON"):
        held_out.fidelity_rows(data=path)
    empty = write(tmp_path / "e.jsonl", [{"prompt": "p", "response": ""}])
    with pytest.raises(DataError, match="no row has both a prompt and a response"):
        held_out.fidelity_rows(data=empty)
    (tmp_path / "dev.jsonl").rename(tmp_path / "train.jsonl")
    write(tmp_path / "train.jsonl", [{"prompt": "p", "response": "r"}])
    with pytest.raises(DataError, match="no held-out rows; give a table"):
        held_out.fidelity_rows(data=str(tmp_path))


def test_quantiles_are_finite(results):
    figures = results["results"]["taid_fidelity"]
    for name in ("forward_kl", "reverse_kl", "jsd", "tvd"):
        ordered = [figures[f"{name}_{q},none"] for q in ("q90", "q99")]
        assert figures[f"{name},none"] < ordered[0] <= ordered[1] < math.inf
