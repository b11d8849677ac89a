"""CG2C pairs through lm-eval's real chat client, and what can go wrong with it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from axbench.writing_server import WritingServer, running
from forking import Forking
from harness_factcg.data import cg2c
from harness_factcg.generation.generate import Options, generate

from factcg.scripted import write
from harness.asking.desk import writer_spec
from harness.asking.store import Store
from harness.errors import HarnessError
from harness.testbed.english import chains

pytestmark = pytest.mark.long

REMOVAL = "The numbered sentences below"


def api(server: WritingServer | str, **options: Any) -> str:
    args = {
        "base_url": server if isinstance(server, str) else server.url,
        "model": "writer-1",
        "num_concurrent": 4,
        "max_retries": 1,
        "timeout": 5,
    }
    given = {"model": "local-chat-completions", "model_args": args, "backoff": 0.01}
    return json.dumps(given | options)


def options(server: WritingServer | str, out: Path, **changes: Any) -> Options:
    given: dict[str, Any] = {
        "out": out,
        "writer": writer_spec(api(server, **changes.pop("writer", {}))),
        "source": "testbed",
        "items": 8,
        "max_missing": 0.0,
    }
    return Options(**given | changes)


@pytest.mark.parametrize("kind", ["doc", "mhqa"])
def test_a_model_that_reads_the_prompts_alone_makes_true_pairs(tmp_path: Path, kind: Any) -> None:
    with running(write=write) as server:
        made = generate(options(server, tmp_path / "made", kind=kind))
    assert set(server.requests.values()) == {1}, "no question twice"
    assert {(own["temperature"], own["max_tokens"]) for own in server.payloads} == {(1.0, 256)}
    pairs = cg2c.pairs(cg2c.read(made.file))
    assert len(pairs) == 8
    for positive, negative in pairs:
        assert chains.supports(positive["doc"], positive["claim"])
        assert not chains.supports(negative["doc"], positive["claim"])
    order = [own["messages"][-1]["content"].split()[0] for own in server.payloads]
    steps = list(dict.fromkeys(order))
    assert len(steps) == (3 if kind == "doc" else 4)
    assert order == sorted(order, key=steps.index), "a step is one batch over all items"
    spent = made.manifest["costs"]["writer"]
    assert sum(own["requests"] for own in spent.values()) == server.total
    tokens = sum(len(own["messages"][-1]["content"].split()) for own in server.payloads)
    assert sum(own["prompt_tokens"] for own in spent.values()) == tokens


def bad_removals(prompt: str) -> list[str]:
    """Answers to a removal that have the form, and remove nothing; then the right one."""
    first = prompt.partition("Sentences:\n1. ")[2].partition("\n")[0]
    texts: list[Any] = [
        [{"number": 1, "text": first}],
        [{"number": 1, "text": ""}],
        [{"number": 99, "text": "Nothing of this."}],
        [],
    ]
    return [json.dumps({"sentences": text}) for text in texts]


def test_faults_of_all_kinds_change_no_pair(tmp_path: Path) -> None:
    kinds = ["garbage", "half", "refusal", "500", '{"claim": ""}', "[]", '{"triples": "Anna, Ben"}']
    turns: dict[str, int] = {}

    def faults(prompt: str) -> list[str]:
        if prompt.startswith(REMOVAL):
            return bad_removals(prompt)
        turn = turns.setdefault(prompt, len(turns))
        return (kinds[turn % len(kinds) :] + kinds)[: turn % 4]

    with running(write=write) as calm, running(faults, write=write) as rough:
        quiet = generate(options(calm, tmp_path / "quiet"))
        noisy = generate(options(rough, tmp_path / "noisy", writer={"retries": 5}))
    assert noisy.file.read_bytes() == quiet.file.read_bytes()
    assert rough.total > calm.total + 4 * 8
    assert noisy.manifest["costs"]["writer"]["removal"]["rejected"] == 4 * 8


def test_a_claim_that_names_too_little_is_asked_for_again(tmp_path: Path) -> None:
    def faults(prompt: str) -> list[str]:
        return ['{"claim": "Somebody works somewhere."}'] if prompt.startswith("Write one") else []

    with running(faults, write=write) as server:
        made = generate(options(server, tmp_path / "made"))
    assert made.manifest["costs"]["writer"]["claim"]["rejected"] == 8
    assert "Somebody" not in made.file.read_text()


def test_what_stays_unanswered_is_left_out_and_counted(tmp_path: Path) -> None:
    lost: list[str] = []

    def faults(prompt: str) -> list[str]:
        if not lost and prompt.startswith(REMOVAL):
            lost.append(prompt)
        return ["refusal"] * 99 if prompt in lost else []

    with running(faults, write=write) as server:
        wanted = options(server, tmp_path / "made", max_missing=0.2)
        made = generate(wanted)
        assert made.manifest["left_out"] == {"no text without the relation": 1}
        assert (
            made.manifest["pairs"]
            == 7
            == made.manifest["costs"]["writer"]["removal"]["answers"] - 4
        )
        with pytest.raises(
            HarnessError, match=r"left 1 of 8 questions unanswered \(removal\).*sorry"
        ):
            generate(options(server, tmp_path / "strict"))
        assert not (tmp_path / "strict").exists()


def test_triples_about_things_the_text_does_not_name_are_left_out(tmp_path: Path) -> None:
    def invent(prompt: str) -> str:
        answer = write(prompt)
        if not prompt.startswith("List every"):
            return answer
        extra = '{"head": "Anna", "relation": "Anna lives on Mars.", "tail": "Mars"}, '
        return answer.replace('[{"head"', f'[{extra}{{"head"')

    with running(write=write) as plain, running(write=invent) as server:
        expected = generate(options(plain, tmp_path / "expected"))
        made = generate(options(server, tmp_path / "made"))
    assert made.manifest["ungrounded_triples"] == 8
    assert made.file.read_bytes() == expected.file.read_bytes()


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, fresh: Forking) -> None:
    with running(write=write) as calm:
        expected = generate(options(calm, tmp_path / "expected"))
    kept, out = tmp_path / "answers.jsonl", tmp_path / "made"
    with running(delay=0.1, write=write) as server:
        program = f"""
import harness._autoload
from pathlib import Path
from factcg.generation.test_generation_server import generate, options
generate(options({server.url!r}, Path({str(out)!r}), writer={{"store": {str(kept)!r}}}))
"""
        path = str(Path(__file__).parents[2])
        child = fresh.start("-c", program, cwd=tmp_path, **os.environ | {"PYTHONPATH": path})
        child.until(lambda: len(Store(kept)) >= 11)
        child.send(signal.SIGKILL)
        child.wait()
        assert not out.exists()
        time.sleep(0.3)  # what was under way reaches the server's count
        finished, total = len(Store(kept)), 3 * 8
        assert 11 <= finished < total, child.errors[-2000:]
        before, server.delay = server.requests.copy(), 0.0
        made = generate(options(server, out, writer={"store": str(kept)}))
        again = server.requests - before
        assert again.total() == total - finished, "no finished question is asked again"
    assert made.file.read_bytes() == expected.file.read_bytes()
    assert not list(tmp_path.glob(".made*"))


def test_no_secret_is_kept(tmp_path: Path) -> None:
    planted = "sk-planted-0123456789"
    with running(write=write) as server:
        given = json.loads(api(server))
        given["model_args"]["header"] = {"Authorization": f"Bearer {planted}"}
        wanted = options(server, tmp_path / "made")
        made = generate(Options(**vars(wanted) | {"writer": writer_spec(json.dumps(given))}))
    assert planted not in (made.folder / "generation.json").read_text()
