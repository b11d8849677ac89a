from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import transformers
from harness_factcg import metrics
from harness_factcg.checking import families, loading
from harness_factcg.checking.checker import Checker
from harness_factcg.checking.verdicts import Pair
from harness_factcg.commands import app
from harness_factcg.models.hf import FactCheckerHF
from harness_factcg.training import rows as training_data
from harness_factcg.training import stages, train
from harness_factcg.training.options import Options
from harness_factcg.training.trainer import Collator, examples, loss_of
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from factcg.made_up import CITIES, NAMES, write_jsonl
from harness.errors import ArtefactError, DataError, HarnessError

pytestmark = pytest.mark.long


def pairs(count, start=0):
    """Documents of three sentences; the claim's fact is stated in one of two."""
    found = []
    for k in range(start, start + count):
        name, city, other = NAMES[k % 6], CITIES[k // 6 % 6], CITIES[(k // 6 + 1 + k % 5) % 6]
        tail = f"The mill is old. It was built in {1700 + k}." * (1 + k % 2)
        for label, place in ((1, city), (0, other)):
            doc = f"{name} lives in {place}. {tail}" + f" Page {k}." * (k % 5)
            found.append({"doc": doc, "claim": f"{name} lives in {city}.", "label": label})
            found[-1] |= {"hops": 1, "pair_id": str(k), "source": "doc", "removed": []}
    return found


@pytest.fixture
def data(tmp_path):
    return write_jsonl(tmp_path / "pairs.jsonl", pairs(20))


def options(tmp_path, data, **changed):
    values = {
        "out": tmp_path / "out",
        "model": "scratch:3x32",
        "stage2": [data],
        "dev_share": 0.2,
        "batch_size": 8,
        "rate": 1e-3,
        "epochs": 2,
        "evaluations": 4,
        "max_length": 128,
        "device": "cpu",
    }
    return Options(**values | changed)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_loss_is_that_of_the_scored_margin():
    margins, labels = torch.tensor([2.0, -1.0]), torch.tensor([1, 0])
    expected = math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))
    assert float(loss_of(margins, labels)) == pytest.approx(expected, abs=1e-6)
    logits = torch.tensor([[0.3, 1.2], [0.9, -0.4]])
    entropy = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    assert float(loss_of(logits[:, 1] - logits[:, 0], labels)) == pytest.approx(float(entropy))


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_of_the_batch_and_masked(side):
    rows = examples([[5, 6, 7], [8]], [1, 0])
    batch = Collator(0, side)(rows)
    ids = [[5, 6, 7], [8, 0, 0] if side == "right" else [0, 0, 8]]
    assert batch["input_ids"].tolist() == ids
    assert batch["attention_mask"].tolist() == [[int(i > 0) for i in row] for row in ids]
    assert batch["labels"].tolist() == [1, 0]


def test_dynamic_padding_costs_what_fixed_padding_costs(checker_path):
    checkpoint = loading.load(checker_path)
    family = families.find("factcg").override(max_length=200)
    rows = pairs(6)
    ids, cut = training_data.encoded(rows, checkpoint.tokenizer, family)
    assert cut == 0 and len({len(one) for one in ids}) > 2
    head = Checker(checkpoint, family).head
    given = examples(ids, [row["label"] for row in rows])
    losses = []
    for width in (None, 200):
        batch = Collator(0, head.side, width)(given)
        with torch.inference_mode():
            margins = head.margins(checkpoint.model, batch["input_ids"], batch["attention_mask"])
        losses.append(float(loss_of(margins, batch["labels"])))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_training_prompt_is_the_prompt_of_inference(checker_path):
    """A document that fits in a chunk reads the same in both, so the margins are the same."""
    checkpoint = loading.load(checker_path)
    family = families.find("factcg")
    row = {"doc": "Anna lives in Rome.  Ben plays chess.\n\nEnd.", "claim": "Anna plays chess."}
    (ids,), _ = training_data.encoded([row], checkpoint.tokenizer, family)
    pair = Pair(row["doc"], row["claim"])
    checker = Checker(checkpoint, family)
    batch = Collator(0, "right")(examples([ids], [1]))
    with torch.inference_mode():
        (margin,) = checker.head.margins(
            checkpoint.model, batch["input_ids"], batch["attention_mask"]
        )
    assert checker.verdicts([pair])[pair].margin == pytest.approx(float(margin), abs=1e-6)


def test_a_long_document_is_cut_before_the_claim(checker_path):
    checkpoint = loading.load(checker_path)
    family = families.find("factcg").override(max_length=120)
    row = {"doc": "Anna lives in Rome. " * 80, "claim": "Anna lives in Rome."}
    (ids,), cut = training_data.encoded([row], checkpoint.tokenizer, family)
    text = checkpoint.tokenizer.decode(ids, skip_special_tokens=True)
    assert len(ids) == 120 and cut == 1
    assert text.endswith(family.frame(row["claim"])[1]) and text.startswith("Anna lives in Rome.")


def test_sixteen_rows_are_learnt_by_heart(tmp_path):
    data = write_jsonl(tmp_path / "rows.jsonl", pairs(8))
    chosen = options(tmp_path, data, dev=[data], batch_size=16, epochs=60, rate=3e-3)
    made = train.train(replace(chosen, model="scratch:3x64", device_batch_size=16))
    (stage,) = made.manifest["stages"]
    assert stage["dev"]["balanced_accuracy"] == 1.0
    assert stage["train_rows"] == {"supported": 8, "unsupported": 8}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", [2, 6])
def test_a_kill_changes_nothing(tmp_path, data, monkeypatch, step):
    """Stopped in the first and in the second epoch; batches of rows in two forward passes."""
    shape = {"model": "scratch:3x32", "device_batch_size": 4, "evaluations": 8}
    whole = train.train(options(tmp_path, data, out=tmp_path / "whole", **shape))
    steps = whole.manifest["stages"][0]["steps"]
    assert steps == 8
    mend = stages.Guard.on_step_end

    def kill(self, args, state, control, **kwargs):
        if state.global_step == step:
            raise Killed
        return mend(self, args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(stages.Guard, "on_step_end", kill)
        with pytest.raises(Killed):
            train.train(options(tmp_path, data, **shape))
    assert not (tmp_path / "out").exists()
    resumed = train.train(options(tmp_path, data, **shape))
    assert same(weights(whole.folder), weights(resumed.folder))
    assert (whole.folder / "metrics.jsonl").read_text() == (
        resumed.folder / "metrics.jsonl"
    ).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pairs.jsonl", "whole"]


def test_a_cut_checkpoint_is_passed_over(tmp_path, data):
    stage = stages.Stage("stage2", [], [], tmp_path, options(tmp_path, data))
    for step, state in ((3, '{"global_step": 3, "log_history": []}'), (6, '{"glo'), (9, None)):
        (tmp_path / "stage2" / f"checkpoint-{step}").mkdir(parents=True)
        if state is not None:
            (tmp_path / "stage2" / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert stages._last_checkpoint(stage) == str(tmp_path / "stage2" / "checkpoint-3")


def test_accumulating_makes_no_difference(tmp_path, data):
    one = train.train(options(tmp_path, data, out=tmp_path / "one"))
    two = train.train(options(tmp_path, data, out=tmp_path / "two", device_batch_size=2))
    assert one.manifest["recipe"] == two.manifest["recipe"]
    for name, tensor in weights(one.folder).items():
        torch.testing.assert_close(weights(two.folder)[name], tensor, atol=2e-4, rtol=0)


def test_the_checkpoint_scores_as_in_training(tmp_path, data):
    made = train.train(options(tmp_path, data))
    rows = [row | {"pair_id": f"0:{row['pair_id']}"} for row in pairs(20)]
    _, dev = training_data.split(rows, 0.2, 2024)
    model = FactCheckerHF(pretrained=str(made.folder), device="cpu")
    family = model.checker.family
    assert (family.name, family.max_length) == ("factcg", 128)
    verdicts = model.checker.verdicts([Pair(row["doc"], row["claim"]) for row in dev])
    items = [
        {
            "label": row["label"],
            "margin": verdicts[Pair(row["doc"], row["claim"])].margin,
            "document": row["doc"],
        }
        for row in dev
    ]
    figures = made.manifest["stages"][0]["dev"]
    assert metrics.balanced_accuracy(items) == figures["balanced_accuracy"]
    assert metrics.auroc(items) == figures["auroc"]
    margins = torch.tensor([item["margin"] for item in items])
    labels = torch.tensor([item["label"] for item in items])
    loss = float(loss_of(margins, labels)) / len(items)
    assert loss == pytest.approx(figures["loss"], abs=1e-5)


def test_bfloat16_leaves_the_weights_in_float32(tmp_path, data):
    full = train.train(options(tmp_path, data, out=tmp_path / "full"))
    half = train.train(
        options(tmp_path, data, out=tmp_path / "half", dtype="bfloat16", device="auto")
    )
    found = weights(half.folder)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert not same(found, weights(full.folder))
    lines = [(made.folder / "metrics.jsonl").read_text().splitlines() for made in (full, half)]
    losses = [[json.loads(line).get("loss") for line in own] for own in lines]
    assert losses[0] != losses[1]
    for one, other in zip(*losses, strict=True):
        assert one is other is None or one == pytest.approx(other, abs=0.05)


def test_the_best_checkpoint_is_kept(tmp_path, data):
    made = train.train(options(tmp_path, data, epochs=6, evaluations=12))
    lines = [json.loads(line) for line in (made.folder / "metrics.jsonl").read_text().splitlines()]
    found = [
        (line["dev_balanced_accuracy"], -line["step"])
        for line in lines
        if "dev_balanced_accuracy" in line
    ]
    (stage,) = made.manifest["stages"]
    assert len(found) == 12
    assert (stage["dev"]["balanced_accuracy"], -stage["chosen_step"]) == max(found)


def test_stage_two_starts_from_what_stage_one_chose(tmp_path, data, monkeypatch):
    started = []
    load = stages.Start.load

    def spy(self, texts):
        started.append((self.name, load(self, texts)))
        return started[-1][1]

    monkeypatch.setattr(stages.Start, "load", spy)
    second = write_jsonl(tmp_path / "second.jsonl", pairs(12, start=30))
    made = train.train(options(tmp_path, second, stage1=[data]))
    assert [stage["stage"] for stage in made.manifest["stages"]] == ["stage1", "stage2"]
    assert [name.rpartition("/")[2] for name, _ in started] == ["scratch:3x32", "stage1-model"]
    lines = (made.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == sorted(
        json.loads(line)["stage"] for line in lines
    )
    files = [entry[0]["file"] for entry in made.manifest["recipe"]["data"].values()]
    assert files == ["pairs.jsonl", "second.jsonl"]


def test_an_encoder_gets_a_head_and_a_checker_keeps_its_own(
    tmp_path, data, headless_path, checker_path
):
    made = train.train(options(tmp_path, data, model=headless_path, max_length=256))
    config = transformers.AutoConfig.from_pretrained(made.folder)
    assert config.architectures == ["BertForSequenceClassification"]
    assert config.id2label == {0: "unsupported", 1: "supported"}
    assert config.fact_checker["family"] == "factcg"
    slow = options(tmp_path, data, out=tmp_path / "two", model=checker_path, rate=1e-9)
    kept = train.train(replace(slow, max_length=256))
    before = weights(tmp_path.__class__(checker_path))
    for name, tensor in weights(kept.folder).items():
        torch.testing.assert_close(tensor, before[name], atol=1e-6, rtol=0)


def test_a_damaged_start_is_refused(tmp_path, data, headless_path, checker_path):
    for number, (source, lost) in enumerate(
        ((headless_path, "encoder.layer.1.output.dense.weight"), (checker_path, "classifier.bias"))
    ):
        folder = tmp_path / str(number)
        shutil.copytree(source, folder)
        kept = weights(folder)
        del kept[lost]
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ArtefactError, match=f"its checkpoint lacks .*{lost}"):
            train.train(options(tmp_path, data, model=str(folder), max_length=256))


def test_an_encoder_decoder_learns_to_say_yes(tmp_path, data, tokenizer):
    folder = tmp_path / "t5"
    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=500,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=1,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    model = transformers.T5ForConditionalGeneration(config)
    model.save_pretrained(folder)
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="<pad>", eos_token="<sep>"
    )
    words.add_tokens(["Yes", "No"])
    model.resize_token_embeddings(len(words))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    made = train.train(options(tmp_path, data, model=str(folder), max_length=256, epochs=4))
    lines = [json.loads(line) for line in (made.folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["dev_loss"] for line in lines if "dev_loss" in line]
    assert losses[-1] < losses[0]
    assert FactCheckerHF(pretrained=str(made.folder), device="cpu").checker.family.head == "seq2seq"


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_kept(tmp_path, data, monkeypatch):
    calls = []

    def broken(margins, labels):
        calls.append(1)
        return loss_of(margins, labels) * (math.nan if len(calls) == 6 else 1.0)

    monkeypatch.setattr("harness_factcg.training.trainer.loss_of", broken)
    chosen = options(tmp_path, data, device_batch_size=8, evaluations=8)
    with pytest.raises(HarnessError, match=r"loss of step 6 is not finite.*checkpoint is kept in"):
        train.train(chosen)
    (work,) = tmp_path.glob(".out.training-*")
    kept = work / "stage2" / "checkpoint-5"
    assert all(tensor.isfinite().all() for tensor in weights(kept).values())
    loading.load(str(kept))


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path, data, monkeypatch):
    def broken(margins, labels):
        return loss_of(margins, labels) + (margins * 0.0).sqrt().sum()  # ∞ · 0

    monkeypatch.setattr("harness_factcg.training.trainer.loss_of", broken)
    with pytest.raises(HarnessError, match="gradient of step 1 is not finite"):
        train.train(options(tmp_path, data))


def test_a_finished_training_is_kept_and_another_refused(tmp_path, data):
    chosen = options(tmp_path, data, epochs=1, evaluations=1)
    made = train.train(chosen)
    again = train.train(replace(chosen, device_batch_size=4))
    assert (made.present, again.present) == (False, True)
    with pytest.raises(ArtefactError, match=r"holds another checker \(it differs in: --lr\)"):
        train.train(replace(chosen, rate=2e-3))
    (made.folder / "config.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"config.json is missing or was changed"):
        train.train(chosen)
    shutil.rmtree(made.folder)
    made.folder.mkdir()
    with pytest.raises(ArtefactError, match=r"exists and has no training.json"):
        train.train(chosen)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stage2": []}, "nothing to train on"),
        ({"model": "scratch:3x33"}, "LAYERSxHIDDEN"),
        ({"model": "scratch:2x64"}, "at least 3 layers"),
        ({"model": "scratch:large"}, "LAYERSxHIDDEN"),
        ({"model": "./no/such/folder"}, "no such folder"),
        ({"model": "nobody/nothing"}, "--model nobody/nothing cannot be loaded"),
        ({"rate": 0.0}, "--lr"),
        ({"rate": math.nan}, "--lr"),
        ({"dtype": "float16"}, "--dtype float16"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 9, "device_batch_size": 2}, "no multiple"),
        ({"warmup": 1.5}, "--warmup"),
        ({"max_length": 20}, "too many for a document"),
    ],
)
def test_bad_options_are_one_line(tmp_path, data, changed, message):
    with pytest.raises(HarnessError, match=message) as caught:
        train.train(options(tmp_path, data, **changed))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_rows_of_one_label_are_refused(tmp_path):
    data = write_jsonl(tmp_path / "one.jsonl", [row for row in pairs(9) if row["label"] == 1])
    with pytest.raises(DataError, match="all 9 rows have the label 1"):
        train.train(options(tmp_path, data))


def test_the_command_trains(tmp_path, data):
    shape = ["--model", "scratch:3x32", "--device", "cpu", "--max-length", "128"]
    done = CliRunner().invoke(
        app, ["train", "--stage2", str(data), "--out", str(tmp_path / "out"), *shape]
    )
    assert done.exit_code == 0, done.output
    assert "stage2: 38 rows, step" in done.output
    assert "balanced accuracy" in done.output


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path, data):
    shape = ["--model", "scratch:3x32", "--device", "cpu", "--max-length", "128"]
    shape += ["--stage2", str(data), "--batch-size", "8", "--epochs", "2", "--evaluations", "4"]
    launchers = {"one": (), "two": ("-m", "torch.distributed.run", "--nproc-per-node", "2")}
    for name, launcher in launchers.items():
        command = [sys.executable, *launcher, "-m", "harness", "factcg", "train", *shape]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / name)],
            env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("(written)") == 1
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in launchers]
    for one, other in zip(*(map(json.loads, own) for own in lines), strict=True):
        assert one.keys() == other.keys()
        assert one.get("loss") == pytest.approx(other.get("loss"), abs=1e-3)
    found = weights(tmp_path / "two")
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=0)
