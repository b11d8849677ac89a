"""What a suite says is text: nobody that it names is asked, and nothing in it is filled in."""

from __future__ import annotations

import json
from pathlib import Path

from harness_astral.generation.questions import Material, ask_labels, ask_probe, ask_twin
from harness_astral.generation.seeds import Seed
from harness_astral.generation.web import Snippet
from harness_astral.suites.factors import Level, read_factors

from .test_safety_task import docs_of, task

BRACES = "{prompt} {{ 7 * 7 }} {% raw %} {} {0} {response} %s ${HOME} {material} {form}"
STRANGER = json.dumps({"model": "hf", "model_args": {"trust_remote_code": True}, "store": "/x"})


def test_a_prompt_reaches_the_model_as_it_stands(tmp_path: Path) -> None:
    row = {"id": "a", "category": BRACES, "style": "s", "persuasion": "p", "prompt": BRACES}
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(row | {"generator": STRANGER}) + "\n")
    one = task(astral_data=str(path), judge="testbed-judge")
    (doc,) = docs_of(one)
    assert one.doc_to_text(doc) == BRACES
    asked = one.fewshot_context(doc, 0)
    assert asked == BRACES
    assert [oracle.assistant.spec.model for oracle in one.oracles] == ["testbed-judge"]
    assert one.oracles[0].assistant.spec.store is None


def test_no_question_fills_texts_in() -> None:
    level = Level("a", BRACES, BRACES)
    snippet = Snippet("1", "a", "q", BRACES, BRACES, "http://a", "ddgs")
    material = Material([Seed("1", "a", BRACES)], [snippet], few_shot=True)
    assert ask_probe((level, level, level), material, BRACES, 0).prompt.count(BRACES) == 9
    assert BRACES in ask_twin((level, level, level), BRACES, "1.1", 0).prompt
    assert BRACES in ask_labels(read_factors(), BRACES).prompt
