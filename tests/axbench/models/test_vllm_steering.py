"""vllm-steered on a real CPU engine, compiled, against hf-steered and against plain vLLM."""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_forking import EngineForking
from forking import Forking
from harness_axbench.methods import editor_for
from harness_axbench.steering.plan import choose
from harness_axbench.steering.positions import Positions
from harness_axbench.steering.steering import KINDS
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM

from axbench.dictionaries import trained
from harness import compose
from harness.errors import ArtefactError, HarnessError
from harness.models.answers import Answers
from harness.models.responses import trace_of
from harness.testbed import model_path

SteeredHF = compose("hf-steered")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # of vLLM's own imports
]

TEACHER = "testbed:teacher"
ENGINE = {  # small steps cut prompts into chunks; small blocks keep prefixes of short prompts
    "dtype": "float32",
    "max_model_len": 512,
    "max_num_batched_tokens": 64,
    "max_num_seqs": 48,
    "block_size": 32,
    "kv_cache_memory_bytes": 2**26,
    "seed": 0,
}
ASKED = (
    "Tell me about the old house.",
    "What is a good way to spend a day in the small town near the river?",
    "Write about a garden.",
    "Describe the morning.",
)
FACTORS = (0.2, 0.6, 1.0, 2.0)
LONG = "the old house near the river has a small garden and a green door and " * 10
PADDING = 0  # token id


@pytest.fixture(scope="module")
def steering() -> Path:
    return trained("diffmean", "bow", "random")


@pytest.fixture(scope="module")
def hf(steering: Path) -> SteeredHF:
    settings: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_size": 16}
    return SteeredHF(TEACHER, steering=str(steering), method="diffmean", **settings)


@contextmanager
def stopping(lm: Any) -> Iterator[Any]:
    try:
        yield lm
    finally:
        lm.model.llm_engine.engine_core.shutdown()
        del lm.model
        gc.collect()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where vLLM keeps what it has compiled."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def lm(steering: Path, compiled: Path) -> Iterator[Any]:
    SteeredVLLM = compose("vllm-steered")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(compiled))
        made = SteeredVLLM(TEACHER, steering=str(steering), method="diffmean", **ENGINE)
    with stopping(made):
        yield made


@pytest.fixture(scope="module")
def plain() -> Iterator[Any]:
    """lm-eval's own ``vllm``; whole prompts in one step."""
    from lm_eval.models.vllm_causallms import VLLM

    settings = ENGINE | {"max_num_batched_tokens": 4096, "enforce_eager": True}
    with stopping(VLLM(str(model_path("teacher")), **settings)) as made:
        yield made


def generation(concept: int | None, factor: float | None, asked: str) -> Any:
    doc = {} if concept is None else {"concept_id": concept, "factor": factor}
    prompt = f"<|user|>\n{asked}\n<|assistant|>\n"
    kwargs = {"until": [], "max_gen_toks": 24, "do_sample": False}
    return Instance("generate_until", doc, (prompt, kwargs), 0, ("axbench_steer", 0, 1))


def mixed() -> list[Any]:
    """8 concepts × 4 factors."""
    return [
        generation(concept, factor, ASKED[(concept + k) % 4])
        for concept in range(8)
        for k, factor in enumerate(FACTORS)
    ]


def tokens(lm: Any, requests: list[Any], kept: list[int] | None = None) -> list[str]:
    """Answers as token ids.

    Args:
        lm: An lm-eval model.
        requests: What it is asked.
        kept: Takes each request's number of prompt tokens that vLLM had computed before.
    """

    def worded(ids: Any) -> str:
        return " ".join(str(int(token)) for token in ids if int(token) != PADDING)

    with pytest.MonkeyPatch.context() as patch:
        if isinstance(lm, HFLM):
            eos = lm.tokenizer.eos_token
            patch.setattr(lm, "tok_decode", lambda ids, **_: eos if ids == 2 else worded(ids))
        else:
            stock = lm.model.generate

            def generate(*args: Any, **options: Any) -> Any:
                outputs = stock(*args, **options)
                for output in outputs:
                    output.outputs[0].text = worded(output.outputs[0].token_ids)
                if kept is not None:
                    kept.extend(output.num_cached_tokens for output in outputs)
                return outputs

            patch.setattr(lm.model, "generate", generate)
        return [str(answer) for answer in lm.generate_until(requests, disable_tqdm=True)]


def under(lm: Any, **changes: Any) -> Any:
    """The same model, under another intervention or at other positions."""
    other = copy.copy(lm)
    other.plan = replace(lm.plan, **changes)
    if isinstance(lm, SteeredHF):
        other._editor = editor_for(lm.model, other.plan)
    else:
        other._positions = Positions.parse(other.plan.positions)
    return other


def test_32_requests_in_one_batch_equal_hf_token_for_token(lm: Any, hf: SteeredHF) -> None:
    found = tokens(lm, mixed())
    assert found == tokens(hf, mixed())
    assert len(set(found)) > 24


def test_answers_are_traced(lm: Any) -> None:
    answer = lm.generate_until([generation(1, 0.6, ASKED[0])], disable_tqdm=True)[0]
    assert trace_of(answer) == lm.plan.steering(1, 0.6).trace()
    info = lm.get_model_info()
    assert (info["method"], info["layer"], info["intervention"]) == ("diffmean", 1, "add")
    assert info["artefact_hash"] == lm.plan.found.sha256


def sampled(requests: list[Any]) -> list[Any]:
    for request in requests:
        request.args[1].update(do_sample=True, temperature=1.0)
    return requests


def test_sampled_answers_belong_to_their_request(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU; with so few tokens in a step that no prompt comes in chunks."""
    monkeypatch.setattr(type(lm), "on_cpu", False)
    pair = sampled(mixed()[1:3])
    together = tokens(lm, pair)
    assert together == [tokens(lm, [request])[0] for request in pair]
    assert together == tokens(lm, pair[::-1])[::-1]
    first, second = tokens(lm, pair[:1] * 2)
    assert first == together[0] != second


def test_sampling_on_a_cpu(lm: Any) -> None:
    """In chunks, where seeds of requests kill vLLM's engine."""
    found = tokens(lm, sampled(mixed()))
    assert found != tokens(lm, mixed())


def test_unsteered_requests_among_steered_ones_equal_plain_vllm(lm: Any, plain: Any) -> None:
    alone = [generation(None, None, asked) for asked in (*ASKED, LONG)]
    zero = [generation(2, 0.0, asked) for asked in ASKED]
    together = tokens(lm, mixed()[:16] + alone + zero + mixed()[16:])
    expected = tokens(plain, alone)
    assert together[16:21] == expected
    assert together[21:25] == expected[:4]


def test_long_prompts_in_chunks_equal_whole_ones(lm: Any, hf: SteeredHF, plain: Any) -> None:
    """Steps of 64 tokens against hf-steered, which runs each prompt whole."""
    requests = [generation(c, f, ASKED[c] + LONG) for c in range(4) for f in (0.4, 1.0)]
    assert (
        len(hf.tokenizer(requests[0].args[0])["input_ids"]) > 2 * ENGINE["max_num_batched_tokens"]
    )
    found = tokens(lm, requests)
    assert found == tokens(hf, requests)
    unsteered = [generation(None, None, ASKED[c] + LONG) for c in range(4)]
    assert tokens(lm, unsteered) == tokens(plain, unsteered)
    assert set(found) - set(tokens(lm, unsteered))


def test_kept_prefixes_are_shared_by_equal_steering_alone(lm: Any, hf: SteeredHF) -> None:
    settings = ((0, 0.6), (0, 2.0), (1, 0.6), (None, None))
    requests = [generation(concept, factor, LONG) for concept, factor in settings]
    lm.model.reset_prefix_cache()
    expected = tokens(hf, requests)
    first: list[int] = []
    again: list[int] = []
    other: list[int] = []
    assert tokens(lm, requests, first) == expected
    assert tokens(lm, requests, again) == expected
    assert first == [0, 0, 0, 0]
    assert min(again) >= 128
    elsewhere = [generation(2, 0.6, LONG), generation(0, 0.61, LONG)]
    assert tokens(lm, elsewhere, other) == tokens(hf, elsewhere)
    assert tokens(under(lm, positions="prompt"), requests[:1], other)
    assert tokens(under(lm, intervention="clamp"), requests[:1], other)
    assert other == [0, 0, 0, 0]


def test_unsteered_prefixes_are_shared_with_requests_that_know_no_steering(lm: Any) -> None:
    lm.model.reset_prefix_cache()
    request = generation(None, None, LONG)
    tokens(lm, [request])
    raw = lm.model.generate([{"prompt_token_ids": lm.tok_encode(request.args[0])}], use_tqdm=False)
    assert raw[0].num_cached_tokens >= 128


@pytest.mark.parametrize("intervention", ["clamp", "min_clamp", "null_out"])
def test_interventions_that_read_the_score_equal_hf(
    lm: Any, hf: SteeredHF, intervention: str
) -> None:
    requests = [*mixed()[::3], generation(3, 0.6, LONG), generation(None, None, ASKED[0])]
    found = tokens(under(lm, intervention=intervention), requests)
    assert found == tokens(under(hf, intervention=intervention), requests)
    assert found != tokens(lm, requests)


@pytest.mark.parametrize("positions", ["prompt", "generated", "4:", "-5:-1", "60:140"])
@pytest.mark.parametrize("intervention", ["add", "clamp"])
def test_positions_equal_hf(lm: Any, hf: SteeredHF, positions: str, intervention: str) -> None:
    """Among them a slice that begins and ends inside chunks of a long prompt."""
    changes = {"positions": positions, "intervention": intervention}
    requests = [*mixed()[1::6], generation(3, 0.6, LONG)]
    assert tokens(under(lm, **changes), requests) == tokens(under(hf, **changes), requests)


def each_its_own(lm: Any, requests: list[Any]) -> list[str]:
    """Answers where request i has intervention i, in turn, all in one batch."""
    plans = iter([replace(lm.plan, intervention=KINDS[i % 4]) for i in range(len(requests))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "harness_axbench.models.wrapping.choose",
            lambda _plan, request, warned: choose(next(plans), request, warned),
        )
        return tokens(copy.copy(lm), requests)


def crossed() -> list[Any]:
    """8 concepts × 4 factors × 4 interventions, each pair of them in 32 requests."""
    found = mixed()
    return [found[8 * (i % 4) + (i // 4 + i) % 8] for i in range(32)]


def test_interventions_share_a_step(lm: Any, hf: SteeredHF) -> None:
    """A request brings its own intervention along, whatever others of its step do."""
    together = each_its_own(lm, crossed())
    for i, kind in enumerate(KINDS):
        own = crossed()[i::4]
        assert together[i::4] == tokens(under(hf, intervention=kind), own)
    assert len(set(together)) > 16


def test_an_engine_that_does_not_compile_answers_alike(lm: Any, steering: Path) -> None:
    eager = {"enforce_eager": True, "max_num_batched_tokens": 4096}  # whole prompts in a step
    made = compose("vllm-steered")(
        TEACHER, steering=str(steering), method="diffmean", **ENGINE | eager
    )
    with stopping(made):
        assert each_its_own(made, crossed()) == each_its_own(lm, crossed())


@pytest.mark.slow  # two workers share the machine's cores
@pytest.mark.parametrize(
    "ranks",
    [
        {"tensor_parallel_size": 2, "enforce_eager": True},
        {"pipeline_parallel_size": 2},  # vLLM 0.32 on a CPU has no other way to start it
    ],
)
def test_engines_of_two_ranks(
    lm: Any, steering: Path, ranks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rank that has the block edits it, or both do, each its copy."""
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    settings = {"steering": str(steering), "method": "diffmean"} | ENGINE | ranks
    with stopping(compose("vllm-steered")(TEACHER, **settings)) as made:
        assert each_its_own(made, crossed()) == each_its_own(lm, crossed())


def test_what_was_compiled_with_steering_is_not_taken_without(
    lm: Any,
    hf: SteeredHF,
    plain: Any,
    steering: Path,
    compiled: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor the other way round; the same settings, one cache of compiled models."""
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(compiled))
    from lm_eval.models.vllm_causallms import VLLM

    kept = compiled / "torch_compile_cache" / "torch_aot_compile"
    asked = [generation(None, None, one) for one in ASKED]
    expected = tokens(plain, asked)
    assert len(list(kept.iterdir())) == 1
    with stopping(VLLM(str(model_path("teacher")), **ENGINE)) as made:
        assert tokens(made, asked) == expected
    assert len(list(kept.iterdir())) == 2
    steered = compose("vllm-steered")
    with stopping(steered(TEACHER, steering=str(steering), method="diffmean", **ENGINE)) as made:
        assert tokens(made, mixed()) == tokens(hf, mixed())
        assert tokens(made, asked) == expected
    assert len(list(kept.iterdir())) == 2


def scored(kind: str, concept: int | None, factor: float | None, *words: str) -> Any:
    doc = {} if concept is None else {"concept_id": concept, "factor": factor}
    return Instance(kind, doc, words, 0, ("other", 0, 1))


def test_loglikelihoods_follow_each_rows_steering(lm: Any, hf: SteeredHF, plain: Any) -> None:
    rows = [(0, 0.5), (1, 2.0), (0, 0.5), (2, 4.0), (None, None)]
    requests = [
        scored("loglikelihood", *row, context, answer)
        for row in rows
        for context, answer in (("The old house", " is green."), (LONG, " a door"))
    ]
    found = lm.loglikelihood(requests, disable_tqdm=True)
    expected = hf.loglikelihood(requests, disable_tqdm=True)
    assert [a[0] for a in found] == pytest.approx([a[0] for a in expected], abs=2e-3)
    assert [a[1] for a in found] == [a[1] for a in expected]
    assert len({round(a[0], 2) for a in found}) == 8
    assert trace_of(found[2])["concept_id"] == 1
    stock = plain.loglikelihood(requests[-2:], disable_tqdm=True)
    assert [a[0] for a in found[-2:]] == pytest.approx([a[0] for a in stock], abs=1e-4)


def test_rows_take_turns_over_the_concepts(lm: Any, hf: SteeredHF) -> None:
    """``concept=each``: as hf, and as rows that name the concepts whose turn it is."""
    each = tuple(lm.plan.steering(concept, 0.5 + concept) for concept in range(3))

    def rows(*, named: bool) -> list[Any]:
        found = [generation(k % 3, 0.5 + k % 3, ASKED[k % 4]) for k in range(7)]
        found += [scored("loglikelihood", k % 3, 0.5 + k % 3, ASKED[k], " The") for k in range(4)]
        for number, row in enumerate(found):
            row.doc_id = number % 7
            row.doc = row.doc if named else {}
        return found

    expected = tokens(lm, rows(named=True)[:7])
    for model in (lm, hf):
        turning = under(model, each=each)
        assert tokens(turning, rows(named=False)[:7]) == expected
        found = turning.loglikelihood(rows(named=False)[7:], disable_tqdm=True)
        own = model.loglikelihood(rows(named=True)[7:], disable_tqdm=True)
        assert [answer[0] for answer in found] == pytest.approx([a[0] for a in own], abs=1e-3)
        assert [trace_of(answer)["concept_id"] for answer in found] == [0, 1, 2, 0]
        assert turning.get_model_info()["each"]["concepts"] == [0, 1, 2]


def test_rolling_loglikelihood_is_steered(lm: Any, hf: SteeredHF) -> None:
    rows = [(None, None), (1, 2.0), (2, 1.0)]
    requests = [scored("loglikelihood_rolling", *row, "The old house is green.") for row in rows]
    found = lm.loglikelihood_rolling(requests, disable_tqdm=True)
    expected = hf.loglikelihood_rolling(requests, disable_tqdm=True)
    assert found == pytest.approx(expected, abs=2e-3)
    assert len({round(value, 2) for value in found}) == 3


def test_no_trace_is_left(lm: Any) -> None:
    """An unsteered text's log-probabilities, to the last bit, before and after steering."""
    asked = [scored("loglikelihood", None, None, LONG, " a door") for _ in range(3)]
    before = lm.loglikelihood(asked, disable_tqdm=True)
    lm.generate_until(mixed()[:8], disable_tqdm=True)
    under(lm, intervention="clamp").generate_until(mixed()[:8], disable_tqdm=True)
    assert lm.loglikelihood(asked, disable_tqdm=True) == before


def test_perplexity_is_of_the_unsteered_model(lm: Any, hf: SteeredHF) -> None:
    found = []
    for model in (lm, hf):
        other = copy.copy(model)
        other._perplexity = True
        answer = other.generate_until([generation(1, 1.0, ASKED[0])], disable_tqdm=True)[0]
        found.append(trace_of(answer)["perplexity"])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_a_rerun_asks_the_engine_nothing(
    lm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached() -> Any:
        other = copy.copy(lm)
        other.answers = Answers(str(tmp_path / "answers.jsonl"))
        return other

    first = cached().generate_until(mixed()[:6], disable_tqdm=True)

    def nothing(*_: Any, **__: Any) -> None:
        raise AssertionError("the engine was asked")

    monkeypatch.setattr(lm.model, "generate", nothing)
    again = cached().generate_until(mixed()[:6], disable_tqdm=True)
    assert list(map(str, again)) == list(map(str, first))
    assert list(map(trace_of, again)) == list(map(trace_of, first))


def test_what_a_running_engine_refuses(lm: Any, tmp_path: Path) -> None:
    detect = scored("loglikelihood", 1, None, "text", " Yes")
    detect.doc["detect"] = True
    with pytest.raises(HarnessError, match=r"vllm-steered cannot score texts for a concept.*hf-st"):
        lm.loglikelihood([detect])
    with pytest.raises(HarnessError, match="texts are scored with positions=all"):
        under(lm, positions="prompt").loglikelihood([scored("x", 1, 1.0, "The", " house")])
    with pytest.raises(HarnessError, match="response_cache="):
        CachingLM(lm, str(tmp_path / "cache.db"))
    with pytest.raises(ArtefactError, match="no concept 99 in it"):
        lm.generate_until([generation(99, 1.0, "The house")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steering": None}, r"vllm-steered needs steering=DIR.*use --model vllm\)"),
        (
            {"method": "bow"},
            r"method=bow cannot steer; it is for axbench_detect",
        ),
        ({"method": "pca"}, r"no method 'pca' in it"),
        ({"concept": 1}, r"pass both or neither"),
        ({"positions": "3"}, r"positions=3 is not one of"),
        ({"intervention": "set"}, r"intervention=set is not one of"),
        ({"data_parallel_size": 2}, r"data_parallel_size=2: use tensor_parallel_size"),
        ({"speculative_config": {"model": "x"}}, r"speculative_config=.*vllm-steered\+speculative"),
        ({"lora_local_path": "x"}, r"lora_local_path=x: an adapter"),
        ({"worker_extension_cls": "x.Y"}, r"worker_extension_cls=x.Y: it is taken"),
        ({"pretrained": "testbed:student"}, r"hidden size 256.*hidden size is"),
        ({"pretrained": "testbed:nobody"}, r"testbed: no model 'nobody'"),
        ({"quantization": "nonsense"}, r"vLLM cannot run testbed:teacher: .*quantization"),
    ],
)
def test_what_is_refused_before_an_engine_starts(
    steering: Path, arguments: dict[str, Any], message: str
) -> None:
    from harness import compose

    SteeredVLLM = compose("vllm-steered")

    settings = {"pretrained": TEACHER, "steering": str(steering), "method": "diffmean"}
    with pytest.raises(HarnessError, match=message) as refused:
        SteeredVLLM(**settings | ENGINE | arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("VLLM_USE_V1", "0", "needs vLLM's engine V1; unset VLLM_USE_V1"),
    ],
)
def test_engines_of_another_kind_are_refused(
    steering: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    from harness import compose

    SteeredVLLM = compose("vllm-steered")

    monkeypatch.setenv(name, value)
    with pytest.raises(HarnessError, match=message):
        SteeredVLLM(TEACHER, steering=str(steering), method="diffmean", **ENGINE)


def test_without_vllm_a_line_says_what_to_install(fresh: Forking) -> None:
    code = (
        "import sys; sys.modules['vllm'] = None\n"
        "from harness.errors import HarnessError\n"
        "from harness import compose\n"
        "try:\n    compose('vllm-steered')\n"
        "except HarnessError as problem:\n    print(problem)"
    )
    done = fresh.run("-c", code)
    assert done.stdout.startswith("vllm-steered needs vLLM: pip install 'paperharness[vllm]'")


def test_the_stock_command_steers_on_vllm(
    vllm: EngineForking, steering: Path, compiled: Path, tmp_path: Path
) -> None:
    settings = {"pretrained": TEACHER, "steering": steering, "method": "diffmean"} | ENGINE
    command = [
        *("lm_eval", "run", "--model", "vllm-steered"),
        *("--model_args", ",".join(f"{key}={value}" for key, value in settings.items())),
        *("--tasks", "axbench_steer", "--metadata", "data=testbed", "--limit", "3"),
        *("--gen_kwargs", "max_gen_toks=8", "--apply_chat_template"),
        *("--output_path", str(tmp_path), "--log_samples"),
    ]
    done = vllm.run(*command, VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CACHE_ROOT=str(compiled))
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(next(tmp_path.rglob("results_*.json")).read_text())
    assert results["config"]["method"] == "diffmean"
    assert results["results"]["axbench_steer"]["n_unscored,none"] == 0
    samples = next(tmp_path.rglob("samples_*.jsonl")).read_text().splitlines()
    assert len(samples) == 3
