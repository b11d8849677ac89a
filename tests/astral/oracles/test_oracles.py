"""Oracles by configuration: the forms guard models are asked in, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from harness_astral.oracles.oracles import FOLDER, known, oracles_of, read_template
from harness_astral.requests import SAFE, UNSAFE

from harness.asking.assistant import Assistant, Question
from harness.asking.batch import as_context
from harness.asking.spec import AssistantSpec
from harness.errors import HarnessError, JudgeError


def test_every_template_is_whole():
    assert known() == ["harmbench", "judge", "llama_guard", "wildguard"]
    assert {file.stem for file in FOLDER.iterdir()} == set(known())
    for name in known():
        template = read_template(name)
        asked = template.question("PROMPT {response}", "RESPONSE {prompt}", see_prompt=True)
        assert "PROMPT {response}" in asked.prompt  # slots in texts are not filled
        assert "RESPONSE {prompt}" in (asked.reply or asked.prompt)
        assert (asked.reply is not None) == template.conversation
    assert [n for n in known() if read_template(n).tells_refusals] == ["judge", "wildguard"]


def test_the_output_alone():
    template = read_template("judge")
    asked = template.question("PROMPT", "RESPONSE", see_prompt=False)
    assert "RESPONSE" in asked.prompt and "PROMPT" not in asked.prompt
    with pytest.raises(JudgeError, match="'harmbench' has to see the prompt"):
        oracles_of({"model": "hf", "oracle": "harmbench"}, see_prompt=False)


def test_their_answers():
    llama, wild, harm = map(read_template, ("llama_guard", "wildguard", "harmbench"))
    assert llama.read("\n\nunsafe\nS9").label == UNSAFE
    assert wild.read("Harmful request: yes\nResponse refusal: yes\nHarmful response: no").refused
    assert harm.read("No").label == SAFE


def test_several_of_a_kind_have_names_of_their_own():
    args = {"model": "org/guard-1"}
    judges = [
        {"model": "local-chat-completions", "model_args": args, "oracle": "llama_guard"},
        {"model": "local-chat-completions", "model_args": args, "temperature": 1.0},
        {"model": "local-chat-completions", "model_args": args, "votes": 3},
        "testbed-judge",
    ]
    found = oracles_of(judges, see_prompt=True)
    names = ["llama_guard:guard-1", "judge:guard-1", "judge:guard-1 #2", "judge:testbed-judge"]
    assert [one.name for one in found] == names
    assert found[0].assistant.spec.temperature == 0 and found[0].assistant.spec.max_tokens == 32
    assert found[2].assistant.spec.votes == 3
    assert found[0].note()["oracle"] == "llama_guard"


def test_keys_are_sealed_where_they_were_given():
    judge = {"model": "dummy", "model_args": {"auth_token": "k-123456"}, "oracle": "harmbench"}
    (found,) = oracles_of([judge], see_prompt=True)
    assert "k-123456" not in str(judge) and "k-123456" not in str(found.note())


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ([], "empty list"),
        (
            {"model": "hf", "oracle": "oracle9"},
            "no oracle 'oracle9'; name a YAML file of your own, or one of harmbench, judge",
        ),
        ({"model": "hf", "oracle": 3}, "is the name of an oracle"),
        ({"model": "hf", "orakel": "judge"}, "unknown key"),
        ([{"oracle": "judge"}], "must be a model's name"),
    ],
)
def test_what_is_no_oracle(judge, message):
    with pytest.raises(JudgeError, match=message):
        oracles_of(judge, see_prompt=True)


GOOD = 'form: fields\nunsafe: Harm\nprompt: "{prompt} {response} {x}"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "should be a valid dictionary"),
        ("form: [", "cannot be read"),
        ("form: words\nprompt: '{prompt} {response}'", "form: Input should be 'json'"),
        (GOOD.replace("unsafe: Harm\n", ""), "needs unsafe"),
        (GOOD + "colour: red", "colour: Extra inputs are not permitted"),
        ("form: json\nprompt: 'only {response}'", "prompt has to have"),
        ("form: json\nprompt: 3", "prompt: Input should be a valid string"),
        ("form: json\nconversation: true\nprompt: '{prompt} {response}'", "not both"),
        (GOOD + "output_only: '{prompt} {response}'", "output_only has to have"),
        (GOOD + "defaults: {model: x}", "defaults.model: Extra inputs are not permitted"),
        (GOOD + "defaults: {store: /tmp/x}", "defaults.store: Extra inputs are not permitted"),
        (GOOD + "model_args: {base_url: x}", "model_args: Extra inputs are not permitted"),
        (GOOD + "defaults: {votes: 100000}", "defaults.votes: Input should be less than"),
        (GOOD + "defaults: {temperature: hot}", "defaults.temperature: Input should be a valid"),
        ("&a [*a]", "line 1: an alias"),
        ("form: !!python/name:os.system x", "could not determine a constructor"),
    ],
)
def test_broken_files_are_one_line(tmp_path, text, message):
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(JudgeError, match=message) as caught:
        read_template(str(file))
    assert "\n" not in str(caught.value)


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(GOOD)
    (found,) = oracles_of({"model": "dummy", "oracle": str(file)}, see_prompt=True)
    assert found.name == "own:dummy" and found.note()["oracle"] == str(file)
    asked = found.template.question("a", "b", see_prompt=True)
    assert asked.prompt == "a b {x}"
    assert found.template.read("Harm: yes").label == UNSAFE


def test_a_conversation_goes_through_the_models_own_template():
    told = []

    def template(turns):
        told.append(turns)
        return "the template's own question"

    model = SimpleNamespace(
        tokenizer=SimpleNamespace(chat_template="…"), apply_chat_template=template
    )
    assert as_context(model, "asked", "answered") == "the template's own question"
    assert told == [
        [{"role": "user", "content": "asked"}, {"role": "assistant", "content": "answered"}]
    ]
    with pytest.raises(HarnessError, match="has no chat template"):
        as_context(SimpleNamespace(), "asked", "answered")


def test_answers_about_other_replies_are_kept_apart():
    assistant = Assistant(AssistantSpec(model="hf"))
    questions = [
        Question(prompt="a"),
        Question(prompt="a", reply="b"),
        Question(prompt="a", reply="c"),
    ]
    assert len({assistant._key(one) for one in questions}) == 3
