"""Interventions and positions, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from harness_axbench.dictionary.directions import Directions
from harness_axbench.steering.interventions import RowEdits
from harness_axbench.steering.positions import Positions
from harness_axbench.steering.steering import KINDS, Steering
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from harness import Place, compose
from harness.errors import ArtefactError, HarnessError
from harness.models.responses import trace_of

SteeredHF = compose("hf-steered")


def directions(activation: str = "linear", **more: list[Any]) -> Directions:
    tensors = {"weight": torch.tensor([[1.0, 0.0], [0.0, 2.0]])}
    tensors |= {name: torch.tensor(value) for name, value in more.items()}
    return Directions.of(tensors, activation)


def row(intervention: str, scale: float | None, place: int = 0) -> Steering:
    return Steering("m", place, scale, 1.0, 0, place, intervention)


def test_scores() -> None:
    hidden = torch.tensor([[4.0, 9.0], [2.0, 9.0], [-1.0, -9.0]])
    for activation, expected in (
        ("linear", [3.0, 1.0, -2.0]),
        ("relu", [3.0, 1.0, 0.0]),
        ("jumprelu", [3.0, 0.0, 0.0]),
    ):
        read = directions(
            activation,
            encoder=[[1.0, 0.0], [0.0, 1.0]],
            bias=[-1.0, 0.0],
            threshold=[2.0, 0.0],
        )
        assert read.scores(hidden)[:, 0].tolist() == expected


def test_every_kind_by_hand_in_one_batch() -> None:
    """h = (3, 5) for the unit vector (1, 0); h = (3, 5) for (0, 2), whose score is 10."""
    hidden = torch.tensor([3.0, 5.0]).expand(9, 4, 2)
    rows = [
        row("add", 2.0),
        row("clamp", 2.0),
        row("min_clamp", 2.0),
        row("min_clamp", 7.0),
        row("null_out", None),
        row("clamp", 12.0, place=1),  # another factor and concept than the clamp above
        row("null_out", None, place=1),
        row("add", -1.0, place=1),
        None,
    ]
    expected = [(5, 5), (2, 5), (3, 5), (7, 5), (0, 5), (3, 9), (3, 0), (3, 3), (3, 5)]
    edits = RowEdits.of(directions(), rows)
    found = edits.apply(hidden)
    for place, values in enumerate(expected):
        assert found[place].tolist() == [list(map(float, values))] * 4
    flat = edits.select(torch.arange(9).repeat_interleave(4)).apply(hidden.reshape(-1, 2))
    assert torch.equal(flat, found.reshape(-1, 2))
    where = torch.tensor([[True, False, False, True]]).expand(9, 4)
    some = edits.apply(hidden, where)
    assert torch.equal(some[:, [0, 3]], found[:, [0, 3]])
    assert torch.equal(some[:, [1, 2]], hidden[:, [1, 2]])


def test_clamping_reads_with_the_encoder_and_writes_with_the_decoder() -> None:
    read = directions("jumprelu", encoder=[[0.0, 1.0], [1.0, 0.0]], threshold=[6.0, 0.0])
    hidden = torch.tensor([[[3.0, 5.0]], [[3.0, 7.0]]])
    found = RowEdits.of(read, [row("clamp", 9.0), row("clamp", 9.0)]).apply(hidden)
    assert found.tolist() == [[[12.0, 5.0]], [[5.0, 7.0]]], "z is 0 below the threshold, else 7"


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_a_clamp_beside_the_references(activation: str) -> None:
    """h − ReLU(h·w)·w + s·w; a linear method's takes out a negative h·w besides."""
    w, s = torch.tensor([0.6, 0.8]), 2.0
    hidden = torch.tensor([[[3.0, 5.0], [-1.0, -2.0]]])
    along = (hidden @ w).unsqueeze(-1)
    theirs = hidden - along.relu() * w + s * w
    read = Directions.of({"weight": w.unsqueeze(0)}, activation)
    ours = RowEdits.of(read, [row("clamp", s)]).apply(hidden)
    more = -along.clamp_max(0) * w if activation == "linear" else 0
    torch.testing.assert_close(ours, theirs + more)
    if activation == "linear":
        torch.testing.assert_close(ours @ w, torch.full((1, 2), s))


def test_null_out_leaves_what_points_away_and_counts_the_bias() -> None:
    hidden = torch.tensor([[[-3.0, 5.0]], [[3.0, 5.0]]])
    edits = RowEdits.of(directions(bias=[1.0, 0.0]), [row("null_out", None)] * 2)
    assert edits.apply(hidden).tolist() == [[[-3.0, 5.0]], [[-1.0, 5.0]]]


def test_directions_that_do_not_hold() -> None:
    with pytest.raises(ArtefactError, match=r"'bias' has the shape \[3\], not \[2\]"):
        directions(bias=[0.0, 0.0, 0.0])
    with pytest.raises(ArtefactError, match="'weight' holds values that are not finite"):
        Directions.of({"weight": torch.tensor([[float("nan")]])}, "linear")
    with pytest.raises(ArtefactError, match="activation 'gelu' is unknown"):
        directions("gelu")


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("all", [1, 1, 1, 1], [0, 0, 1, 1]),
        ("prompt", [1, 1, 1, 1], [0, 0, 1, 1]),
        ("generated", [0, 0, 0, 0], [0, 0, 0, 0]),
        ("1:", [0, 1, 1, 1], [0, 0, 0, 1]),
        ("0:1", [1, 0, 0, 0], [0, 0, 1, 0]),
        ("-3:", [0, 1, 1, 1], [0, 0, 1, 1]),
        ("-3:-1", [0, 1, 1, 0], [0, 0, 1, 0]),
        (":", [1, 1, 1, 1], [0, 0, 1, 1]),
    ],
)
def test_positions_are_counted_from_the_start(
    text: str, first: list[int], second: list[int]
) -> None:
    found = Positions.parse(text)
    whole = [Place(0, 4), Place(-2, 2)]  # the second is padded by two
    assert found.of(whole, 4).int().tolist() == [first, second]
    for cut in range(1, 4):  # the same in two passes
        later = [Place(cut, 4), Place(cut - 2, 2)]
        parts = [found.of(whole, cut), found.of(later, 4 - cut)]
        assert torch.cat(parts, 1).int().tolist() == [first, second]
    behind = found.of([Place(4, 4), Place(2, 2)], 3)
    assert behind.tolist() == [[found.generated] * 3] * 2
    assert found.generated == (text in ("all", "generated", ":") or text.endswith(":"))
    assert found.everywhere == (text in ("all", ":"))


GREEDY = {"until": [], "max_gen_toks": 6, "do_sample": False}


def request(prompt: str, concept: int, factor: float | None) -> Any:
    doc = {"concept_id": concept, "factor": factor}
    return Instance("generate_until", doc, (prompt, GREEDY), 0, ("axbench_steer", 0, 1))


def model(pretrained: str, steering: Path, **options: Any) -> SteeredHF:
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 8, "method": "diffmean"}
    return SteeredHF(pretrained, steering=str(steering), **settings | options)


def greedy_by_hand(lm: SteeredHF, prompt: str, edit: Any) -> str:
    """Token by token without a cache; ``edit(hidden, n_prompt)`` changes the block's output."""
    ids = lm.tokenizer(prompt, return_tensors="pt")["input_ids"]
    n_prompt = ids.shape[1]

    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output if isinstance(output, torch.Tensor) else output[0]
        changed = edit(hidden.clone(), n_prompt)
        return changed if isinstance(output, torch.Tensor) else (changed, *output[1:])

    handle = lm.model.model.layers[1].register_forward_hook(hook)
    with torch.no_grad():
        for _ in range(GREEDY["max_gen_toks"]):
            ids = torch.cat([ids, lm.model(ids).logits[:, -1:].argmax(-1)], 1)
            if ids[0, -1] == lm.tokenizer.eos_token_id:
                break
    handle.remove()
    return lm.tokenizer.decode(ids[0, n_prompt:], skip_special_tokens=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    rows = [row("add", 2.3), row("clamp", 2.3), row("null_out", None)]
    hidden = torch.tensor([3.3, 5.1]).to(dtype).expand(3, 4, 2)
    found = RowEdits.of(directions(), rows).apply(hidden)
    assert found.dtype == dtype
    exact = RowEdits.of(directions(), rows).apply(hidden.float())
    torch.testing.assert_close(found.float(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0.02)


def test_a_half_precision_model(llama: str, steering: Path) -> None:
    lm = model(llama, steering, dtype="bfloat16", intervention="clamp")
    assert all(lm.generate_until([request("the old", 0, 2.0), request("we see", 1, 0.4)]))
    scored = Instance(
        "loglikelihood", {"concept_id": 1, "factor": 2.0}, ("the", " old"), 0, ("t", 0, 1)
    )
    assert lm.loglikelihood([scored])[0][0] < 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", ["all", "prompt", "generated", "2:"])
def test_generation_under_every_kind_and_position(
    llama: str, steering: Path, kind: str, positions: str
) -> None:
    """Mixed factors, concepts and lengths in one batch, against a loop without a cache."""
    lm = model(llama, steering, intervention=kind, positions=positions)
    factors = (None, None, None) if kind == "null_out" else (0.7, 3.0, 1.5)
    prompts = ("the old green house near the door", "we see", "a very small")
    found = lm.generate_until(
        [request(p, c, f) for c, (p, f) in enumerate(zip(prompts, factors, strict=True))]
    )
    weight, units = lm.plan.found.weight("diffmean"), lm.plan.found.facts("diffmean")["max_act"]
    for concept, (prompt, factor) in enumerate(zip(prompts, factors, strict=True)):
        w = weight[concept]

        def edit(
            hidden: torch.Tensor,
            n: int,
            w: torch.Tensor = w,
            concept: int = concept,
            factor: float | None = factor,
        ) -> torch.Tensor:
            z = hidden @ w
            s = (factor or 0) * units[concept]
            c = {
                "add": torch.full_like(z, s),
                "clamp": s - z,
                "min_clamp": (s - z).clamp_min(0),
                "null_out": -z.clamp_min(0) / (w @ w),
            }[kind]
            place = torch.arange(hidden.shape[1])
            chosen = {
                "all": place >= 0,
                "prompt": place < n,
                "generated": place >= n,
                "2:": place >= 2,
            }[positions]
            return hidden + (c * chosen).unsqueeze(-1) * w

        assert found[concept] == greedy_by_hand(lm, prompt, edit)
    assert trace_of(found[1])["intervention"] == kind
    assert trace_of(found[1])["positions"] == positions


def test_positions_are_for_generation(llama: str, steering: Path) -> None:
    lm = model(llama, steering, positions="prompt", concept=1, factor=1.0)
    scored = Instance("loglikelihood", {}, ("the", " old"), 0, ("t", 0, 1))
    with pytest.raises(HarnessError, match="texts are scored with positions=all"):
        lm.loglikelihood([scored])


def test_null_out_has_no_factor(llama: str, steering: Path) -> None:
    lm = model(llama, steering, intervention="null_out", concept=1)
    assert lm.plan.everywhere is not None
    assert lm.plan.everywhere.factor is None
    with pytest.raises(HarnessError, match="pass both or neither"):
        model(llama, steering, intervention="clamp", concept=1)


def test_perplexity_is_the_unsteered_models(llama: str, steering: Path, tmp_path: Path) -> None:
    lm = model(llama, steering, perplexity=True, response_cache=str(tmp_path / "r.jsonl"))
    rows = [request("the old", 0, 2.0), request("we see the", 1, 0.4)]
    found = lm.generate_until(rows)
    stock = HFLM(llama, device="cpu", dtype="float32")
    for row, answer in zip(rows, found, strict=True):
        context, answered = stock._encode_pair(row.args[0], str(answer))
        ids = torch.tensor([[*context, *answered]])
        with torch.no_grad():
            logp = stock.model(ids).logits.log_softmax(-1)[0, len(context) - 1 : -1]
        mean = -logp.gather(1, torch.tensor(answered).unsqueeze(1)).mean()
        assert trace_of(answer)["perplexity"] == pytest.approx(float(mean.exp()), rel=1e-4)
