"""The plugin: its metric by hand, and a run on the testbed's tiny model."""

from harness_majority.filters import FirstWord
from harness_majority.metrics import mean_share, mean_share_ci95, vote_share
from lm_eval import simple_evaluate

from harness import Completion, trace_of


def test_the_share_of_votes() -> None:
    assert vote_share(["two"], [Completion("two", {"votes": 3, "of": 5})]) == 0.6
    assert vote_share(["two"], ["two"]) == 1.0
    assert mean_share([0.6, 1.0]) == 0.8
    low, high = mean_share_ci95([0.6, 1.0, 1.0, 0.6])
    assert 0.6 <= low < 0.8 < high <= 1.0


def test_the_filter_keeps_the_trace() -> None:
    ((word,),) = FirstWord().apply([[Completion(" Two. Or three", {"votes": 3})]], [{}])
    assert word == "two" and trace_of(word) == {"votes": 3}


def test_a_run() -> None:
    found = simple_evaluate(
        model="hf-majority",
        model_args="pretrained=testbed:teacher,votes=3,device=cpu",
        tasks=["word_sums"],
        limit=4,
    )
    results = found["results"]["word_sums"]
    assert 1 / 3 <= results["vote_share,word"] <= 1
    low, high = results["vote_share_ci95,word"]
    assert low <= results["vote_share,word"] <= high
    assert len(found["samples"]["word_sums"]) == 4
