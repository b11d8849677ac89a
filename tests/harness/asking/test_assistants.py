"""Questions through lm-eval's real chat client to a server that misbehaves."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
from faulty_server import FaultyServer, rate, running

import harness._autoload  # noqa: F401 -- our models join lm-eval as under the stock command
from harness.asking.assistant import Assistant, Question
from harness.asking.spec import AssistantSpec
from harness.asking.store import Store
from harness.errors import HarnessError, JudgeError
from harness.judging.ratings import parse_rating

pytestmark = pytest.mark.long

FAULTS = (
    "429",
    "500",
    "garbage",
    "half",
    "cut",
    "empty",
    "null",
    "choiceless",
    "unrated",
    "no-http",
)


def accept(answer: str) -> bool:
    return parse_rating(answer, 0, 2) is not None


def spec(server: FaultyServer | str, concurrent: int = 1, **options) -> AssistantSpec:
    args = {
        "base_url": server if isinstance(server, str) else server.url,
        "model": "judge-1",
        "num_concurrent": concurrent,
        "max_retries": 1,
        "timeout": 1,
    } | options.pop("model_args", {})
    return AssistantSpec(
        model="local-chat-completions",
        model_args=args,
        **({"backoff": 0.01} | options),
    )


def prompts(n: int) -> list[Question]:
    return [Question(prompt=f"Rate item {i}") for i in range(n)]


@pytest.mark.parametrize("concurrent", [1, 8])
def test_every_question_gets_its_own_answer_and_a_rerun_asks_nothing(concurrent):
    with running() as server:
        asked = prompts(20)
        answers = Assistant(spec(server, concurrent)).ask(asked, accept)
        assert answers == [rate(question.prompt) for question in asked]
        assert set(server.requests.values()) == {1}
        again = Assistant(spec(server, concurrent))
        assert again.ask(asked, accept) == answers
        assert server.total == 20
        assert again._lm is None, "a complete store needs no model"


@pytest.mark.parametrize("concurrent", [1, 8])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_costs_one_more_request(fault, concurrent):
    with running(lambda prompt: [fault] if prompt.endswith(" 3") else []) as server:
        asked = prompts(8)
        answers = Assistant(spec(server, concurrent)).ask(asked, accept)
        assert answers == [rate(question.prompt) for question in asked]
        assert server.requests["Rate item 3"] == 2
        if concurrent == 1:  # nothing is in flight when a request fails
            assert server.total == 9


@pytest.mark.parametrize("concurrent", [1, 8])
def test_a_timeout_is_asked_again(concurrent):
    with running(lambda prompt: ["slow"] if prompt.endswith(" 3") else []) as server:
        asked = prompts(8)
        answers = Assistant(spec(server, concurrent)).ask(asked, accept)
        assert answers == [rate(question.prompt) for question in asked]


@pytest.mark.parametrize("concurrent", [1, 8])
def test_faults_of_all_kinds_lose_nothing(concurrent):
    def faults(prompt: str) -> list[str]:
        number = int(prompt.rpartition(" ")[2])
        return [FAULTS[number % len(FAULTS)]] * (number % 3)

    with running(faults) as server:
        asked = prompts(60)
        assistant = Assistant(spec(server, concurrent, retries=5))
        assert assistant.ask(asked, accept) == [rate(question.prompt) for question in asked]
        before = server.total
        assert None not in Assistant(spec(server, concurrent)).ask(asked, accept)
        assert server.total == before


@pytest.mark.parametrize("concurrent", [1, 8])
@pytest.mark.parametrize("fault", ["500", "400", "unrated", "empty"])
def test_a_question_that_always_fails_is_given_up_alone(fault, concurrent, caplog):
    longest = "Please, please, please rate item 7"  # lm-eval sends the longest first
    asked = [*prompts(30), Question(prompt=longest)]
    with running(lambda prompt: [fault] * 1000 if prompt == longest else []) as server:
        answers = Assistant(spec(server, concurrent, retries=2)).ask(asked, accept)
        assert answers[:-1] == [rate(question.prompt) for question in asked[:-1]]
        assert answers[-1] is None
        assert server.requests[longest] <= 24
        assert "left 1 of 31 questions unanswered; last" in caplog.text
        before = server.total
        Assistant(spec(server, concurrent, retries=0)).ask(asked, accept)
        assert server.total == before + 1


@pytest.mark.parametrize("concurrent", [1, 8])
def test_hopeless_questions_first_in_line_do_not_hold_up_the_others(concurrent):
    hopeless = [Question(prompt=f"{'Please ' * 9} rate item {i}") for i in range(6)]
    asked = [*hopeless, *prompts(200)]  # lm-eval sends the longest first
    with running(lambda prompt: ["500"] * 99 if prompt.startswith("Please") else []) as server:
        answers = Assistant(spec(server, concurrent, retries=0)).ask(asked, accept)
    assert answers == [None] * 6 + [rate(question.prompt) for question in prompts(200)]


@pytest.fixture
def one_order(monkeypatch):
    """Else those that fail come first now and then, as of a model that is down."""
    own = random.Random
    monkeypatch.setattr("harness.asking.batch.random.Random", lambda: own(1))


def test_a_rerun_asks_only_what_is_missing(one_order):
    down = {"on": True}
    with running(lambda p: ["500"] * 99 if down["on"] and int(p[10:]) >= 6 else []) as server:
        asked = prompts(10)
        first = Assistant(spec(server, retries=0)).ask(asked, accept)
        assert first[:6] == [rate(question.prompt) for question in asked[:6]]
        assert first[6:] == [None] * 4
        down["on"] = False
        before = server.requests.copy()
        assert None not in Assistant(spec(server)).ask(asked, accept)
        assert server.requests - before == dict.fromkeys([q.prompt for q in asked[6:]], 1)


@pytest.mark.parametrize("concurrent", [1, 8])
def test_a_server_that_is_down_is_not_asked_for_long(concurrent, caplog):
    with running(lambda prompt: ["500"] * 1000) as server:
        answers = Assistant(spec(server, concurrent, retries=1)).ask(prompts(200), accept)
        assert answers == [None] * 200
        assert server.total <= 2 * 4 * max(1, 2 * concurrent)
        assert "500" in caplog.text


@pytest.mark.parametrize("concurrent", [1, 16])
def test_a_store_that_cannot_be_written_costs_nothing(tmp_path, concurrent):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "folder", tmp_path / "file" / "below.jsonl"):
        with running() as server:
            assistant = Assistant(spec(server, concurrent, store=str(place)))
            with pytest.raises(
                HarnessError, match=r"is a folder|below\.jsonl cannot be written \("
            ):
                assistant.ask(prompts(100), accept)
            assert server.total == 0
    with running() as server, pytest.raises(HarnessError, match="is a folder; give a file"):
        Assistant(spec(server, concurrent, store=str(tmp_path / "folder"))).prepare()


@pytest.mark.parametrize("concurrent", [1, 16])
def test_a_disk_that_is_full_stops_the_asking(tmp_path, concurrent):
    """The file may grow to so many bytes and no further, as on a full disk."""
    store = tmp_path / "store.jsonl"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with running() as server:
        assistant = Assistant(spec(server, concurrent, store=str(store)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
        try:
            with pytest.raises(JudgeError, match=r"written \(File too large\); .*Nothing more"):
                assistant.ask(prompts(100), accept)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert store.read_bytes().endswith(b"\n"), "no half line is left"
        asked = server.total
        assert asked <= len(Store(store)) + 1 + concurrent
        answers = Assistant(spec(server, concurrent, store=str(store))).ask(prompts(100), accept)
        assert answers == [rate(question.prompt) for question in prompts(100)]
        assert server.total <= 100 + 1 + concurrent, "what was kept is not paid for again"


def test_two_runs_that_share_a_store_agree(tmp_path):
    """The answer that was first on disk is everybody's."""
    store = str(tmp_path / "store.jsonl")
    with running() as server:
        one, other = (Assistant(spec(server, store=store)) for _ in range(2))
        (question,) = prompts(1)
        assert one._stored("k", question, accept) is None
        assert other._stored("k", question, accept) is None
        assert one._keep("k", question, "Rating: 1", accept) == "Rating: 1"
        assert other._keep("k", question, "Rating: 2", accept) == "Rating: 1"
    assert len(Path(store).read_text().splitlines()) == 1


def test_a_server_that_comes_back_is_asked_the_rest():
    begin = time.monotonic()

    def faults(prompt: str) -> list[str]:
        return ["429"] * 1000 if 0.3 < time.monotonic() - begin < 0.9 else []

    with running(faults, delay=0.01) as server:
        asked = prompts(60)
        answers = Assistant(spec(server, backoff=0.3, retries=4)).ask(asked, accept)
        assert answers == [rate(question.prompt) for question in asked]


@pytest.mark.parametrize("concurrent", [1, 8])
@pytest.mark.parametrize(("status", "says"), [("401", "401"), ("404", "404"), ("400", "400")])
def test_wrong_credentials_or_addresses_fail_at_once(status, says, concurrent):
    with running(lambda prompt: [status] * 1000) as server:
        with pytest.raises(JudgeError, match=f"refuses to answer: .*{says}"):
            Assistant(spec(server, concurrent)).ask(prompts(50), accept)
        assert server.total <= 4 * 2 * concurrent


def test_refusals_that_come_first_are_not_taken_for_all(monkeypatch):
    """Asked in this order: all until 0 is refused, 19, half until 0 is, 8, a quarter until 0 is."""
    monkeypatch.setattr("random.Random.shuffle", lambda self, items: None)
    refused = {"Rate item 0", "Rate item 8", "Rate item 19"}
    with running(lambda prompt: ["400"] * 1000 if prompt in refused else []) as server:
        answers = Assistant(spec(server)).ask(prompts(20), accept)
    assert {f"Rate item {n}" for n, answer in enumerate(answers) if answer is None} == refused


def test_a_model_that_cannot_be_made_is_one_line():
    with pytest.raises(JudgeError, match="model 'no-such-model' cannot be loaded"):
        Assistant(AssistantSpec(model="no-such-model")).ask(prompts(1), accept)
    wrong = AssistantSpec(model="local-chat-completions", model_args={"timeout": "soon"})
    with pytest.raises(JudgeError, match="cannot be made: ValueError"):
        Assistant(wrong).prepare()


def test_an_api_key_missing_from_the_environment_is_found_before_asking(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(JudgeError, match="OPENAI_API_KEY"):
        Assistant(AssistantSpec(model="openai-chat-completions")).prepare()


@pytest.mark.parametrize("concurrent", [1, 8])
def test_votes_are_independent_requests_with_their_own_seeds(concurrent):
    with running() as server:
        asked = [Question(prompt="Rate item 4", vote=vote) for vote in range(3)]
        answers = Assistant(spec(server, concurrent)).ask(asked, accept)
        assert answers == [rate("Rate item 4")] * 3
        assert server.requests["Rate item 4"] == 3
        assert len({payload["seed"] for payload in server.payloads["Rate item 4"]}) == 3


@pytest.mark.parametrize("concurrent", [1, 8])
def test_a_vote_that_fails_does_not_take_anothers_answer(concurrent):
    with running(lambda prompt: ["null", "empty"]) as server:
        asked = [Question(prompt="Rate item 5", vote=vote) for vote in range(3)]
        answers = Assistant(spec(server, concurrent, retries=2)).ask(asked, accept)
        assert answers == [rate("Rate item 5")] * 3
        assert server.requests["Rate item 5"] == 5


def test_equal_questions_are_asked_once():
    with running() as server:
        answers = Assistant(spec(server)).ask(prompts(1) * 4, accept)
        assert answers == [rate("Rate item 0")] * 4
        assert server.total == 1


def test_another_model_prompt_or_temperature_is_another_answer():
    with running() as server:
        for options in ({}, {"temperature": 0.5}, {"max_tokens": 9}, {"seed": 7}, {"votes": 3}):
            Assistant(spec(server, **options)).ask(prompts(1), accept)
        assert server.total == 4, "the number of votes changes no single answer"
        Assistant(spec(server, model_args={"max_retries": 2})).ask(prompts(1), accept)
        assert server.total == 4, "nor does how the model is run"
        Assistant(spec(server, model_args={"model": "judge-2"})).ask(prompts(1), accept)
        assert server.total == 5


def test_stricter_rules_ask_again_and_both_answers_stay(tmp_path):
    kept = str(tmp_path / "answers.jsonl")
    with running(lambda prompt: ["unrated"]) as server:
        assert Assistant(spec(server, store=kept)).ask(prompts(1), bool) == ["I like it."]
        assert Assistant(spec(server, store=kept)).ask(prompts(1), accept) == [rate("item 0")]
        assert Assistant(spec(server, store=kept)).ask(prompts(1), accept) == [rate("item 0")]
        assert Assistant(spec(server, store=kept)).ask(prompts(1), bool) == ["I like it."]
        assert server.total == 2


def test_a_question_may_have_a_rule_of_its_own(tmp_path):
    def first(server: FaultyServer, check) -> tuple[list[str | None], Assistant]:
        asked = [Question(prompt="Rate item 1", check=check), Question(prompt="Rate item 2")]
        assistant = Assistant(spec(server, store=str(tmp_path / "kept.jsonl"), retries=1))
        return assistant.ask(asked, accept), assistant

    with running() as server:
        (refused, taken), assistant = first(server, lambda answer: False)
        assert (refused, taken) == (None, rate("Rate item 2"))
        assert server.requests == {"Rate item 1": 2, "Rate item 2": 1}
        assert assistant.usage["rejected"] == 2
        answers, _ = first(server, lambda answer: answer == rate("Rate item 1"))
        assert answers == [rate("Rate item 1"), taken]
        answers, _ = first(server, lambda answer: False)
        assert answers == [None, taken], "a stored answer is held to the rule too"


def test_an_answer_that_another_runs_rule_was_before_is_kept_behind_it(tmp_path):
    kept = str(tmp_path / "answers.jsonl")
    with running(
        answer=lambda prompt: "no verdict" if server.total == 1 else "Rating: 1"
    ) as server:
        late = Assistant(spec(server, store=kept))
        assert late.ask([], accept) == [] and len(late._opened()) == 0
        assert Assistant(spec(server, store=kept)).ask(prompts(1), bool) == ["no verdict"]
        assert late.ask(prompts(1), accept) == ["Rating: 1"]
        assert Assistant(spec(server, store=kept)).ask(prompts(1), accept) == ["Rating: 1"]
        assert server.total == 2, "what was paid for is not asked again"


def test_answers_of_any_text_survive(tmp_path):
    text = 'a "quote",\n a line\u2028 break, \ud83d half a pair, 猫\nRating: 1'
    kept = str(tmp_path / "answers.jsonl")
    with running(answer=lambda prompt: text) as server:
        assert Assistant(spec(server, store=kept)).ask(prompts(1), accept) == [text]
        assert Assistant(spec(server, store=kept)).ask(prompts(1), accept) == [text]
        assert server.total == 1


@pytest.mark.parametrize("concurrent", [1, 8])
def test_a_killed_process_loses_no_finished_answer(concurrent, tmp_path, fresh):
    kept = tmp_path / "answers.jsonl"
    with running(delay=0.05) as server:
        program = f"""
import harness._autoload
from test_assistants import *
Assistant(spec({server.url!r}, {concurrent}, store={str(kept)!r})).ask(prompts(60), accept)
"""
        here = Path(__file__).parent
        path = os.pathsep.join([str(here), str(here.parent)])
        child = fresh.start("-c", program, cwd=tmp_path, **os.environ | {"PYTHONPATH": path})
        child.until(lambda: len(Store(kept)) >= 10)
        child.send(signal.SIGKILL)
        child.wait()
        time.sleep(0.3)  # what was under way reaches the server's count
        finished = len(Store(kept))
        assert 10 <= finished < 60
        before = server.requests.copy()
        asked = prompts(60)
        answers = Assistant(spec(server, concurrent, store=str(kept))).ask(asked, accept)
        assert answers == [rate(question.prompt) for question in asked]
        assert (server.requests - before).total() == 60 - finished


@pytest.mark.parametrize("concurrent", [1, 8])
def test_secrets_are_neither_saved_nor_shown(concurrent, tmp_path, caplog, capfd):
    planted = "sk-planted-0123456789"
    judge = {
        "model": "local-chat-completions",
        "model_args": {
            "model": "judge-1",
            "num_concurrent": concurrent,
            "max_retries": 1,
            "header": {"Authorization": f"Bearer {planted}"},
        },
        "store": str(tmp_path / "answers.jsonl"),
        "backoff": 0.01,
    }
    caplog.set_level(logging.DEBUG)
    with running(lambda prompt: ["500", "unrated"]) as server:
        judge["model_args"]["base_url"] = server.url + "?code=planted-in-the-query"
        assistant = Assistant(AssistantSpec.parse(judge))
        assert None not in assistant.ask(prompts(3), accept)
        assert server.headers[0]["Authorization"] == f"Bearer {planted}"
    with running(lambda prompt: ["401"]) as server:
        judge["model_args"]["base_url"] = server.url
        with pytest.raises(JudgeError) as caught:
            Assistant(AssistantSpec.parse(judge)).ask(prompts(4), accept)
    info = assistant.info()
    assert info["hidden"] == ["base_url", "header"]
    shown = [json.dumps(info), str(caught.value), caplog.text, repr(assistant.spec), repr(judge)]
    shown += [*capfd.readouterr(), (tmp_path / "answers.jsonl").read_text()]
    for text in shown:
        assert "planted" not in text.replace("test_secrets", "")


def test_a_key_from_the_environment_is_not_logged_either(monkeypatch, caplog):
    planted = "sk-from-the-environment"
    monkeypatch.setenv("OPENAI_API_KEY", planted)
    caplog.set_level(logging.DEBUG)
    with running(lambda prompt: ["500"]) as server:
        assert None not in Assistant(spec(server, 8)).ask(prompts(3), accept)
        assert server.headers[0]["Authorization"] == f"Bearer {planted}"
    assert "500" in caplog.text
    assert planted not in caplog.text


def test_a_spec_names_the_keys_it_knows():
    with pytest.raises(JudgeError, match=r"unknown key\(s\) temprature; known are model, "):
        AssistantSpec.parse({"model": "hf", "temprature": 1})
    with pytest.raises(JudgeError, match="a model's name or an object with the keys model"):
        AssistantSpec.parse({"temperature": 1})
    with pytest.raises(JudgeError, match="votes must be a number from 1 up, not 0"):
        AssistantSpec.parse({"model": "hf", "votes": 0})
    with pytest.raises(JudgeError, match="model_args must be an object"):
        AssistantSpec.parse({"model": "hf", "model_args": "pretrained=x"})
    assert AssistantSpec.parse("hf") == AssistantSpec(model="hf")


class Obedient:
    """A model without lm-eval's hook: it answers in order, or not at all."""

    answers = staticmethod(lambda prompts: [rate(prompt) for prompt in prompts])
    calls: list[int]

    @classmethod
    def create_from_arg_obj(cls, args, config):
        model = cls()
        model.calls = []
        return model

    def set_cache_hook(self, hook):
        pass

    def generate_until(self, requests):
        self.calls.append(len(requests))
        return self.answers([request.args[0] for request in requests])


def asked_of(monkeypatch: pytest.MonkeyPatch, answers, n: int, **options):
    kind = type("Model", (Obedient,), {"answers": staticmethod(answers)})
    monkeypatch.setattr(Assistant, "_class", lambda self: kind)
    assistant = Assistant(AssistantSpec(model="fake", backoff=0.0, **options))
    return assistant.ask(prompts(n), accept), assistant


def test_a_model_without_the_hook_is_trusted_when_it_answers_every_question(monkeypatch):
    answers, assistant = asked_of(monkeypatch, Obedient.answers, 5)
    assert answers == [rate(question.prompt) for question in prompts(5)]
    assert assistant.model().calls == [5]


def test_a_shortened_list_of_answers_is_never_shifted_onto_other_questions(monkeypatch):
    def swallowing(asked: list[str]) -> list[str]:
        return [rate(prompt) for prompt in asked if not prompt.endswith(" 3")]

    answers, _ = asked_of(monkeypatch, swallowing, 12, retries=1)
    expected = [rate(question.prompt) for question in prompts(12)]
    expected[3] = None
    assert answers == expected


def test_a_model_that_reports_each_answer_is_not_taken_by_the_order_of_its_list(monkeypatch):
    def generate_until(self, requests):
        for request in requests:
            self.hook.add_partial("generate_until", request.args, rate(request.args[0]))
        return [rate(request.args[0]) for request in reversed(requests)]

    monkeypatch.setattr(Obedient, "generate_until", generate_until)
    monkeypatch.setattr(Obedient, "set_cache_hook", lambda self, hook: setattr(self, "hook", hook))
    answers, _ = asked_of(monkeypatch, Obedient.answers, 5)
    assert answers == [rate(question.prompt) for question in prompts(5)]


def test_memory_that_is_too_small_for_a_batch_is_enough_for_less(monkeypatch):
    def greedy(asked: list[str]) -> list[str]:
        if len(asked) > 4:
            raise MemoryError("out of memory")
        return Obedient.answers(asked)

    answers, _ = asked_of(monkeypatch, greedy, 16)
    assert answers == [rate(question.prompt) for question in prompts(16)]


def test_an_error_of_the_model_that_the_user_can_put_right_is_passed_on(monkeypatch):
    def wrong(asked: list[str]) -> list[str]:
        raise JudgeError("put it right")

    with pytest.raises(JudgeError, match="put it right"):
        asked_of(monkeypatch, wrong, 3)


def tiny_chat_model(folder: Path) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<eos>", "user", "model", ":", "Rate", "item", *map(str, range(10))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    )
    tokenizer.chat_template = (
        "{% for turn in messages %}{{ turn.role }} : {{ turn.content }} {% endfor %}model :"
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def test_a_model_of_transformers_is_asked_in_its_own_chat_format(tmp_path, monkeypatch):
    args = {"pretrained": tiny_chat_model(tmp_path / "tiny"), "device": "cpu", "batch_size": 4}
    spec = AssistantSpec(model="hf", model_args=args, max_tokens=8, retries=9, backoff=0)
    assistant = Assistant(spec)
    asked = [Question(prompt=f"Rate item {i}", vote=vote) for i in range(3) for vote in range(3)]
    contexts = []
    stock = type(assistant.model()).generate_until

    def spying(self, requests, **options):
        contexts.extend(request.args[0] for request in requests)
        return stock(self, requests, **options)

    monkeypatch.setattr(type(assistant.model()), "generate_until", spying)
    answers = assistant.ask(asked, lambda answer: True)
    assert all(answers)
    assert len(set(answers)) > 1, "votes are sampled, each for itself"
    assert sorted(set(contexts)) == [f"user : Rate item {i} model :" for i in range(3)]
    assert len(contexts) >= 9, "an answer that begins with the end is asked for again"
    again = Assistant(spec)
    assert again.ask(asked, lambda answer: True) == answers
    assert again._lm is None


def test_questions_that_were_refused_stop_no_rerun(tmp_path, one_order):
    """All that is left to ask is what the model cannot take: it is still a model that answers."""
    store = str(tmp_path / "store.jsonl")
    with running(lambda prompt: ["400"] * 1000 if int(prompt.split()[2]) < 6 else []) as server:
        for _ in range(2):
            answers = Assistant(spec(server, store=store)).ask(prompts(20), accept)
            assert answers[:6] == [None] * 6 and None not in answers[6:]
