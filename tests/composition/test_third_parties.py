"""The example package's parts with the plugins' own, and parts that cannot meet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from composition.steering import GREEDY, LENGTH, SAMPLED, TURNS, asked
from harness import HarnessError, Prompt, Wrapper, compose, trace_of
from harness.host import discovery
from harness.models import composing

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).parents[1] / "example_plugin"
ARGUMENTS = {"device": "cpu", "dtype": "float64", "batch_size": 8}
REGISTER = """
from harness import HFWrapper, Wrapper, hookimpl

class Doubled(Wrapper):
    def __init__(self, pretrained, *, votes=2, **kwargs):
        super().__init__(pretrained, **kwargs)

class Old(HFWrapper):
    def _model_generate(self, *args, **kwargs):
        return super()._model_generate(*args, **kwargs)

class Forgetful(HFWrapper):
    def note(self, request):
        return {"forgetful": 1}

class Clash(Wrapper):
    def __init__(self, pretrained, *, method="", **kwargs):
        super().__init__(pretrained, **kwargs)

class Lonely(Wrapper):
    stands_alone = "it asks nobody"

@hookimpl
def register(registrar):
    registrar.wrapper("doubled", stage="answers", hf="{0}_plugin:Doubled")
    registrar.wrapper("old", stage="edits", hf="{0}_plugin:Old")
    registrar.wrapper("forgetful", stage="edits", hf="{0}_plugin:Forgetful")
    registrar.wrapper("clash", stage="edits", hf="{0}_plugin:Clash")
    registrar.wrapper("broken", stage="edits", hf="{0}_plugin:Nobody")
    registrar.wrapper("lonely", stage="answers", hf="{0}_plugin:Lonely")
"""


@pytest.fixture(scope="module", autouse=True)
def third_parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example package and another, installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "odd_plugin.py").write_text(REGISTER.replace("{0}", "odd"))
    for name, module in (("majority", "harness_majority.plugin"), ("odd", "odd_plugin")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[paperharness]\n{name} = {module}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        patch.syspath_prepend(str(site))
        discovery.plugins.cache_clear()
        yield
    discovery.plugins.cache_clear()
    composing._composed.cache_clear()


def made(name: str, dictionary: Path | None = None, **more: Any) -> Any:
    steering = {"steering": str(dictionary), "method": "diffmean"} if dictionary else {}
    return compose(name)("testbed:teacher", **ARGUMENTS, **steering, **more)


def texts(answers: list[Any]) -> list[str]:
    return list(map(str, answers))


def test_one_that_answers(of_teacher: Path) -> None:
    """Three votes, each of a steered answer of its own; the winner keeps its trace."""
    lm = made("hf-majority+speculative+steered", of_teacher, votes=3, drafter="testbed:student")
    short = SAMPLED | {"max_gen_toks": 2, "temperature": 0.7}
    found = lm.generate_until(asked(short), disable_tqdm=True)
    one = made("hf-steered+speculative", of_teacher)
    ballots = [request for request in asked(short) for _ in range(3)]
    cast = [text.strip() for text in texts(one.generate_until(ballots, disable_tqdm=True))]
    for k, answer in enumerate(found):
        own = cast[3 * k : 3 * k + 3]
        assert answer == max(own, key=own.count)
        trace = trace_of(answer)
        assert trace["of"] == 3 and trace["votes"] == own.count(answer)
        assert "speculation" in trace and ("concept_id" in trace) == (k % 4 != 3)
    assert len(set(cast[:3] + cast[3:6])) > 2
    assert lm.get_model_info()["method"] == (
        "majority(3 votes) + steered(diffmean) + speculative(testbed:student, γ 5)"
    )
    assert lm.get_model_info()["method_args"]["majority.votes"] == 3


def test_one_that_edits(of_teacher: Path) -> None:
    """Two edits on one model, decoded with and without a drafter."""
    damping = {"damped_layer": 1, "damping": 0.3}
    plain = texts(made("hf-damped+steered", of_teacher, **damping).generate_until(asked(GREEDY)))
    fast = made(
        "hf-damped+speculative+steered", of_teacher, **damping, drafter="testbed:student", gamma=3
    )
    assert texts(fast.generate_until(asked(GREEDY), disable_tqdm=True)) == plain
    traces = [trace_of(one) for one in fast.generate_until(asked(GREEDY)[:1], disable_tqdm=True)]
    assert traces[0]["damping"] == 0.3 and traces[0]["concept_id"] == 0
    alone = [made("hf-damped", **damping), made("hf-steered", of_teacher)]
    for lm in alone:
        assert texts(lm.generate_until(asked(GREEDY))) != plain
    nothing = made("hf-damped+steered", of_teacher, damped_layer=1, damping=1.0)
    assert texts(nothing.generate_until(asked(GREEDY))) == texts(
        alone[1].generate_until(asked(GREEDY))
    )


def test_what_a_constructor_is_given_is_in_the_caches_keys(tmp_path: Path) -> None:
    """Two blocks, one file: the second run's answers are its own."""
    cache = {"damping": 0.3, "response_cache": str(tmp_path / "answers.jsonl")}
    found, plain = [], []
    for layer in (0, 2, 0):
        lm = made("hf-damped", damped_layer=layer, **cache)
        found.append(texts(lm.generate_until(asked(GREEDY))))
        alone = made("hf-damped", damped_layer=layer, damping=0.3)
        plain.append(texts(alone.generate_until(asked(GREEDY))))
    assert found == plain and found[0] != found[1]
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2 * len(TURNS)


def test_one_that_decodes(of_teacher: Path, tmp_path: Path) -> None:
    """Its answers are steered, those of transformers, and kept with their traces."""
    expected = texts(made("hf-steered", of_teacher).generate_until(asked(GREEDY)))
    cache = str(tmp_path / "answers.jsonl")
    for _ in range(2):
        lm = made("hf-certain+steered", of_teacher, response_cache=cache)
        found = lm.generate_until(asked(GREEDY), disable_tqdm=True)
        assert texts(found) == expected
        assert all(-5 < trace_of(one)["mean_log_probability"] < 0 for one in found)
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == len(TURNS)


@pytest.mark.filterwarnings("ignore")  # of vLLM's own imports
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf-majority+doubled", r"doubled and majority both take --model_args votes: they cannot"),
        (
            "hf-old+speculative",
            r"speculative would pass by Old\._model_generate, so that old would",
        ),
        ("hf-lonely+steered", r"lonely cannot be joined with steered: it asks nobody"),
        (
            "hf-forgetful+steered",
            r"forgetful: Forgetful\.note does not ask super\(\)\.note",
        ),
        ("hf-broken+steered", r"'broken' of 'odd' .* from 'odd_plugin:Nobody': AttributeError: "),
        ("hf-steered+speclative", r"no part 'speclative' for hf; did you mean speculative\?"),
        ("hf-clash+steered", r"clash and steered both take --model_args method: they cannot"),
        ("hf-certain+speculative", r"certain and speculative both decode; use one of them"),
        ("hf-steered+quiet", r"there is no part 'quiet' for hf; there are broken, certain, clash,"),
        ("vllm-damped+steered", r"there is no part 'damped' for vllm \('damped' is for hf\); the"),
        pytest.param(
            *("vllm-fact-checker+steered", r"fact-checker cannot be joined with steered: it asks"),
            marks=pytest.mark.vllm,
        ),
        ("gguf-steered", r"'gguf-steered' is not of the form BACKEND-PART\+PART, with hf or vllm"),
    ],
)
def test_parts_that_cannot_meet_are_refused_in_a_line(name: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said) as refused:
        compose(name)
    words = str(refused.value)
    assert "\n" not in words and all(part in words for part in name.partition("-")[2].split("+"))


def test_the_order_in_which_parts_are_named_is_of_no_account() -> None:
    names = ("hf-steered+majority+speculative", "hf-speculative+steered+majority")
    assert compose(names[0]) is compose(names[1])
    order = [kind.__name__ for kind in compose(names[0]).__mro__]
    places = [order.index(f"{part}Mixin") for part in ("Majority", "Steering", "Speculative")]
    assert places == sorted(places)


def test_notes_are_part_of_what_an_answer_depends_on() -> None:
    prompt = Prompt("a", "k", 1, {"damping": 0.5, "steering": None}, 2)
    assert prompt.treatment == '{"damping": 0.5}'
    assert Prompt("a", "k", 1, {"steering": None}).treatment == ""
    other = prompt.saying("b")
    assert (other, other.key, other.repeat, other.notes) == ("b", "k", 2, prompt.notes)
    assert LENGTH > 2 and issubclass(compose("hf-damped"), Wrapper)


def test_of_two_edits_of_a_block_the_one_named_first_edits_last(of_teacher: Path) -> None:
    """``damped`` makes nothing of what ``steered`` has added to the answer's tokens."""
    nothing = {"damped_layer": 2, "damping": 0.0}
    alone = texts(made("hf-damped", **nothing).generate_until(asked(GREEDY)))
    both = made("hf-steered+damped", of_teacher, positions="generated", **nothing)
    assert texts(both.generate_until(asked(GREEDY))) == alone
    assert both.get_model_info()["parts"] == ["damped", "steered"]
    half = {"damped_layer": 2, "damping": 0.5}
    steered = made("hf-steered+damped", of_teacher, positions="generated", **half)
    assert texts(steered.generate_until(asked(GREEDY))) != texts(
        made("hf-damped", **half).generate_until(asked(GREEDY))
    )
