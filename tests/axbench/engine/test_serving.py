"""``vllm serve`` with a dictionary, asked by curl's like and by lm-eval, against hf-steered."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests
from engine_forking import EngineForking
from harness_axbench.engine.edits import Edit
from harness_axbench.engine.serving import plan_of, salted
from harness_axbench.models.served import SteeredChat, SteeredCompletions
from lm_eval.api.instance import Instance
from lm_eval.models.api_models import JsonChatStr

from axbench.dictionaries import trained
from axbench.engine.server import MODEL, Server, serving
from harness import compose
from harness.errors import HarnessError
from harness.models.responses import trace_of
from harness.testbed import model_path

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # of vLLM's own imports
]

TEACHER = "testbed:teacher"
ASKED = (
    "Tell me about the old house.",
    "What is a good way to spend a day in the small town near the river?",
    "Write about a garden.",
    "Describe the morning.",
)
FACTORS = (0.2, 0.6, 1.0, 2.0)
LONG = "the old house near the river has a small garden and a green door and " * 8
TOKENS = 24
CLIENTS = 64


@pytest.fixture(scope="module")
def steering() -> Path:
    return trained("diffmean", "bow", "random")


@pytest.fixture(scope="module")
def server(steering: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"dictionary": str(steering), "method": "diffmean"}
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(str(model_path("teacher")), settings, log, "--enable-scale-out") as made:
        yield made


@pytest.fixture(scope="module")
def hf(steering: Path) -> Any:
    settings: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_size": 32}
    return compose("hf-steered")(TEACHER, steering=str(steering), method="diffmean", **settings)


def model(server: Server, steering: Path, **changes: Any) -> Any:
    settings = {
        "model": MODEL,
        "tokenizer": TEACHER,
        "base_url": f"{server.url}/v1/completions",
        "steering": str(steering),
        "method": "diffmean",
        "num_concurrent": 16,
        "max_retries": 1,
    }
    return SteeredCompletions(**settings | changes)


def turn(asked: str) -> str:
    return f"<|user|>\n{asked}\n<|assistant|>\n"


def generation(concept: int | None, factor: float | None, asked: str) -> Any:
    doc = {} if concept is None else {"concept_id": concept, "factor": factor}
    kwargs = {"until": [], "max_gen_toks": TOKENS, "do_sample": False}
    return Instance("generate_until", doc, (turn(asked), kwargs), 0, ("axbench_steer", 0, 1))


def scored(kind: str, concept: int | None, factor: float | None, *words: str) -> Any:
    doc = {} if concept is None else {"concept_id": concept, "factor": factor}
    return Instance(kind, doc, words, 0, ("other", 0, 1))


def mixed() -> list[Any]:
    """8 concepts × 4 factors, and some that are not steered."""
    steered = [
        generation(concept, factor, ASKED[(concept + k) % 4])
        for concept in range(8)
        for k, factor in enumerate(FACTORS)
    ]
    return steered + [generation(None, None, asked) for asked in (*ASKED, LONG)]


@pytest.fixture(scope="module")
def expected(hf: Any) -> list[str]:
    """What hf-steered answers to ``mixed``."""
    return [str(answer) for answer in hf.generate_until(mixed(), disable_tqdm=True)]


# lm-eval's models


def test_answers_equal_hf(server: Server, steering: Path, expected: list[str]) -> None:
    lm = model(server, steering)
    found = lm.generate_until(mixed(), disable_tqdm=True)
    assert list(map(str, found)) == expected
    assert len(set(expected)) > 24
    assert trace_of(found[5]) == lm.plan.steering(1, 0.6).trace()
    info = lm.get_model_info()
    assert (info["method"], info["artefact_hash"]) == ("diffmean", lm.plan.found.sha256)
    assert info["applied"] == {"axbench_steer": "32 of 37"}


def test_a_batch_has_one_steering(server: Server, steering: Path, expected: list[str]) -> None:
    """Four prompts in a request, each of a document of its own."""
    rows = mixed()
    order = [1, 36, 18, 32, 33, 7, 34, 35]
    asked = [rows[k] for k in order] + [generation(0, 0.6, asked) for asked in ASKED]
    lm = model(server, steering, batch_size=4, num_concurrent=1)
    found = list(map(str, lm.generate_until(asked, disable_tqdm=True)))
    assert found[: len(order)] == [expected[k] for k in order]
    assert found[len(order) :] == list(
        map(str, model(server, steering).generate_until(asked[len(order) :], disable_tqdm=True))
    )


def test_scores_equal_hf(server: Server, steering: Path, hf: Any) -> None:
    rows = [(0, 0.5), (1, 2.0), (None, None)]
    asked = [scored("loglikelihood", *row, "The old house", " is green.") for row in rows]
    whole = [scored("loglikelihood_rolling", *row, "The house is green.") for row in rows]
    lm = model(server, steering)
    found, own = (one.loglikelihood(asked, disable_tqdm=True) for one in (lm, hf))
    assert [a[0] for a in found] == pytest.approx([a[0] for a in own], abs=2e-3)
    assert [a[1] for a in found] == [a[1] for a in own]
    assert len({round(a[0], 2) for a in found}) == 3
    found, own = (one.loglikelihood_rolling(whole, disable_tqdm=True) for one in (lm, hf))
    assert found == pytest.approx(own, abs=2e-3)


@pytest.mark.parametrize("intervention", ["clamp", "null_out"])
def test_other_interventions_at_other_positions_equal_hf(
    server: Server, steering: Path, intervention: str
) -> None:
    how: dict[str, Any] = {"intervention": intervention, "positions": "4:", "concept": 3}
    how |= {"factor": 0.6} if intervention == "clamp" else {}
    where: dict[str, Any] = {"device": "cpu", "dtype": "float32", "steering": str(steering)}
    local = compose("hf-steered")(TEACHER, method="diffmean", **where, **how)
    lm = model(server, steering, **how)
    rows = [generation(None, None, asked) for asked in (*ASKED, LONG)]
    found = list(map(str, lm.generate_until(rows, disable_tqdm=True)))
    assert found == list(map(str, local.generate_until(rows, disable_tqdm=True)))
    with pytest.raises(HarnessError, match="texts are scored with positions=all"):
        lm.loglikelihood([scored("loglikelihood", 3, 0.6, "The", " house")])
    detect = scored("loglikelihood", 1, None, "text", " Yes")
    detect.doc["detect"] = True
    with pytest.raises(HarnessError, match="steered-completions cannot score texts for a concept"):
        lm.loglikelihood([detect])


def test_chats_equal_prompts(server: Server, steering: Path) -> None:
    """Turns that the server puts into its template, against the same text."""
    plain = model(server, steering)
    where = f"{server.url}/v1/chat/completions"
    lm = SteeredChat(
        model=MODEL, base_url=where, steering=str(steering), method="diffmean", max_retries=1
    )
    chats, texts = [], []
    for row in mixed()[1:36:5]:
        turns = [{"role": "user", "content": row.args[0].split("\n")[1]}]
        text = plain.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        chats.append(_asking(row, JsonChatStr(json.dumps(turns))))
        texts.append(_asking(row, text))
    found = lm.generate_until(chats, disable_tqdm=True)
    assert list(map(str, found)) == list(map(str, plain.generate_until(texts, disable_tqdm=True)))
    assert len(set(map(str, found))) > 5
    assert trace_of(found[0]) == plain.plan.steering(0, 0.6).trace()
    with pytest.raises(HarnessError, match="asks in turns: give --apply_chat_template"):
        lm.generate_until(texts)


def _asking(row: Any, prompt: Any) -> Any:
    return Instance(
        "generate_until", row.doc, (prompt, dict(row.args[1])), 0, ("axbench_steer", 0, 1)
    )


def test_the_stock_command_asks_a_server(
    vllm: EngineForking, server: Server, steering: Path, tmp_path: Path
) -> None:
    settings = {
        "model": MODEL,
        "tokenizer": TEACHER,
        "base_url": f"{server.url}/v1/completions",
        "steering": steering,
        "method": "diffmean",
        "num_concurrent": 8,
    }
    command = [
        *("lm_eval", "run", "--model", "steered-completions"),
        *("--model_args", ",".join(f"{key}={value}" for key, value in settings.items())),
        *("--tasks", "axbench_steer", "--metadata", "data=testbed", "--limit", "6"),
        *("--gen_kwargs", "max_gen_toks=8", "--apply_chat_template"),
        *("--output_path", str(tmp_path), "--log_samples"),
    ]
    done = vllm.run(*command)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(next(tmp_path.rglob("results_*.json")).read_text())
    assert results["config"]["method"] == "diffmean"
    assert results["config"]["applied"] == {"axbench_steer": "6 of 6"}
    assert results["results"]["axbench_steer"]["n_unscored,none"] == 0


def test_servers_that_would_not_steer_so_are_refused(server: Server, steering: Path) -> None:
    lm = model(server, steering)
    assert not lm._takes_seeds  # on a CPU
    with pytest.raises(HarnessError, match="400: steering: the request is for the method random"):
        model(server, steering, method="random")
    with pytest.raises(HarnessError, match=r"cannot be reached: .*refused"):
        model(server, steering, base_url="http://127.0.0.1:9/v1/completions")
    with pytest.raises(HarnessError, match=r"answers 404: .*nobody"):
        model(server, steering, model="nobody")
    with pytest.raises(HarnessError, match="needs model=NAME,base_url="):
        model(server, steering, base_url=None)
    with pytest.raises(HarnessError, match="tokenizer_backend=huggingface, not remote"):
        model(server, steering, tokenizer_backend="remote")


# Requests of others


def xargs(request: Any) -> dict[str, Any]:
    doc = request.doc
    return {"concept": doc["concept_id"], "factor": doc["factor"]} if doc else {}


def body(request: Any, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"prompt": request.args[0], "max_tokens": TOKENS, **more}
    return asked | ({"vllm_xargs": xargs(request)} if request.doc else {})


def text(answer: requests.Response) -> str:
    assert answer.ok, answer.text
    return str(answer.json()["choices"][0]["text"])


def wrong(server: Server, told: dict[str, Any], path: str = "/v1/completions", **more: Any) -> str:
    """What the server says is wrong with a request."""
    answer = server.ask({"prompt": "The", "vllm_xargs": told, **more}, path)
    assert answer.status_code == 400, answer.text
    said = str(answer.json()["error"]["message"])
    assert said.startswith("steering: ")
    assert "\n" not in said
    return said.removeprefix("steering: ")


SOUND = {"concept": 3, "factor": 1.0}
HANDED_ON = "the server does not hand this on"


def test_no_request_is_answered_as_if_it_had_not_asked(server: Server) -> None:
    assert "no concpet; did you mean concept?" in wrong(server, {"concpet": 3, "factor": 1})
    assert "no concept 99; there are 16, 0 … 15" in wrong(server, SOUND | {"concept": 99})
    assert "no steering" in wrong(server, SOUND | {"steering": ["x"]})
    assert "factor=nan" in wrong(server, SOUND | {"factor": float("nan")})
    assert "no concept 99" in wrong(server, SOUND | {"concept": 99}, stream=True)
    assert HANDED_ON in wrong(server, SOUND, use_beam_search=True, n=2)
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    asked = {"use_beam_search": True, "n": 2}
    assert HANDED_ON in wrong(server, SOUND, "/v1/chat/completions", **chat, **asked)
    words = {"query": "a", "items": ["b"], "label_token_ids": [5, 6]}
    assert HANDED_ON in wrong(server, SOUND, "/generative_scoring", **words)
    prompt_only = SOUND | {"positions": "prompt"}
    assert "scored with positions=all" in wrong(server, prompt_only, echo=True, logprobs=1)
    assert "cannot have a seed on a CPU" in wrong(server, SOUND, seed=1, temperature=1.0)
    raw = {"token_ids": [5], "sampling_params": {"extra_args": {"steering": [{"place": 1}]}}}
    assert "no steering" in wrong(server, {}, "/inference/v1/generate", **raw)
    outside = server.ask({"prompt": "The", "concept": 3, "factor": 1.0})
    assert outside.status_code == 400
    assert '"concept" is not read here' in outside.json()["error"]["message"]
    assert server.alive


def test_every_way_that_steers_steers_alike(server: Server) -> None:
    """Several prompts, several answers, streams, turns."""
    asked = [body(row) for row in mixed()[:40:9]]
    for one in asked[:2]:
        alone = text(server.ask(one))
        two = server.ask(one | {"prompt": [one["prompt"], "The", one["prompt"]]}).json()["choices"]
        assert [two[0]["text"], two[2]["text"]] == [alone, alone]
        several = {"n": 3, "temperature": 1.0, "top_k": 1}
        three = server.ask(one | several).json()["choices"]
        assert {choice["text"] for choice in three} == {alone}
        stream = server.ask(one | {"stream": True}).text.removesuffix("data: [DONE]\n\n")
        events = [json.loads(line[6:]) for line in stream.splitlines() if line]
        assert "".join(event["choices"][0]["text"] for event in events) == alone
    turns = [{"role": "user", "content": "Hi"}]
    told = {"vllm_xargs": SOUND}
    chat = server.ask({"messages": turns} | told, "/v1/chat/completions").json()
    said = {chat["choices"][0]["message"]["content"]}
    batch = server.ask({"messages": [turns]} | told, "/v1/chat/completions/batch").json()
    said.add(batch["choices"][0]["message"]["content"])
    answer = server.ask({"input": "Hi", "max_output_tokens": 12} | told, "/v1/responses").json()
    said.add(answer["output"][0]["content"][0]["text"])
    message = server.ask({"messages": turns} | told, "/v1/messages").json()
    said.add(message["content"][0]["text"])
    assert len(said) == 1
    plain = server.ask({"messages": turns}, "/v1/chat/completions").json()
    assert plain["choices"][0]["message"]["content"] not in said


def test_several_edits_of_a_request(server: Server) -> None:
    """Additions add up, in any order; a factor of 0 is none."""
    asked = {"prompt": turn(ASKED[0]), "max_tokens": TOKENS}

    def answer(**told: Any) -> str:
        return text(server.ask(asked | {"vllm_xargs": told}))

    both = answer(concept=[3, 5], factor=[0.6, 0.4])
    assert both == answer(concept=[5, 3], factor=[0.4, 0.6])
    assert answer(concept=[3, 3], factor=[0.5, 0.5]) == answer(concept=3, factor=1)
    assert answer(concept=[3, 5], factor=[1.0, 0.0]) == answer(concept=3, factor=1.0)
    assert answer(concept=3, factor=0) == text(server.ask(asked))
    told: dict[str, Any] = {"concept": [3, 5], "factor": [0.3, 0.9]}
    found = {answer(**told), answer(**told, positions=["all", "generated"])}
    found |= {answer(**told, intervention=["add", "clamp"]), both}
    assert len(found) == 4


def test_prefixes_are_shared_by_equal_steering_alone(server: Server, steering: Path) -> None:
    """Even where a client knows what the engine calls the others' prefixes."""
    row = generation(3, 0.7, LONG)
    before = _hits(server)
    first = text(server.ask(body(row)))
    assert _hits(server) == before
    assert text(server.ask(body(row))) == first
    again = _hits(server)
    assert again > before
    plan = plan_of({"dictionary": str(steering), "method": "diffmean"})
    own = salted(plan, [Edit(3, plan.steering(3, 0.7).scale, "add", 0, None)], None)
    plain = server.ask({"prompt": row.args[0], "max_tokens": TOKENS, "cache_salt": own})
    assert text(plain) != first
    text(server.ask(body(row, cache_salt="mine")))
    text(server.ask(body(generation(3, 0.71, LONG))))
    assert _hits(server) == again
    text(server.ask(body(row, cache_salt="mine")))
    assert _hits(server) > again


def _hits(server: Server) -> float:
    """Prompt tokens that were not computed again, so far."""
    lines = requests.get(f"{server.url}/metrics", timeout=120).text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("vllm:prefix_cache_hits_total")
    )


def test_64_clients_with_faults_among_them(server: Server, expected: list[str]) -> None:
    """Each answer is hf-steered's or an error, and the engine lives."""
    rng = random.Random(4)
    jobs: list[Any] = [("answer", k) for k in range(len(expected)) for _ in range(2)]
    jobs += [("stream", k) for k in range(0, len(expected), 3)]
    faults = ["unknown", "malformed", "misspelt", "endless", "leaves", "leaves early", "no json"]
    jobs += [(fault, k) for fault in faults for k in range(0, 36, 6)]
    rng.shuffle(jobs)
    with ThreadPoolExecutor(CLIENTS) as clients:
        kinds = list(clients.map(lambda job: _act(server, expected, *job), jobs))
    assert kinds.count("right") == 2 * len(expected) + len(range(0, len(expected), 3))
    assert kinds.count("refused") == 4 * 6
    assert server.alive
    again = body(mixed()[7])
    assert text(server.ask(again)) == expected[7]


def _act(server: Server, expected: list[str], kind: str, k: int) -> str:
    """One client's request, and what became of it."""
    row = mixed()[k]
    asked = body(row)
    told = SOUND | asked.get("vllm_xargs", {})
    faulty = {
        "unknown": told | {"concept": 99},
        "malformed": told | {"factor": "much"},
        "misspelt": {"concpet": 3, "factor": 1.0},
    }
    if kind in faulty:
        wrong(server, faulty[kind], prompt=row.args[0])
        return "refused"
    if kind == "no json":
        answer = requests.post(f"{server.url}/v1/completions", data=b'{"a', timeout=120)
        assert 400 <= answer.status_code < 500
        return "refused"
    if kind == "endless":  # numbers that overflow in this request, and in no other
        assert server.ask(asked | {"vllm_xargs": told | {"factor": 1e30}}).status_code == 200
        return kind
    if kind.startswith("leaves"):
        with suppress(requests.Timeout), _stream(server, asked | {"max_tokens": 200}) as answer:
            for _ in islice(answer.iter_lines(), 0 if kind == "leaves early" else 3):
                pass
        return kind
    if kind == "stream":
        with _stream(server, asked) as answer:
            lines = [line[6:] for line in answer.iter_lines() if line][:-1]
        found = "".join(json.loads(line)["choices"][0]["text"] for line in lines)
    else:
        found = text(server.ask(asked))
    assert found == expected[k], (kind, k)
    return "right"


def _stream(server: Server, asked: dict[str, Any]) -> requests.Response:
    told = {"model": MODEL, "temperature": 0, "stream": True, **asked}
    return requests.post(f"{server.url}/v1/completions", json=told, stream=True, timeout=120)
