"""hf-steered: one vector a row, no trace left, durable answers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from harness import compose
from harness.errors import ArtefactError, HarnessError
from harness.models.responses import trace_of

SteeredHF = compose("hf-steered")

GREEDY = {"until": [], "max_gen_toks": 12, "do_sample": False}
ROWS = [
    (concept, factor, prompt)
    for concept in (0, 1, 2)
    for factor in (0.4, 3.0)
    for prompt in ("the old", "a very small green house near", "we see the door and")
]


def model(pretrained: str, steering: Path | None, **options: Any) -> SteeredHF:
    folder = str(steering) if steering else None
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 7, "method": "diffmean"}
    return SteeredHF(pretrained, steering=folder, **settings | options)


def generation(
    prompt: str, doc: dict[str, Any], task: str = "axbench_steer", **changes: Any
) -> Any:
    return Instance("generate_until", doc, (prompt, GREEDY | changes), 0, (task, 0, 1))


def steered(concept: int, factor: float, prompt: str, **changes: Any) -> Any:
    return generation(prompt, {"concept_id": concept, "factor": factor}, **changes)


def test_a_mixed_batch_equals_one_row_at_a_time(llama: str, steering: Path) -> None:
    together = model(llama, steering).generate_until([steered(*row) for row in ROWS])
    single = model(llama, steering, batch_size=1)
    alone = [single.generate_until([steered(*row)])[0] for row in ROWS]
    assert together == alone
    assert len(set(together)) > len(ROWS) // 2
    assert trace_of(together[1]) == {
        "method": "diffmean",
        "concept_id": 0,
        "factor": 0.4,
        "max_act": pytest.approx(max_acts(steering)[0]),
        "layer": 1,
        "intervention": "add",
        "positions": "all",
    }


def max_acts(steering: Path) -> list[float]:
    manifest = json.loads((steering / "dictionary.json").read_text())
    return manifest["methods"]["diffmean"]["max_act"]


def test_the_vector_is_added_at_every_position(llama: str, steering: Path) -> None:
    """Against a forward pass written out by hand: embeddings, blocks, norm and head."""
    lm = model(llama, steering, concept=1, factor=1.5)
    vector = 1.5 * max_acts(steering)[1] * lm.plan.found.weight("diffmean")[1]
    ids = lm.tokenizer("the green house", return_tensors="pt")["input_ids"]

    def by_hand(module: Any, inputs: Any, output: Any) -> Any:
        return output + vector if isinstance(output, torch.Tensor) else (output[0] + vector,)

    with torch.no_grad():
        handle = lm.model.model.layers[1].register_forward_hook(by_hand)
        expected = lm.model(ids).logits
        handle.remove()
        with lm._editor.under([lm.plan.everywhere], None):
            found = lm.model(ids).logits
        plain = lm.model(ids).logits
    torch.testing.assert_close(found, expected)
    assert (found - plain).abs().max() > 0.1


def test_hooks_leave_no_trace(llama: str, steering: Path) -> None:
    lm = model(llama, steering)
    ids = torch.arange(3, 12).unsqueeze(0)
    with torch.no_grad():
        before = lm.model(ids).logits
    lm.generate_until([steered(*row) for row in ROWS[:4]])
    with pytest.raises(RuntimeError), lm._editor.under([lm.plan.steering(0, 1.0)], None):
        raise RuntimeError("a failure under the hook")
    with torch.no_grad():
        after = lm.model(ids).logits
    assert torch.equal(before, after)
    assert not any(module._forward_hooks for module in lm.model.modules())


def test_left_padding_changes_nothing(llama: str, steering: Path) -> None:
    long = "the very old green house near the door and the small green house " * 3
    short = (2, 2.0, "we see")
    lm = model(llama, steering)
    alone = lm.generate_until([steered(*short)])
    padded = lm.generate_until([steered(0, 1.0, long), steered(*short)])
    assert padded[1] == alone[0]


def test_factor_zero_is_the_stock_model(llama: str, steering: Path) -> None:
    prompts = [row[2] for row in ROWS[:3]]
    stock = HFLM(llama, device="cpu", dtype="float32", batch_size=3)
    expected = stock.generate_until([generation(prompt, {}) for prompt in prompts])
    lm = model(llama, steering)
    assert lm.generate_until([steered(0, 0.0, prompt) for prompt in prompts]) == expected


def test_several_answers_a_prompt(llama: str, steering: Path) -> None:
    """Beam search repeats the rows of a batch; each copy keeps its row's vector."""
    lm = model(llama, steering)
    rows = [steered(*row, num_beams=2) for row in ROWS[:6]]
    alone = [lm.generate_until([row])[0] for row in rows]
    assert lm.generate_until(rows) == alone


def test_loglikelihood_follows_each_rows_steering(llama: str, steering: Path) -> None:
    docs = [{"concept_id": c, "factor": f} for c, f in ((0, 0.5), (1, 2.0), (0, 0.5), (2, 4.0))]
    docs.append({})
    requests = [
        Instance("loglikelihood", doc, ("the green", answer), 0, ("other", 0, 1))
        for doc in docs
        for answer in (" door", " house")
    ]
    lm = model(llama, steering)
    together = lm.loglikelihood(requests)
    alone = [lm.loglikelihood([request])[0] for request in requests]
    for left, right in zip(together, alone, strict=True):
        assert left[0] == pytest.approx(right[0], abs=1e-4)
    assert len({round(answer[0], 4) for answer in together}) == 8
    assert trace_of(together[2])["concept_id"] == 1
    stock = HFLM(llama, device="cpu", dtype="float32").loglikelihood(requests[-2:])
    assert [a[0] for a in together[-2:]] == pytest.approx([a[0] for a in stock], abs=1e-4)


def test_rows_without_a_concept(
    llama: str, steering: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [generation("the old", {"question": k}, task="arc") for k in range(3)]
    with caplog.at_level(logging.WARNING, logger="harness_axbench.steering.plan"):
        plain = model(llama, steering).generate_until(rows)
    messages = [r.message for r in caplog.records if "arc" in r.message]
    assert len(messages) == 1
    assert messages[0].startswith("arc: its rows name no concept")
    everywhere = model(llama, steering, concept=2, factor=3.0)
    assert (
        everywhere.generate_until(rows)[0]
        == everywhere.generate_until([steered(2, 3.0, "the old")])[0]
    )
    assert everywhere.generate_until(rows)[0] != plain[0]


def test_rows_without_a_factor_are_refused(llama: str, steering: Path) -> None:
    row = generation("the old", {"concept_id": 1, "factor": None})
    with pytest.raises(HarnessError, match=r"a concept and no factor.*metadata="):
        model(llama, steering).generate_until([row])


def test_bow_refuses_to_steer(llama: str, steering: Path) -> None:
    lm = model(llama, steering, method="bow")
    with pytest.raises(HarnessError, match="method=bow cannot steer; it is for axbench_detect"):
        lm.generate_until([steered(*ROWS[0])])


def test_arguments_that_do_not_fit(llama: str, steering: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="needs steering=DIR"):
        model(llama, None)
    with pytest.raises(HarnessError, match="pass both or neither"):
        model(llama, steering, concept=1)
    with pytest.raises(ArtefactError, match="no method 'pca' in it; it has diffmean, random, bow"):
        model(llama, steering, method="pca")
    with pytest.raises(HarnessError, match="pass method="):
        model(llama, steering, method=None)
    with pytest.raises(ArtefactError, match="no concept 77 in it; it has 3, 0 … 2"):
        model(llama, steering, concept=77, factor=1.0)
    with pytest.raises(ArtefactError, match=r"no dictionary.json there"):
        model(llama, tmp_path)
    with pytest.raises(HarnessError, match="intervention=push is not one of add, clamp"):
        model(llama, steering, intervention="push")
    with pytest.raises(HarnessError, match="positions=last is not one of"):
        model(llama, steering, positions="last")
    with pytest.raises(HarnessError, match="bow has no directions"):
        model(llama, steering, method="bow", intervention="clamp")


def test_another_width_is_refused(steering: Path, tmp_path: Path, tokenizer: Any) -> None:
    from axbench.conftest import make_llama

    wide = make_llama(tmp_path / "wide", tokenizer, hidden=48)
    with pytest.raises(ArtefactError, match=r"hidden size 32.*hidden size is 48"):
        model(wide, steering)


def test_lm_evals_cache_is_refused(llama: str, steering: Path, tmp_path: Path) -> None:
    from lm_eval.api.model import CachingLM

    with pytest.raises(HarnessError, match="response_cache="):
        CachingLM(model(llama, steering), str(tmp_path / "cache.db"))


def count_calls(lm: SteeredHF, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    calls = SimpleNamespace(n=0)
    stock = type(lm.model).forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.n += 1
        return stock(self, *args, **kwargs)

    monkeypatch.setattr(type(lm.model), "forward", forward)
    return calls


def test_a_rerun_asks_the_model_nothing(
    llama: str, steering: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "answers" / "responses.jsonl")
    sampled = {"do_sample": True, "temperature": 1.0}
    requests = [steered(*row, **sampled) for row in ROWS[:6]] + [steered(*ROWS[0], **sampled)] * 2
    scored = [
        Instance("loglikelihood", {"concept_id": 1, "factor": 2.0}, ("the", a), 0, ("t", 0, 1))
        for a in (" a", " b")
    ]
    torch.manual_seed(11)
    first = model(llama, steering, response_cache=path)
    before = first.generate_until(requests), first.loglikelihood(scored)
    torch.manual_seed(11)
    again = model(llama, steering, response_cache=path)
    calls = count_calls(again, monkeypatch)
    after = again.generate_until(requests), again.loglikelihood(scored)
    assert calls.n == 0
    assert after == before
    assert [trace_of(x) for x in after[0]] == [trace_of(x) for x in before[0]]
    assert len({before[0][0], *before[0][6:]}) > 1, "repeats are answers of their own"
    again.generate_until([steered(1, 0.9, "the old", **sampled)])
    assert calls.n > 0


def test_the_cache_tells_settings_apart(
    llama: str, steering: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "responses.jsonl")
    model(llama, steering, response_cache=path).generate_until([steered(*ROWS[0])])
    for changes in ({"method": "random"}, {"dtype": "float64"}):
        other = model(llama, steering, response_cache=path, **changes)
        calls = count_calls(other, monkeypatch)
        other.generate_until([steered(*ROWS[0])])
        assert calls.n > 0
    same = model(llama, steering, response_cache=path, batch_size=2)
    calls = count_calls(same, monkeypatch)
    same.generate_until([steered(*ROWS[0])])
    assert calls.n == 0
    same.generate_until([steered(*ROWS[0], max_gen_toks=5)])
    assert calls.n > 0


def test_a_kill_loses_no_finished_batch(
    llama: str, steering: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "responses.jsonl")
    lm = model(llama, steering, response_cache=path, batch_size=4)
    stock, batches = lm._model_generate, []

    def killed(*args: Any, **kwargs: Any) -> Any:
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(1)
        return stock(*args, **kwargs)

    monkeypatch.setattr(lm, "_model_generate", killed)
    with pytest.raises(KeyboardInterrupt):
        lm.generate_until([steered(*row) for row in ROWS])
    assert len(Path(path).read_text().splitlines()) == 8
    resumed = model(llama, steering, response_cache=path)
    expected = model(llama, steering).generate_until([steered(*row) for row in ROWS])
    assert resumed.generate_until([steered(*row) for row in ROWS]) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"concept": 1.5, "factor": 1}, "concept=1.5: write a whole number"),
        ({"concept": True, "factor": 1}, "concept=True: write a whole number"),
        ({"concept": "x", "factor": 1}, "concept=x: write a whole number"),
        ({"concept": 1, "factor": "abc"}, "factor=abc: write a number"),
        ({"concept": 1, "factor": float("nan")}, "factor=nan: write a number"),
    ],
)
def test_arguments_that_are_no_numbers(
    llama: str, steering: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        model(llama, steering, **given)


def test_model_info_names_the_method(llama: str, steering: Path) -> None:
    info = model(llama, steering, concept=1, factor=2.0).get_model_info()
    assert info["method"] == "diffmean"
    assert info["layer"] == 1
    assert len(info["artefact_hash"]) == 64
    assert info["method_args"]["factor"] == 2.0


def test_an_unsteered_run_is_not_the_methods(llama: str, steering: Path) -> None:
    lm = model(llama, steering)
    lm.generate_until([generation("the old", {"question": 1}, task="arc")])
    info = lm.get_model_info()
    assert (info["method"], info["applied"]) == ("", {"arc": "0 of 1"})
    request = steered(*ROWS[0])
    lm.generate_until([request, generation("the old", {"question": 2}, task="arc")])
    info = lm.get_model_info()
    assert info["method"] == "diffmean" and info["method_by_task"] == {"arc": ""}
    assert info["applied"] == {"arc": "0 of 2", request.task_name: "1 of 1"}


def test_rolling_loglikelihood_is_steered(llama: str, steering: Path) -> None:
    def request(doc: dict[str, Any]) -> Any:
        return Instance("loglikelihood_rolling", doc, ("the green house",), 0, ("t", 0, 1))

    lm = model(llama, steering)
    plain, moved = lm.loglikelihood_rolling([request({}), request({"concept_id": 1, "factor": 2})])
    assert plain != moved
    assert plain == pytest.approx(
        HFLM(llama, device="cpu", dtype="float32").loglikelihood_rolling([request({})])[0]
    )
