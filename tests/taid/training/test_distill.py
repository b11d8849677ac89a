from __future__ import annotations

import math
import resource
from dataclasses import replace

import pytest
import torch
from harness_taid.commands import app
from harness_taid.data.exchanges import Encoder, Limits
from harness_taid.network.students import Lora
from harness_taid.training import cast, checkpoints, distill, loop, options, result
from harness_taid.training.options import Options
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM
from typer.testing import CliRunner

from harness.errors import ArtefactError, HarnessError
from taid import tiny
from taid.killing import Killed, kill_at

pytestmark = pytest.mark.long


@pytest.fixture
def base(tmp_path, models, data):
    return tiny.options(tmp_path, models, data)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def losses(folder):
    return [line["loss"] for line in tiny.lines(folder) if "loss" in line]


def independent_fkl(models, items):
    """Mean over response tokens of −Σ p log q in float64, every exchange read alone."""
    teacher, student = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in models)
    total, count = 0.0, 0
    for item in items:
        ids = torch.tensor([item.ids.tolist()])
        with torch.inference_mode():
            p, log_q = (
                model(ids).logits[0, item.prompt - 1 : -1].double().log_softmax(-1)
                for model in (teacher, student)
            )
        total += float(-(p.exp() * log_q).sum())
        count += len(p)
    return total / count


def test_the_first_loss_is_the_mean_over_the_responses_tokens(base, models):
    """And likewise, from the file of figures, the number of tokens."""
    made = distill.distill(replace(base, batch_size=26, dev_rows=0, epochs=1))
    words = tiny.tokenizer()
    rows = tiny.exchanges(28)
    items = Encoder(words, words.chat_template, Limits()).encode(rows, "rows").items
    line = tiny.lines(made.folder)[0]
    first = distill.distill(replace(base, batch_size=28, dev_rows=0, out=base.out.with_name("b")))
    whole = tiny.lines(first.folder)[0]
    assert whole["loss"] == pytest.approx(independent_fkl(models, items), rel=1e-5)
    assert whole["tokens"] == sum(len(item.ids) - item.prompt for item in items)
    assert line["tokens"] < whole["tokens"]


@pytest.mark.parametrize(
    "changed", [{"device_batch_size": 3}, {"packing": True, "limits": Limits(total=64)}]
)
def test_accumulating_and_packing_make_no_difference(base, changed):
    """The loss is divided by the tokens of the whole batch, however it is read."""
    one = distill.distill(replace(base, out=base.out.with_name("one"), limits=Limits(total=64)))
    two = distill.distill(replace(base, **({"limits": Limits(total=64)} | changed)))
    assert one.manifest["recipe"] == two.manifest["recipe"]
    assert losses(two.folder) == pytest.approx(losses(one.folder), rel=1e-5)
    for name, tensor in weights(one.folder).items():
        torch.testing.assert_close(weights(two.folder)[name], tensor, atol=2e-3, rtol=0)


def test_one_process_distils_in_two_precisions(base):
    whole = distill.distill(replace(base, out=base.out.with_name("whole"), dtype="float32"))
    half = distill.distill(replace(base, out=base.out.with_name("half"), dtype="bfloat16"))
    assert losses(half.folder) == pytest.approx(losses(whole.folder), rel=0.05)
    assert losses(half.folder) != losses(whole.folder)


@pytest.mark.parametrize(
    ("objective", "step", "changed"),
    [
        ("taid", 2, {}),
        ("taid", 5, {"save_every": 2}),
        ("ctkd", 6, {"save_every": 1, "lora": Lora(2, 4.0)}),
        ("fkl", 5, {"sampler": "mixed", "save_every": 2, "limits": Limits(response=6)}),
        ("minillm", 6, {"save_every": 3, "rate": 1e-3, "limits": Limits(response=6)}),
    ],
)
def test_a_kill_changes_nothing(base, monkeypatch, objective, step, changed):
    chosen = replace(base, objective=objective, **changed)
    whole = distill.distill(replace(chosen, out=base.out.with_name("whole")))
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            distill.distill(chosen)
    assert not base.out.exists()
    resumed = distill.distill(chosen)
    assert tiny.lines(resumed.folder) == tiny.lines(whole.folder)
    assert len(losses(whole.folder)) == whole.manifest["steps"] == 8
    assert same(weights(whole.folder), weights(resumed.folder))
    assert sorted(path.name for path in base.out.parent.iterdir()) == ["out", "whole"]


def test_a_checkpoint_is_kept_by_the_clock(base, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            distill.distill(replace(base, save_seconds=1e-9))
    (work,) = base.out.parent.glob(".out.distilling-*")
    assert [place.name for place in (work / "checkpoints").iterdir()] == ["step-2"]


def test_the_best_checkpoint_is_kept(base):
    made = distill.distill(replace(base, epochs=4, rate=0.3))
    found = {line["step"]: line["dev_kl"] for line in tiny.lines(made.folder) if "dev_kl" in line}
    assert len(found) == 4 and made.manifest["selected_by"] == "kl"
    chosen = made.manifest["chosen_step"]
    assert found[chosen] == min(found.values()) == made.manifest["dev"]["dev_kl"]
    again = distill.distill(
        replace(base, student=str(made.folder), out=base.out.with_name("b"), rate=1e-12, epochs=1)
    )
    (line,) = [line for line in tiny.lines(again.folder) if "dev_kl" in line]
    assert line["dev_kl"] == pytest.approx(found[chosen], rel=1e-5)


def test_rouge_can_choose(base):
    made = distill.distill(replace(base, epochs=1, select="rouge", limits=Limits(response=8)))
    (line,) = [line for line in tiny.lines(made.folder) if "dev_loss" in line]
    assert 0 <= line["dev_rouge_l"] <= 1


def test_an_adapter_is_kept_and_merged(base, models):
    made = distill.distill(replace(base, lora=Lora(4, 8.0)))
    from peft import PeftModel

    start = AutoModelForCausalLM.from_pretrained(models[1])
    adapted = PeftModel.from_pretrained(start, made.folder / result.ADAPTER)
    merged = AutoModelForCausalLM.from_pretrained(made.folder)
    ids = torch.arange(5, 25).unsqueeze(0)
    with torch.inference_mode():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, atol=1e-4, rtol=1e-4)
    old, new = (load_file(f"{folder}/model.safetensors") for folder in (models[1], made.folder))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all("proj" in name for name in changed)
    assert "adapter/adapter_model.safetensors" in made.manifest["files"]


def test_sft_loads_no_teacher_and_learns_the_labels(base, monkeypatch):
    monkeypatch.setattr(cast, "open_causal", lambda *a, **k: pytest.fail("teacher loaded"))
    made = distill.distill(replace(base, objective="sft", epochs=20, teacher=None))
    found = losses(made.folder)
    assert found[-1] < 0.5 * found[0]
    assert made.manifest["selected_by"] == "loss" and made.manifest["recipe"]["teacher"] is None


def test_random_weights_take_the_teachers_form(base):
    made = distill.distill(replace(base, student="scratch:1x32", epochs=1))
    config = AutoModelForCausalLM.from_pretrained(made.folder).config
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (1, 32, 64)


@pytest.mark.parametrize("objective", ["rkl", "taid"])
def test_padded_vocabularies_are_cut_to_the_tokens_there_are(base, models, tmp_path, objective):
    """Rows beyond the tokenizer's, in either model, change nothing and are not trained."""
    plain = distill.distill(replace(base, objective=objective, dtype="float32"))
    folders = []
    for number, (folder, extra) in enumerate(zip(models, (64, 8), strict=True)):
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.resize_token_embeddings(tiny.VOCABULARY + extra, mean_resizing=False)
        model.get_input_embeddings().weight.data[tiny.VOCABULARY :] = 5.0
        folders.append(str(tmp_path / f"padded-{number}"))
        model.save_pretrained(folders[-1])
        tiny.tokenizer().save_pretrained(folders[-1])
    padded = distill.distill(
        replace(
            base,
            objective=objective,
            teacher=folders[0],
            student=folders[1],
            out=tmp_path / "two",
            weight_decay=0.0,
        )
    )
    unpadded = distill.distill(
        replace(base, objective=objective, out=tmp_path / "three", weight_decay=0.0)
    )
    assert padded.manifest["vocabulary"] == tiny.VOCABULARY
    assert losses(padded.folder) == pytest.approx(losses(unpadded.folder), rel=1e-5)
    assert plain.manifest["vocabulary"] == tiny.VOCABULARY
    rows = weights(padded.folder)["model.embed_tokens.weight"][tiny.VOCABULARY :]
    assert torch.equal(rows, torch.full_like(rows, 5.0))


def test_another_tokenizer_is_refused(base, tmp_path):
    words = tiny.tokenizer()
    words.add_tokens(["another"])
    other = tiny.llama(tmp_path / "other", rows=2056, words=words)
    with pytest.raises(ArtefactError, match="different vocabularies"):
        distill.distill(replace(base, student=other))


def test_a_teacher_that_is_smaller_is_told(base, models):
    said = []
    distill.distill(replace(base, teacher=models[1], student=models[0], epochs=1), say=said.append)
    assert any("is smaller than the student" in line for line in said)


def test_a_loss_that_is_not_finite_stops_with_the_last_checkpoint_kept(base, monkeypatch):
    forward, calls = loop.Network.forward, []

    def broken(self, *arguments):
        value, parts = forward(self, *arguments)
        calls.append(self.training)
        return value * (math.nan if sum(calls) == 3 else 1.0), parts

    monkeypatch.setattr(loop.Network, "forward", broken)
    with pytest.raises(HarnessError, match=r"loss of step 3 is not finite; .*of step 2, is kept"):
        distill.distill(replace(base, save_every=1))
    (work,) = base.out.parent.glob(".out.distilling-*")
    kept = load_file(work / "checkpoints" / "step-2" / checkpoints.WEIGHTS)
    assert all(tensor.isfinite().all() for tensor in kept.values())


def test_a_full_disk_keeps_the_last_checkpoint_and_a_rerun_goes_on(base, monkeypatch):
    """The limit on a file's size stands for the disk's."""
    whole = distill.distill(replace(base, out=base.out.with_name("whole"), save_every=2))
    save, soft_hard = checkpoints.save_file, resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_a_full_disk(tensors, place):
        if "step-6" in str(place):
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, soft_hard[1]))
        try:
            save(tensors, place)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft_hard)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", on_a_full_disk)
        with pytest.raises(
            HarnessError, match=r"step 6 cannot be written .*; that of step 4 is"
        ) as e:
            distill.distill(replace(base, save_every=2))
    assert "\n" not in str(e.value)
    (work,) = base.out.parent.glob(".out.distilling-*")
    assert "step-4" in [place.name for place in (work / "checkpoints").iterdir()]
    resumed = distill.distill(replace(base, save_every=2))
    assert tiny.lines(resumed.folder) == tiny.lines(whole.folder)
    assert same(weights(resumed.folder), weights(whole.folder))


def test_a_disk_that_is_full_in_the_end_costs_no_training(base, monkeypatch):
    with monkeypatch.context() as patch:

        def full(self, *arguments, **options):
            raise SafetensorError("I/O error: No space left on device (os error 28)")

        patch.setattr(LlamaForCausalLM, "save_pretrained", full)
        with pytest.raises(ArtefactError, match=r"out cannot be written: .*No space left"):
            distill.distill(base)
    monkeypatch.setattr(loop.Loop, "_step", lambda *a: pytest.fail("a step was taken again"))
    assert distill.distill(base).manifest["steps"] == 8


def test_a_finished_distillation_is_kept_and_another_refused(base):
    made = distill.distill(replace(base, epochs=1))
    assert distill.distill(replace(base, epochs=1, device_batch_size=3)).present
    assert "fkl, " in distill.summary(made)
    with pytest.raises(ArtefactError, match=r"another student \(it differs in: --lr\)"):
        distill.distill(replace(base, epochs=1, rate=2e-3))


def test_data_that_have_changed_are_not_gone_on_with(base, models, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        kill_at(patch, 5)
        with pytest.raises(Killed):
            distill.distill(base)
    monkeypatch.setattr("harness_taid.training.distill.content_hash", lambda items: "another")
    with pytest.raises(HarnessError, match="the data have changed"):
        distill.distill(base)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objective": "nothing"}, "--objective nothing"),
        ({"settings": {"beta": 1}}, "objective fkl has no setting 'beta'"),
        ({"objective": "js", "settings": {"beta": 2.0}}, "out of range"),
        ({"compat": "other"}, "--compat other"),
        ({"teacher": None}, "--objective fkl needs --teacher"),
        ({"teacher": "./none"}, "no such folder"),
        ({"student": "./none"}, "no such folder"),
        ({"student": "scratch:large"}, "LAYERSxHIDDEN"),
        ({"student": "scratch:1x33"}, "does not divide"),
        ({"student": "scratch:1x32", "teacher": None, "objective": "sft"}, "give --teacher"),
        ({"data": "none.jsonl"}, "no such file or folder"),
        ({"teacher_logits": "none"}, "--teacher-logits none: no such folder"),
        ({"rate": 0.0}, "--lr"),
        ({"rate": math.nan}, "--lr"),
        ({"epochs": 0}, "--epochs"),
        ({"steps": -1}, "--steps"),
        ({"warmup": 1.0}, "--warmup"),
        ({"dtype": "float16"}, "--dtype float16"),
        ({"loss_on": "prompt"}, "--loss-on prompt"),
        ({"sampler": "some"}, "--sampler some"),
        ({"sampler": "adaptive", "dev_rows": 0}, "--dev-rows"),
        ({"sampler": "mixed", "loss_on": "all"}, "no --loss-on all"),
        ({"objective": "minillm", "sampler": "mixed"}, "no --sampler mixed"),
        ({"objective": "sft", "sampler": "mixed"}, "needs a teacher"),
        ({"objective": "sft", "select": "kl"}, "--select kl needs a teacher"),
        ({"limits": Limits(prompt=0)}, "--max-prompt"),
        ({"track": ("nothing",)}, "--track nothing: use some of aim, .*, wandb"),
        ({"track": ("dvclive",)}, "--track dvclive: dvclive is not installed; install it, or"),
        ({"limits": Limits(prompt=1)}, "no row of 28 can be used"),
    ],
)
def test_bad_options_are_one_line(base, changed, message):
    from pathlib import Path

    if "teacher_logits" in changed:
        changed = {"teacher_logits": Path(changed["teacher_logits"])}
    with pytest.raises(HarnessError, match=message) as caught:
        distill.distill(replace(base, **changed))
    assert "\n" not in str(caught.value)
    assert not base.out.exists()


def test_a_folder_that_cannot_be_written_is_told_first(base, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="no folder that can be written to"):
        distill.distill(replace(base, out=tmp_path / "file" / "out"))


@pytest.mark.parametrize("text", ["4", "0,8", "a,b", "4,0"])
def test_an_adapter_has_a_rank_and_an_alpha(text):
    with pytest.raises(HarnessError, match="give rank and alpha"):
        Lora.parse(text)


def test_the_command_says_what_was_made(models, data, tmp_path):
    command = ["distill", "--teacher", models[0], "--student", models[1], "--data", data]
    command += ["--out", str(tmp_path / "out"), "--objective-args", "t_start=0.2,adaptive=false"]
    command += ["--steps", "2", "--batch-size", "8", "--dev-rows", "2", "--device", "cpu"]
    for state in ("written", "already there"):
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0
        assert f"({state}): taid, 26 exchanges, step" in done.output
    found = tiny.lines(tmp_path / "out")
    assert [line["t"] for line in found if "t" in line] == [0.2, 1.0]
    with pytest.raises(HarnessError, match="is not name=value"):
        CliRunner().invoke(app, [*command, "--objective-args", "t"], catch_exceptions=False)


def test_options_are_checked_without_torch(tmp_path):
    """A missing file is told before anything heavy is imported."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from harness_taid.training import options; "
        "o = options.Options(out=Path('x'), student='testbed:student', data='none.jsonl', "
        "teacher='testbed:teacher')\n"
        "try: options.check(o)\n"
        "except Exception as e: print(e, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("--data none.jsonl: no such file")
    assert done.stdout.strip().endswith("False False")


def test_rates_are_the_objectives_own():
    given = {"out": "x", "student": "s", "data": "d"}
    assert Options(**given).learning_rate == 1e-4
    minillm = Options(objective="minillm", **given)
    assert (minillm.learning_rate, minillm.sampling) == (5e-6, "on_policy")
    assert options.Options(sampler="mixed", **given).sampling == "mixed"
