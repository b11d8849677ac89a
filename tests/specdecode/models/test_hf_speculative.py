from __future__ import annotations

import json
import random
import shutil

import pytest
import torch
from harness_specdecode.couplings.noise import Noise, request_key
from harness_specdecode.decoding import settings as settings_module
from harness_specdecode.decoding.settings import settings_of, stop_test
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, MambaConfig

from harness import compose
from harness.errors import HarnessError
from harness.host.task_files import task_folder
from harness.models.responses import trace_of
from harness.testbed import model_path

pytestmark = pytest.mark.long

SpeculativeHF = compose("hf-speculative")

TEXTS = (
    "What is the theater like?",
    "Hi",
    "Give me some facts about the workshop.",
    "Describe the harbour and the harbour and the market.",
    "Tell me about the garden. Tell me about the garden.",
)
GREEDY = {"until": [], "max_gen_toks": 24, "do_sample": False}
SAMPLED = {"until": ["."], "max_gen_toks": 24, "do_sample": True, "temperature": 0.9}
EVERY = ["none", "ngram", "early:2", "testbed:student"]


def turn(text):
    return f"<|user|>\n{text}\n<|assistant|>\n"


def ask(options, texts=TEXTS):
    return [
        Instance("generate_until", {}, (turn(text), dict(options)), k, ("t", k, 1))
        for k, text in enumerate(texts)
    ]


def opened(drafter="testbed:student", **options):
    settings = {"device": "cpu", "batch_size": 3, "seed": 5} | options
    settings = {"adaptive": False} | settings  # which would go by the clock
    return SpeculativeHF("testbed:teacher", drafter=drafter, **settings)


@pytest.fixture(scope="module")
def models():
    return {name: opened(name) for name in EVERY}


@pytest.fixture(scope="module")
def stock():
    return HFLM(str(model_path("teacher")), device="cpu", batch_size=3)


def generate(model, asked):
    return model.generate_until(asked, disable_tqdm=True)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        GREEDY | {"until": [".", " is"]},
        GREEDY | {"until": " the", "max_gen_toks": 9},
        {"max_gen_toks": 12},
        GREEDY | {"repetition_penalty": 1.5},
    ],
)
def test_greedy_answers_are_the_stock_models(models, stock, name, options):
    asked = ask(options)
    one_by_one = options.get("repetition_penalty")  # stock penalises the id that pads a batch
    expected = (
        [generate(stock, [each])[0] for each in asked] if one_by_one else generate(stock, asked)
    )
    assert generate(models[name], asked) == expected
    assert any(expected)


def test_sampled_answers_do_not_depend_on_drafter_length_batch_or_order(models):
    asked = ask(SAMPLED)
    expected = generate(models["none"], asked)
    assert len(set(expected)) == len(TEXTS)
    for name in EVERY[1:]:
        assert generate(models[name], asked) == expected
    order = random.Random(0).sample(range(len(asked)), len(asked))
    for options in ({"gamma": 1, "batch_size": 1}, {"gamma": 8, "adaptive": True, "exact": True}):
        model = opened(**options)
        assert generate(model, [asked[k] for k in order]) == [expected[k] for k in order]
    assert generate(opened(seed=6), asked) != expected
    assert generate(opened(scheme="minhash"), asked) != expected


def test_a_sampled_answer_by_hand(models):
    """Transformers' default top_k = 50, the shared noise, one full pass a token."""
    model = models["testbed:student"]
    answer = generate(model, ask(SAMPLED | {"until": []}))[0]
    ids = model.tok_encode(turn(TEXTS[0]))
    key, text = request_key(5, ids), list(ids)
    while len(text) < len(ids) + 24 and text[-1] not in model.ends():
        with torch.inference_mode():
            logits = model.model(torch.tensor([text])).logits[0, -1]
        scores = logits.clone() / 0.9
        scores[scores < scores.topk(50).values[-1]] = -torch.inf
        noise = Noise(5).gumbel([key], len(text) - len(ids), len(scores))[0]
        text.append(int((scores + noise).argmax()))
    assert answer == model.tok_decode(text[len(ids) :])


def test_repeats_of_a_request_differ_and_come_again(models):
    one = ask(SAMPLED, TEXTS[:1])
    answers = generate(models["none"], one * 3)
    assert len(set(answers)) == 3
    assert generate(models["ngram"], one * 3) == answers
    assert generate(models["none"], ask(SAMPLED, TEXTS[:1]))[0] == answers[0]


def test_a_trace_says_how_it_was_decoded(models):
    model = models["testbed:student"]
    asked = ask(GREEDY | {"max_gen_toks": 30})
    for answer in generate(model, asked):
        trace = trace_of(answer)["speculation"]
        assert set(trace) == {
            "accepted", "proposed", "accepted_at", "target_calls", "drafter_calls", "tokens",
            "seconds", "near_ties", "marks",
        }  # fmt: skip
        kept = [piece for piece, kind in trace["marks"] if kind != "rejected"]
        assert "".join(kept) == str(answer), "the pieces are the answer"
        right = sum(kind == "accepted" for _, kind in trace["marks"])
        assert 0 < right <= trace["accepted"], "a token within a character adds no piece"
        ended = trace["accepted"] + trace["target_calls"] - trace["tokens"]
        assert ended in (0, 1)  # an end among the accepted leaves out the token after it
        assert 0 < trace["accepted"] <= trace["proposed"] <= 5 * trace["target_calls"]
        assert trace["tokens"] > trace["target_calls"]
        json.dumps(trace)
    for answer in generate(models["none"], asked):
        trace = trace_of(answer)["speculation"]
        assert trace["tokens"] == trace["target_calls"]
        assert trace["proposed"] == trace["drafter_calls"] == 0


def test_requests_of_different_options_at_once(models):
    asked = ask(GREEDY)[:2] + ask(SAMPLED)[2:4] + ask(GREEDY | {"max_gen_toks": 3})[4:]
    together = generate(models["testbed:student"], asked)
    assert together == [generate(models["none"], [each])[0] for each in asked]


def test_a_prompt_longer_than_the_context_is_cut_as_stock_cuts_it(models, stock, caplog):
    asked = ask(GREEDY | {"max_gen_toks": 4}, ["What is the theater like? " * 300])
    assert generate(models["testbed:student"], asked) == generate(stock, asked)
    assert "Left truncation applied" in caplog.text
    with pytest.raises(HarnessError, match="max_gen_toks=2000 leaves no room for a prompt"):
        generate(models["none"], ask(GREEDY | {"max_gen_toks": 2000}))


def test_log_likelihoods_are_stock(models, stock):
    asked = [Instance("loglikelihood", {}, (turn(TEXTS[0]), " The"), 0, ("t", 0, 1))]
    assert models["testbed:student"].loglikelihood(asked) == stock.loglikelihood(asked)


YAML = """
task: places
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: generate_until
doc_to_text: prompt
doc_to_target: target
generation_kwargs: {{until: ["."], max_gen_toks: 20, do_sample: false}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


def test_a_stock_task_gives_the_same_answers_and_the_same_metric(models, stock, tmp_path):
    expected = generate(stock, ask(GREEDY | {"until": ["."], "max_gen_toks": 20}))
    rows = [
        {"prompt": text, "target": answer if k % 2 else "something else"}
        for k, (text, answer) in enumerate(zip(TEXTS, expected, strict=True))
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "places.yaml").write_text(YAML.format(file=tmp_path / "rows.json"))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    results = [
        simple_evaluate(
            model=model, tasks=["places"], task_manager=manager, bootstrap_iters=0,
            apply_chat_template=True,
        )
        for model in (stock, models["testbed:student"])
    ]  # fmt: skip
    answers = [[s["resps"] for s in result["samples"]["places"]] for result in results]
    assert answers[0] == answers[1]
    for result in results:
        assert result["results"]["places"]["exact_match,none"] == pytest.approx(2 / 5)
    config = results[1]["config"]
    assert config["drafter"] == "testbed:student"
    assert (config["gamma"], config["scheme"], config["exact"]) == (5, "gumbel", False)
    assert config["speculation"]["accepted"] > 0
    assert config["drafter_num_parameters"] < config["model_num_parameters"]


# Stops and options


def test_a_stop_is_seen_at_the_token_that_completes_it():
    words = ["Hel", "lo", " wo", "rld", "é", "", "##", " END"]

    def decode(ids):
        return "".join(words[i] for i in ids)

    stopped = stop_test(["world", "", "é##"], decode)
    assert [stopped(list(range(k + 1))) for k in range(4)] == [False, False, False, True]
    assert stopped([0] * 50 + [4, 5, 6])
    assert not stopped([0] * 50 + [6, 4])
    assert not stop_test([], decode)([0, 1])
    spelled = stop_test([" END"], lambda ids: "".join(map(chr, ids)).lstrip())
    assert spelled(list(b"at the END"))  # the last tokens alone would lose their space
    assert not spelled(list(b"at the EN"))


def test_options_come_from_the_request_then_the_model_then_transformers():
    model = GenerationConfig(top_p=0.7, repetition_penalty=1.2, temperature=0.3, top_k=None)
    found = settings_of({"temperature": 0.8, "until": "x"}, model, 17, "</s>")
    assert found.sampling.temperature == 0.8
    assert (found.sampling.top_p, found.sampling.top_k) == (0.7, 50)
    assert found.sampling.repetition_penalty == 1.2
    assert (found.length, found.until) == (17, ("x", "</s>"))
    given = {"temperature": 1, "top_k": 0, "top_p": 1.0, "max_new_tokens": 3, "num_beams": 1}
    found = settings_of(given, model, 17, "</s>")
    assert (found.sampling.top_k, found.sampling.top_p, found.length) == (0, 1.0, 3)
    greedy = settings_of({"top_k": 5, "top_p": 0.5}, model, 17, "</s>").sampling
    assert greedy.greedy
    assert (greedy.top_k, greedy.repetition_penalty) == (0, 1.2)


def test_transformers_default_top_k_is_ours():
    from harness_specdecode.decoding.settings import TOP_K
    from transformers.generation.logits_process import TopKLogitsWarper

    model = AutoModelForCausalLM.from_pretrained(model_path("student"))
    config, _ = model._prepare_generation_config(None, do_sample=True)
    found = model._get_logits_processor(config, input_ids_seq_length=1, device="cpu")
    kept = [step.top_k for step in found if isinstance(step, TopKLogitsWarper)]
    assert kept == [TOP_K]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"num_beams": 3},
            "num_beams=3 in --gen_kwargs is not supported by hf-speculative: give n",
        ),
        ({"no_repeat_ngram_size": 2}, "give no_repeat_ngram_size=0 in --gen_kwargs"),
        ({"magic": 1}, "magic in --gen_kwargs is not supported by hf-speculative: leave it out"),
        ({"temperature": -1.0}, "temperature=-1.0: give 0 or more"),
        ({"temperature": 1.0, "top_p": 2}, "top_p=2: give 0 to 1"),
        ({"max_gen_toks": 0}, "max_gen_toks=0: give at least 1"),
    ],
)
def test_options_that_have_no_meaning_are_refused(options, words):
    with pytest.raises(HarnessError, match=words):
        settings_of(options, GenerationConfig(), 17, "</s>")


def test_options_of_the_models_own_configuration_are_refused_too():
    words = r"no_repeat_ngram_size=3 in the model's generation_config\.json is not supported"
    with pytest.raises(HarnessError, match=words):
        settings_of({}, GenerationConfig(no_repeat_ngram_size=3), 17, "</s>")
    settings_of({"no_repeat_ngram_size": 0}, GenerationConfig(no_repeat_ngram_size=3), 17, "</s>")


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        ({"max_new_tokens": 3}, "ends answers earlier than asked (24), as with --model hf"),
        ({"max_new_tokens": 400}, "here it is at most 24, as asked"),
        ({"eos_token_id": None}, "no end token in the model's generation_config.json"),
    ],
)
def test_ends_that_a_models_own_files_set(said, warned, tmp_path, caplog):
    """``hf`` follows them; where the answers would not be what was asked for it is said."""
    folder = tmp_path / "model"
    shutil.copytree(model_path("student"), folder)
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    settings_module._tell.cache_clear()
    options = {"device": "cpu", "batch_size": 3, "dtype": "float64"}
    ours = SpeculativeHF(str(folder), drafter="ngram", adaptive=False, **options)
    answers = ours.generate_until(ask(GREEDY), disable_tqdm=True)
    assert caplog.text.count(warned) == 1
    stock = HFLM(str(folder), **options)
    theirs = stock.generate_until(ask(GREEDY), disable_tqdm=True)
    if said.get("max_new_tokens") == 400:
        assert all(b.startswith(str(a)) for a, b in zip(answers, theirs, strict=True))
        assert sum(map(len, theirs)) > sum(len(str(answer)) for answer in answers)
    else:
        assert [str(answer) for answer in answers] == theirs


# Refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gamma": 0}, "gamma=0: give at least 1, or drafter=none"),
        ({"gamma": 2.5}, "gamma=2.5: give at least 1"),
        ({"scheme": "best"}, "scheme=best: use one of gumbel, minhash, leviathan"),
        ({"exact": True, "dtype": "bfloat16"}, "exact=true needs dtype=float32 or float64"),
        ({"drafter": "early:x"}, "drafter=early:x: give a number of layers"),
        ({"drafter": "early:4"}, "early:4: give 1 to 3 layers of 4"),
        ({"drafter": "nowhere/nothing"}, "drafter: no folder 'nowhere/nothing' is here"),
        ({"attn_implementation": "flex_attention"}, "give attn_implementation=sdpa or eager"),
        ({"seed": -1}, "seed=-1 is out of range"),
    ],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises(HarnessError, match=words):
        opened(**options)


def test_recurrent_models_are_refused_as_target_and_as_drafter(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(model_path("teacher"))
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, state_size=4
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(HarnessError, match="model of type mamba cannot be decoded speculatively"):
        SpeculativeHF(str(tmp_path), device="cpu")
    with pytest.raises(HarnessError, match=r"drafter .*: model of type mamba cannot be decoded"):
        opened(str(tmp_path))


def test_another_vocabulary_and_a_larger_drafter(tmp_path, caplog):
    shutil.copytree(model_path("student"), tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "other")
    tokenizer.add_tokens(["zyx"])
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(HarnessError, match=r"has another vocabulary .* 1 entries differ"):
        opened(str(tmp_path / "other"))
    SpeculativeHF("testbed:student", drafter="testbed:teacher", device="cpu")
    assert "drafter testbed:teacher is larger than the target" in caplog.text


def test_use_cache_is_refused(models, tmp_path):
    with pytest.raises(HarnessError, match="--use_cache keeps answers by prompt alone: neither"):
        simple_evaluate(
            model=models["none"], tasks=["specdecode_coupling"], limit=1,
            use_cache=str(tmp_path / "cache"),
            task_manager=TaskManager(
                include_path=str(task_folder("specdecode")),
                include_defaults=False, metadata={"data": "testbed"},
            ),
        )  # fmt: skip
