"""vllm-fact-checker on a real CPU engine, against plain transformers and lm-eval's own vllm."""

from __future__ import annotations

import copy
import gc
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_forking import EngineForking
from forking import Forking
from harness_factcg.checking import families
from harness_factcg.checking.chunking import split_sentences
from harness_factcg.checking.verdicts import log_sigmoid, prompt
from lm_eval.api.instance import Instance
from transformers import AutoModelForCausalLM, AutoTokenizer

from factcg.made_up import CITIES, NAMES, document
from harness.asking.store import Store
from harness.errors import HarnessError
from harness.models.responses import margin, trace_of
from harness.testbed import resolve

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # of vLLM's own imports
]

TEACHER = "testbed:teacher"
WINDOW = 512
ENGINE: dict[str, Any] = {  # small blocks keep prefixes of short prompts
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": WINDOW,
    "max_num_seqs": 16,
    "block_size": 32,
    "kv_cache_memory_bytes": 2**26,
    "disable_log_stats": False,
    "seed": 0,
}
NEAR = 1e-4  # nats, float32


@pytest.fixture(scope="module")
def lm() -> Iterator[Any]:
    from harness import compose

    FactCheckerVLLM = compose("vllm-fact-checker")

    made = FactCheckerVLLM(TEACHER, **ENGINE)
    try:
        yield made
    finally:
        made.model.llm_engine.engine_core.shutdown()
        del made.model
        gc.collect()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve(TEACHER))


@pytest.fixture(scope="module")
def plain(tokenizer: Any) -> Callable[..., float]:
    """log P(Yes) − log P(No) of the next token after a text or ids, by transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(resolve(TEACHER), dtype=torch.float32).eval()

    @torch.inference_mode()
    def next_word(text: str | list[int], space: str = " ") -> float:
        ids = tokenizer(text)["input_ids"] if isinstance(text, str) else text
        found = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        yes, no = (tokenizer("Answer:" + space + word)["input_ids"][-1] for word in ("Yes", "No"))
        return float(found[yes] - found[no])

    return next_word


@pytest.fixture
def asked(lm: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The engine's outputs during a test, one a prompt, in the order they were asked."""
    outputs: list[Any] = []
    stock = lm.asker.reader._generate

    def generate(*args: Any, **options: Any) -> Any:
        found = stock(*args, **options)
        outputs.extend(found)
        return found

    monkeypatch.setattr(lm.asker.reader, "_generate", generate)
    return outputs


def put(lm: Any, name: str, **changes: Any) -> Any:
    """The same model, its rows put as another family has it."""
    other = copy.copy(lm)
    other.asker = copy.copy(lm.asker)
    found = replace(families.find(name, "causal"), max_length=WINDOW - 1)
    other.asker.family = replace(found, **changes)
    return other


def both(doc: str, claim: str, text: str | None = None, space: str = " ", row: int = 0) -> Any:
    """The two requests of a row, No and Yes, as lm-eval's multiple_choice makes them."""
    context = prompt(doc, claim) if text is None else text
    return [
        Instance(
            "loglikelihood",
            {"doc": doc, "claim": claim},
            (context, space + word),
            number,
            ("llm_aggrefact_wice", row, 1),
        )
        for number, word in enumerate(("No", "Yes"))
    ]


def margins(lm: Any, requests: list[Any]) -> list[float]:
    """One margin for every two requests."""
    found = lm.loglikelihood(requests, disable_tqdm=True)
    return [margin(no, yes) for no, yes in zip(found[::2], found[1::2], strict=True)]


def claim(k: int) -> str:
    return f"{NAMES[k % 6]} lives in {CITIES[(k * 7 + k // 6) % 6]}."


def rows(documents: int = 3, claims: int = 4, sentences: int = 8) -> list[tuple[str, str]]:
    return [(document(sentences, d), claim(d + c)) for c in range(claims) for d in range(documents)]


def test_margins_equal_plain_transformers(lm: Any, plain: Any) -> None:
    """log-odds of the next token, and answers that go with them."""
    asked = rows()
    found = lm.loglikelihood([r for row in asked for r in both(*row)], disable_tqdm=True)
    expected = [plain(prompt(*row)) for row in asked]
    assert len({round(m, 3) for m in expected}) > 6
    for no, yes, m in zip(found[::2], found[1::2], expected, strict=True):
        assert margin(no, yes) == pytest.approx(m, abs=NEAR)
        assert yes[0] == pytest.approx(log_sigmoid(m), abs=NEAR)
        assert (no[1], yes[1]) == (m < 0, m > 0)
        assert trace_of(yes)["score"] == pytest.approx(1 / (1 + math.exp(-m)), abs=NEAR)


def test_two_choices_cost_one_token_and_equal_rows_nothing(lm: Any, asked: list[Any]) -> None:
    pairs = rows(2, 3)
    found = margins(lm, [r for row in [*pairs, *pairs] for r in both(*row)])
    assert len(asked) == len(pairs)
    assert {len(output.outputs[0].token_ids) for output in asked} == {1}
    assert all(output.prompt_logprobs is None for output in asked)
    assert found[: len(pairs)] == found[len(pairs) :]


def test_answers_come_in_the_order_of_the_requests(lm: Any, plain: Any, asked: list[Any]) -> None:
    """Asked document by document, whatever the order in which the rows come."""
    mixed = rows(3, 4)
    random.Random(1).shuffle(mixed)
    found = margins(lm, [r for row in mixed for r in both(*row)])
    assert found == pytest.approx([plain(prompt(*row)) for row in mixed], abs=NEAR)
    beginnings = [tuple(output.prompt_token_ids[:40]) for output in asked]
    changes = sum(a != b for a, b in pairwise(beginnings))
    assert changes == len(set(beginnings)) - 1 == 2


def test_kept_prefixes_change_nothing(lm: Any, asked: list[Any]) -> None:
    """Against the same engine, told not to read its cache."""
    requests = [r for row in rows(2, 5, 12) for r in both(*row)]
    lm.model.reset_prefix_cache()
    kept = margins(lm, requests)
    assert sum(output.num_cached_tokens for output in asked) > 0
    asked.clear()
    stock = lm.asker.reader._generate

    def without(prompts: Any, sampling_params: Any) -> Any:
        for sampling in sampling_params:
            sampling.skip_reading_prefix_cache = True
        return stock(prompts, sampling_params=sampling_params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm.asker.reader, "_generate", without)
        computed = margins(lm, requests)
    assert [output.num_cached_tokens for output in asked] == [0] * 10
    assert kept == pytest.approx(computed, abs=NEAR)


def prefix_cache(lm: Any) -> tuple[int, int]:
    """Tokens looked up in the prefix cache since the engine's start, and found in it."""
    values = {
        metric.name: metric.value for metric in lm.model.get_metrics() if "_cache_" in metric.name
    }
    return values["vllm:prefix_cache_queries"], values["vllm:prefix_cache_hits"]


def test_ten_claims_of_a_document_compute_it_once(lm: Any, tokenizer: Any) -> None:
    """By vLLM's own metrics; and each row's trace tells the same."""
    documents = [document(36, d) for d in range(4)]
    tokens = [len(tokenizer(prompt(text, claim(0)))["input_ids"]) for text in documents]
    assert 400 < min(tokens) <= max(tokens) < WINDOW
    requests = [r for c in range(10) for text in documents for r in both(text, claim(c))]
    lm.model.reset_prefix_cache()
    before = prefix_cache(lm)
    traces = [trace_of(answer) for answer in lm.loglikelihood(requests, disable_tqdm=True)]
    looked_up, found = (b - a for a, b in zip(before, prefix_cache(lm), strict=True))
    assert looked_up == sum(trace["prompt_tokens"] for trace in traces[::2])
    assert found == sum(trace["cached_tokens"] for trace in traces[::2])
    assert found / looked_up > 0.8


def test_trace(lm: Any) -> None:
    (_, answer) = lm.loglikelihood(both(document(8), claim(1)), disable_tqdm=True)
    trace = trace_of(answer)
    assert {name: trace[name] for name in ("chunks", "deciding_chunk", "truncated", "family")} == {
        "chunks": 1,
        "deciding_chunk": 0,
        "truncated": False,
        "family": "factcg",
    }
    assert trace["deciding_text"] == document(8)
    assert trace["seconds"] > 0
    assert trace["prompt_tokens"] > trace["cached_tokens"] >= 0
    assert json.loads(json.dumps(trace)) == trace
    info = lm.get_model_info()
    assert info["method"] == "fact-checker"
    assert (
        info["method_args"]
        | {
            "family": "factcg",
            "chunk_size": None,
            "max_length": WINDOW - 1,
            "overlong": "split",
        }
        == info["method_args"]
    )
    assert len(info["artefact_hash"]) == 64


def test_chunks_and_their_best(lm: Any, plain: Any) -> None:
    """Each chunk in a prompt of its own; chunks of ten word tokens are sentences here."""
    checker = put(lm, "factcg", chunk_size=12)
    asked = rows(2, 3, 5)
    answers = checker.loglikelihood([r for row in asked for r in both(*row)], disable_tqdm=True)
    for (text, claimed), no, yes in zip(asked, answers[::2], answers[1::2], strict=True):
        each = [plain(prompt(chunk, claimed)) for chunk in split_sentences(text)]
        assert margin(no, yes) == pytest.approx(max(each), abs=NEAR)
        assert trace_of(yes)["chunks"] == len(each) == 5
        assert trace_of(yes)["deciding_chunk"] == each.index(max(each))


def test_minicheck_7b_is_the_worst_sentences_best_chunk(lm: Any, plain: Any) -> None:
    checker = put(lm, "minicheck-7b", chunk_size=24)
    text = document(6)
    sentences = split_sentences(text)
    pieces = [" ".join(sentences[k : k + 2]) for k in (0, 2, 4)]
    for first in range(4):
        parts = [claim(first), claim(first + 1), "The old mill is near."]
        no, yes = checker.loglikelihood(both(text, " ".join(parts)), disable_tqdm=True)
        table = [[plain(prompt(piece, part)) for piece in pieces] for part in parts]
        bests = [max(line) for line in table]
        worst = bests.index(min(bests))
        assert margin(no, yes) == pytest.approx(min(bests), abs=NEAR)
        trace = trace_of(yes)
        assert trace["chunks"] == 3
        assert trace["deciding_chunk"] == table[worst].index(max(table[worst]))
        assert trace["deciding_text"] == pieces[trace["deciding_chunk"]]
        assert [s["text"] for s in trace["sentences"]] == parts
    whole = put(lm, "minicheck-7b")
    no, yes = whole.loglikelihood(both(text, f"{claim(0)} {claim(3)}"), disable_tqdm=True)
    expected = min(plain(prompt(text, part)) for part in (claim(0), claim(3)))
    assert margin(no, yes) == pytest.approx(expected, abs=NEAR)
    assert trace_of(yes)["chunks"] == 1


def test_a_document_longer_than_the_window_is_halved(lm: Any, plain: Any) -> None:
    text = document(60)
    no, yes = lm.loglikelihood(both(text, claim(2)), disable_tqdm=True)
    trace = trace_of(yes)
    assert trace["chunks"] > 1
    assert not trace["truncated"]
    assert margin(no, yes) == pytest.approx(
        plain(prompt(trace["deciding_text"], claim(2))), abs=NEAR
    )


def test_a_document_longer_than_the_window_is_cut_before_the_claim(
    lm: Any, plain: Any, tokenizer: Any
) -> None:
    checker = copy.copy(lm)
    checker.asker = copy.copy(lm.asker)
    checker.asker._overlong = "cut"
    text = document(60)
    no, yes = checker.loglikelihood(both(text, claim(2)), disable_tqdm=True)
    whole = tokenizer(prompt(text, claim(2)))["input_ids"]
    begin = len(tokenizer(text)["input_ids"])
    kept = WINDOW - 1 - (len(whole) - begin)
    ids = whole[:kept] + whole[begin:]
    assert len(ids) == WINDOW - 1 < len(whole)
    assert claim(2) in tokenizer.decode(ids)
    assert margin(no, yes) == pytest.approx(plain(ids), abs=NEAR)
    assert trace_of(yes)["truncated"]
    assert trace_of(yes)["chunks"] == 1


def test_a_chat_template_keeps_the_document_in_front(
    lm: Any, plain: Any, tokenizer: Any, asked: list[Any]
) -> None:
    """Around the whole prompt, and around each chunk's; kept prefixes are shared within it."""

    def chat(text: str) -> str:
        return str(lm.apply_chat_template([{"role": "user", "content": text}]))

    def ids(text: str) -> list[int]:
        return list(tokenizer(chat(text), add_special_tokens=False)["input_ids"])

    space = "\n"
    lm.model.reset_prefix_cache()
    pairs = [(document(20, 1), claim(c)) for c in range(5)]
    requests = [r for p in pairs for r in both(*p, text=chat(prompt(*p)), space="")]
    found = margins(lm, requests)
    assert found == pytest.approx([plain(ids(prompt(*p)), space) for p in pairs], abs=NEAR)
    assert [output.num_cached_tokens > 250 for output in asked] == [False, *[True] * 4]
    chunked = margins(put(lm, "factcg", chunk_size=12), requests[:2])
    each = [plain(ids(prompt(s, claim(0))), space) for s in split_sentences(document(20, 1))]
    assert chunked == [pytest.approx(max(each), abs=NEAR)]


def other_prompts() -> list[Any]:
    """Yes/No questions without a document, some answered in another spelling."""
    asked = [("Is the old house green? Answer:", " "), ("The garden is small. True?", " ")]
    return [
        Instance("loglikelihood", {"question": text}, (text, space + word), n, ("boolq", row, 1))
        for row, (text, space) in enumerate(asked)
        for n, word in enumerate(("No", "Yes"))
    ]


def test_other_prompts_are_answered_as_by_stock_vllm(lm: Any) -> None:
    """The words' own log-probabilities and greediness; a row worded otherwise is such a prompt."""
    from lm_eval.models.vllm_causallms import VLLM

    text = f"Read this: {document(4)} Now, is it so that {claim(1)} Say it:"
    requests = [*other_prompts(), *both(document(4), claim(1), text=text)]
    found = lm.loglikelihood(requests, disable_tqdm=True)
    stock = VLLM.loglikelihood(lm, requests, disable_tqdm=True)
    assert [a[0] for a in found] == pytest.approx([a[0] for a in stock], abs=NEAR)
    assert [a[1] for a in found] == [a[1] for a in stock]
    assert "chunks" not in trace_of(found[-1])


def test_margins_equal_stock_vllm(lm: Any) -> None:
    from lm_eval.models.vllm_causallms import VLLM

    requests = [r for row in rows(2, 3) for r in both(*row)]
    stock = VLLM.loglikelihood(lm, requests, disable_tqdm=True)
    expected = [margin(no, yes) for no, yes in zip(stock[::2], stock[1::2], strict=True)]
    assert margins(lm, requests) == pytest.approx(expected, abs=NEAR)


def test_texts_are_generated_as_by_stock_vllm(lm: Any) -> None:
    from lm_eval.models.vllm_causallms import VLLM

    kwargs = {"until": [], "max_gen_toks": 8, "do_sample": False}
    request = Instance("generate_until", {}, ("The old house", kwargs), 0, ("other", 0, 1))
    (found,) = lm.generate_until([request], disable_tqdm=True)
    assert found
    assert [found] == VLLM.generate_until(lm, [request], disable_tqdm=True)


def test_a_rerun_asks_the_engine_nothing(lm: Any, asked: list[Any], tmp_path: Path) -> None:
    def stored() -> Any:
        other = copy.copy(lm)
        other.asker = copy.copy(lm.asker)
        other.asker.reader = copy.copy(lm.asker.reader)
        other.asker.reader._store = Store(tmp_path / "answers.jsonl")
        return other

    requests = [*[r for row in rows(2, 3) for r in both(*row)], *other_prompts()]
    first = stored().loglikelihood(requests[:6], disable_tqdm=True)
    assert len(asked) == 3
    again = stored().loglikelihood(requests, disable_tqdm=True)
    assert len(asked) == 3 + 3 + 2
    assert again[:6] == first
    assert stored().loglikelihood(requests, disable_tqdm=True) == again
    assert len(asked) == 8


def test_what_a_running_engine_refuses(lm: Any) -> None:
    def refused(requests: list[Any], message: str, checker: Any = lm) -> None:
        with pytest.raises(HarnessError, match=message) as problem:
            checker.loglikelihood(requests, disable_tqdm=True)
        assert "\n" not in str(problem.value)

    third = Instance("loglikelihood", {}, ("Is it?", " maybe"), 0, ("boolq", 7, 1))
    refused([third], r"task boolq, row 7: vllm-fact-checker answers Yes or No, not ' maybe'")
    endless = "The house is green. " * 200
    refused(
        [Instance("loglikelihood", {}, (endless, " Yes"), 0, ("boolq", 3, 1))],
        r"task boolq, row 3: the prompt is \d+ tokens long, the model reads 511",
    )
    refused(both(document(4), endless, row=5), r"llm_aggrefact_wice, row 5: claim and question")
    refused(both(" ", claim(1), row=2), r"llm_aggrefact_wice, row 2: doc is empty or no text")
    refused(both(document(4), "", row=2), r"row 2: claim is empty or no text")
    many = put(lm, "factcg", yes="Undeniably")
    refused(both(document(4), claim(1)), r"' Undeniably' is \[.*no=WORD,yes=WORD", many)
    told = copy.copy(lm)
    told._asks_rows = True
    refused(both(document(4), claim(1), text="Is it?"), r"row 0: the task words its prompt", told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": "testbed:checker"}, r"no language model but .*use --model hf-fact-checker"),
        ({"pretrained": "testbed:nobody"}, r"testbed: no model 'nobody'"),
        ({"pretrained": "/nowhere/model"}, r"checkpoint '/nowhere/model': no such folder"),
        ({"family": "factcheck"}, r"family=factcheck: use one of factcg, minicheck"),
        ({"chunk_size": 0}, r"chunk_size=0: a whole number above 0"),
        ({"aggregation": "median"}, r"aggregation=median: use one of max, min, mean"),
        ({"template": "/nowhere.txt"}, r"template=/nowhere.txt: cannot read"),
        ({"overlong": "drop"}, r"overlong=drop: use split or cut"),
        ({"data_parallel_size": 2}, r"data_parallel_size=2.*use tensor_parallel_size"),
        ({"logprobs_mode": "raw_logits"}, r"logprobs_mode=raw_logits: leave it out"),
        ({"enable_thinking": True}, r"use enable_thinking=False"),
        ({"quantization": "nonsense"}, r"vLLM cannot run testbed:teacher: .*quantization"),
    ],
)
def test_what_is_refused_before_an_engine_starts(arguments: dict[str, Any], message: str) -> None:
    from harness import compose

    FactCheckerVLLM = compose("vllm-fact-checker")

    with pytest.raises(HarnessError, match=message) as refused:
        FactCheckerVLLM(**{"pretrained": TEACHER} | ENGINE | arguments)
    assert "\n" not in str(refused.value)


def test_without_vllm_a_line_says_what_to_install(fresh: Forking) -> None:
    code = (
        "import sys; sys.modules['vllm'] = None\n"
        "from harness.errors import HarnessError\n"
        "from harness import compose\n"
        "try:\n    compose('vllm-fact-checker')\n"
        "except HarnessError as problem:\n    print(problem)"
    )
    done = fresh.run("-c", code)
    assert done.stdout.startswith("vllm-fact-checker needs vLLM: pip install 'paperharness[vllm]'")


def test_the_stock_command_checks_facts_on_vllm(vllm: EngineForking, tmp_path: Path) -> None:
    settings = {"pretrained": TEACHER, "family": "minicheck-7b"} | ENGINE
    command = [
        *("lm_eval", "run", "--model", "vllm-fact-checker"),
        *("--model_args", ",".join(f"{key}={value}" for key, value in settings.items())),
        *("--tasks", "llm_aggrefact_wice", "--metadata", "data=testbed"),
        *("--apply_chat_template", "--output_path", str(tmp_path), "--log_samples"),
    ]
    done = vllm.run(*command, VLLM_ENABLE_V1_MULTIPROCESSING="0")
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(next(tmp_path.rglob("results_*.json")).read_text())
    assert results["config"]["method_args"]["family"] == "minicheck-7b"
    assert 0 <= results["results"]["llm_aggrefact_wice"]["balanced_accuracy,none"] <= 1
    sample = json.loads(next(tmp_path.rglob("samples_*.jsonl")).read_text().splitlines()[0])
    assert sample["balanced_accuracy"]["prompt_tokens"] > 0
    assert sample["balanced_accuracy"]["family_reason"] == "given: family="
