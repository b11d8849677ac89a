from __future__ import annotations

import json
import math

import pytest
import torch
from harness_specdecode import metrics
from harness_specdecode.couplings import couplings
from harness_specdecode.couplings.agreement import record, sampled_hits
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.data import prompts
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml
from transformers import AutoTokenizer

from harness import compose
from harness.errors import DataError, HarnessError
from harness.host.task_files import task_folder
from harness.testbed import model_path

SpeculativeHF = compose("hf-speculative")

FOLDER = task_folder("specdecode")
DRAWS, LENGTH = 30, 5


@pytest.fixture(scope="module")
def pair():
    return SpeculativeHF(
        "testbed:teacher", drafter="testbed:student", seed=5, device="cpu", batch_size=3
    )


def manager(**metadata):
    return TaskManager(include_path=str(FOLDER), include_defaults=False, metadata=metadata)


def evaluate(model, **options):
    return simple_evaluate(
        model=model,
        tasks=["specdecode_coupling"],
        task_manager=manager(data="testbed", coupling_draws=DRAWS),
        limit=4,
        bootstrap_iters=100,
        apply_chat_template=True,
        **{"gen_kwargs": f"max_gen_toks={LENGTH},temperature=0.8"} | options,
    )


@pytest.fixture(scope="module")
def results(pair):
    return evaluate(pair)


def request(text="What is the theater like?", draws=DRAWS, place=0, **options):
    settings = {"until": [], "max_gen_toks": LENGTH, "do_sample": True, "temperature": 0.8}
    doc = {"coupling_draws": draws}
    return Instance(
        "generate_until", doc, (text, settings | options), 0, ("specdecode_coupling", place, 1)
    )


def test_every_file_loads_strictly():
    for path in sorted(FOLDER.glob("*.yaml")):
        assert load_yaml(path), path


def test_trajectory_and_closed_forms_by_one_full_pass(pair, results):
    """Each position again: both models on the whole text at once, the noise by hand."""
    for sample in results["samples"]["specdecode_coupling"]:
        prompt = pair.tok_encode(sample["arguments"][0][0])
        positions = sample["agreement_gumbel"]["positions"]
        tokens = [at["token"] for at in positions]
        whole = torch.tensor([prompt + tokens])
        with torch.inference_mode():
            p, q = (
                torch.log_softmax(model(whole).logits[0, len(prompt) - 1 : -1].double() / 0.8, -1)
                for model in (pair.model, pair.drafts.model)
            )
        key, *draws = (request_key(5, prompt, repeat) for repeat in range(1 + DRAWS))
        for t, at in enumerate(positions):
            assert at["position"] == t
            assert (p[t] + Noise(5).gumbel([key], t, p.shape[-1])[0]).argmax() == tokens[t]
            distance = (p[t].exp() - q[t].exp()).abs().sum().item() / 2
            assert at["total_variation"] == pytest.approx(distance, abs=1e-5)
            gumbel = couplings.agreement_gumbel(p[t].exp(), q[t].exp()).item()
            assert at["agreement_gumbel"] == pytest.approx(gumbel, abs=1e-5)
            hits = sampled_hits(p[t].exp(), q[t].exp(), Noise(5), draws, t)
            for name, found in hits.items():
                assert at[f"empirical_{name}"] == found / DRAWS
        assert sample["resps"][0][0] == pair.tok_decode(tokens)
        assert len(tokens) == LENGTH or tokens[-1] == pair.eot_token_id


def test_metrics_are_means_over_all_positions(results):
    better = results["higher_is_better"]["specdecode_coupling"]
    assert {better[name] for name in ("z_optimal", "z_gumbel", "z_minhash")} == {None}
    figures = results["results"]["specdecode_coupling"]
    samples = results["samples"]["specdecode_coupling"]
    positions = [at for sample in samples for at in sample["agreement_gumbel"]["positions"]]
    assert len(positions) > 10
    for name in (
        "total_variation", "lower_bound", "agreement_optimal", "agreement_gumbel",
        "agreement_minhash", "empirical_optimal", "empirical_gumbel", "empirical_minhash",
    ):  # fmt: skip
        mean = sum(at[name] for at in positions) / len(positions)
        assert figures[f"{name},none"] == pytest.approx(mean)
        assert figures[f"{name}_stderr,none"] > 0
    for name in ("optimal", "gumbel", "minhash"):
        expected = [at[f"agreement_{name}"] for at in positions]
        excess = sum(
            DRAWS * (at[f"empirical_{name}"] - a) for at, a in zip(positions, expected, strict=True)
        )
        z = excess / math.sqrt(sum(DRAWS * a * (1 - a) for a in expected))
        assert figures[f"z_{name},none"] == pytest.approx(z)
        assert abs(z) < 3
    low, high = figures["agreement_gumbel_ci95,none"]
    assert low <= figures["agreement_gumbel,none"] <= high
    assert results["config"]["drafter"] == "testbed:student"
    assert results["config"]["noise_seed"] == 5
    assert results["configs"]["specdecode_coupling"]["metadata"]["coupling_draws"] == DRAWS
    json.dumps(results["samples"], default=str)


def test_a_row_alone_is_the_row_in_a_batch(pair):
    texts = ["What is the theater like?", "Hi", "Give me some facts about the workshop."]
    batch = pair.generate_until([request(t) for t in texts], disable_tqdm=True)
    for text, together in zip(texts, batch, strict=True):
        alone = pair.generate_until([request(text)], disable_tqdm=True)[0]
        assert str(alone) == str(together)
        for one, other in zip(
            alone.trace["coupling"]["positions"],
            together.trace["coupling"]["positions"],
            strict=True,
        ):
            assert one == pytest.approx(other, abs=1e-5)


def test_a_drafter_that_is_the_target_always_agrees(pair):
    twin = SpeculativeHF("testbed:student", drafter="testbed:student", device="cpu")
    answer = twin.generate_until([request()], disable_tqdm=True)[0]
    for at in answer.trace["coupling"]["positions"]:
        assert at["total_variation"] == pytest.approx(0)
        assert at["empirical_gumbel"] == at["empirical_minhash"] == at["empirical_optimal"] == 1


def test_other_requests_are_the_stock_models(pair):
    stock = HFLM(str(model_path("teacher")), device="cpu", batch_size=3)
    turn = "<|user|>\nWhat is the theater like?\n<|assistant|>\n"
    greedy = {"until": ["."], "max_gen_toks": 6, "do_sample": False}
    asked = [Instance("generate_until", {}, (turn, greedy), 0, ("other", 0, 1))]
    both = [*asked, request()]
    answers = pair.generate_until(both, disable_tqdm=True)
    assert answers[0] == stock.generate_until(asked, disable_tqdm=True)[0]
    assert answers[1].trace["coupling"]["draws"] == DRAWS
    scored = [Instance("loglikelihood", {}, (turn, "The"), 0, ("other", 0, 1))]
    assert pair.loglikelihood(scored)[0] == pytest.approx(stock.loglikelihood(scored)[0])


def test_a_prompt_too_long_for_both_contexts_is_cut(pair, caplog):
    text = "What is the theater like? " * 300
    found = pair.generate_until([request(text, draws=2, max_gen_toks=2)], disable_tqdm=True)[0]
    assert len(found.trace["coupling"]["positions"]) <= 2
    assert "is cut to its last 1022" in caplog.text
    with pytest.raises(HarnessError, match="leaves no room for a prompt"):
        pair.generate_until([request(max_gen_toks=2000)], disable_tqdm=True)


def test_a_wider_or_narrower_drafter_is_read_over_the_targets_ids():
    from harness_specdecode.decoding.rounds import of_width

    assert of_width(torch.zeros(1, 2), 3).tolist() == [[0, 0, -math.inf]]
    assert of_width(torch.arange(4.0)[None], 3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, "give a temperature above 0"),
        ({"do_sample": False}, "do_sample=False: couplings are of samples"),
        ({"top_k": 5}, "leave out top_k in --gen_kwargs"),
        ({"until": ["."]}, "leave out until"),
    ],
)
def test_what_is_not_measured_is_refused(pair, options, words):
    with pytest.raises(HarnessError, match=words):
        pair.generate_until([request(**options)], disable_tqdm=True)


def test_a_stock_model_is_told_what_to_run():
    with pytest.raises(
        HarnessError, match="run it with --model hf-speculative --model_args pretrained="
    ):
        evaluate(HFLM(str(model_path("student")), device="cpu"))


def test_another_vocabulary_is_refused(tmp_path):
    import shutil

    shutil.copytree(model_path("student"), tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "other")
    tokenizer.add_tokens(["zyx"])
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(
        HarnessError, match=r"another vocabulary .* 1 entries differ\): take a drafter"
    ):
        SpeculativeHF("testbed:teacher", drafter=str(tmp_path / "other"), device="cpu")


def test_missing_models_and_caches_are_refused(pair, tmp_path, caplog):
    with pytest.raises(HarnessError, match="drafter=none is none: give --model_args"):
        alone = SpeculativeHF("testbed:student", device="cpu")
        alone.generate_until([request()], disable_tqdm=True)
    with pytest.raises(HarnessError, match="drafter: no folder 'nowhere/nothing' is here"):
        SpeculativeHF("testbed:teacher", drafter="nowhere/nothing", device="cpu")
    with pytest.raises(HarnessError, match="nowhere/nothing cannot be loaded"):
        SpeculativeHF("nowhere/nothing", drafter="testbed:student", device="cpu")
    assert "larger than the target" not in caplog.text
    SpeculativeHF("testbed:student", drafter="testbed:teacher", device="cpu")
    assert "drafter testbed:teacher is larger than the target" in caplog.text
    with pytest.raises(HarnessError, match="--use_cache keeps answers by prompt alone"):
        evaluate(pair, use_cache=str(tmp_path / "cache"))


def test_items_by_hand():
    closed = {"agreement_optimal": 0.5, "agreement_gumbel": 0.25, "agreement_minhash": 1.0}
    one = record(closed, {"optimal": 3, "gumbel": 1, "minhash": 4}, 4)
    two = record(closed, {"optimal": 1, "gumbel": 2, "minhash": 4}, 4)
    assert one["empirical_optimal"] == 0.75
    assert one["empirical_optimal_stderr"] == pytest.approx(math.sqrt(3) / 8)
    assert metrics.mean_item([one, two], "empirical_gumbel") == {"sum": 0.75, "n": 2}
    gumbel, minhash = (metrics.z_item([one, two], name, 4) for name in ("gumbel", "minhash"))
    assert gumbel == {"excess": 1.0, "variance": 1.5}
    assert metrics.z_score([gumbel, gumbel]) == pytest.approx(2 / math.sqrt(3))
    assert metrics.z_score([minhash]) == 0.0
    assert metrics.z_score([{"excess": -1.0, "variance": 0.0}]) == -math.inf
    items = [{"sum": 1.0, "n": 1}, {"sum": 1.0, "n": 3}]
    assert metrics.agreement_gumbel(items) == 0.5


# Prompts


def row(number, category, *turns):
    return {"question_id": number, "category": category, "turns": list(turns)}


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def test_categories_take_turns(tmp_path):
    rows = [row(k, "qa" if k < 4 else "math", f"prompt {k}", "second") for k in range(6)]
    path = write(tmp_path / "question.jsonl", rows)
    for place in (path, str(tmp_path)):
        found = prompts.coupling_prompts(specbench_data=place, data="hub", coupling_draws=7)
        assert [r["question_id"] for r in found.rows] == [0, 4, 1, 5, 2, 3]
        assert found.rows[1] == {
            "question_id": 4, "category": "math", "prompt": "prompt 4", "coupling_draws": 7,
        }  # fmt: skip
        assert found.source.kind == "folder"
    assert len(prompts.coupling_prompts(data="testbed").rows) == 120


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "question.jsonl has no rows"),
        ([row(1, "qa")], r"row 1: turns is to be a list of texts"),
        ([row(1, "qa", "x"), row(2, "qa", 3)], r"row 2: turns is to be a list of texts"),
        ([{"question_id": 1, "turns": ["x"]}], r"missing column\(s\) category"),
    ],
)
def test_bad_rows_are_refused(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        prompts.coupling_prompts(data=write(tmp_path / "question.jsonl", rows))


def test_bad_sources_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no question\.jsonl"):
        prompts.coupling_prompts(data=str(tmp_path))
    with pytest.raises(DataError, match="coupling_draws=1: give a whole number of at least 2"):
        prompts.coupling_prompts(data="testbed", coupling_draws=1)


def test_without_network_the_three_ways_are_named(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(
        DataError, match=r"question.jsonl: HF_HUB_OFFLINE is set.*data=testbed.*specbench_data="
    ):
        prompts.coupling_prompts()
