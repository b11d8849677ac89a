"""Activations and the methods, against numpy, scikit-learn and transformers' own outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_axbench.activations.blocks import UpperBlocks, block_output
from harness_axbench.activations.corpus import Library
from harness_axbench.activations.reader import Reader, counted_tokens
from harness_axbench.data import concepts
from harness_axbench.dictionary import folder as dictionary
from harness_axbench.dictionary.units import max_act
from harness_axbench.methods import find, listed
from harness_axbench.methods.base import sequence_scores
from harness_axbench.methods.bow import BagOfWords
from harness_axbench.models.detection import text_method
from harness_axbench.options import run_options
from harness_axbench.training.options import Options
from harness_axbench.training.train import train
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
)

from harness.errors import DataError, HarnessError
from harness.models.blocks import blocks


@pytest.fixture(scope="module")
def reader(llama: str) -> Reader:
    return load(llama, layer=1)


def load(path: str, **options: Any) -> Reader:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return Reader(model, AutoTokenizer.from_pretrained(path), **options)


def states(reader: Reader, row: Any) -> np.ndarray:
    """All token states of one text, by transformers' own hidden_states, without the prefix."""
    ids = torch.tensor([reader.encode(row)])
    with torch.no_grad():
        out = reader.model(ids, output_hidden_states=True)
    return out.hidden_states[reader.layer + 1][0, reader.prefix :].double().numpy()


def test_diffmean_is_the_difference_of_means(
    reader: Reader, steering: Path, data_folder: Path
) -> None:
    found = concepts.load(run_options({"axbench_data": str(data_folder)}))
    weight = dictionary.read(steering).weight("diffmean").numpy()
    for place, concept in enumerate(found.concepts):
        positive, negative = (
            np.concatenate([states(reader, row) for row in rows]).mean(0)
            for rows in (found.positives(concept), found.negatives(concept.genre))
        )
        expected = (positive - negative) / np.linalg.norm(positive - negative)
        np.testing.assert_allclose(weight[place], expected, atol=1e-5)


def test_max_act_is_the_largest_sequence_score(
    reader: Reader, steering: Path, data_folder: Path
) -> None:
    found = concepts.load(run_options({"axbench_data": str(data_folder)}))
    stored = dictionary.read(steering)
    for method in ("diffmean", "random"):
        weight = stored.weight(method).double().numpy()
        for place, concept in enumerate(found.concepts):
            rows = [row for row in found.evaluation if row["concept_id"] == concept.id]
            expected = max((states(reader, row) @ weight[place]).max() for row in rows)
            assert stored.facts(method)["max_act"][place] == pytest.approx(expected, rel=1e-4)
            assert stored.facts(method)["max_act_origin"][place] == "eval"


def test_max_act_from_train(
    reader: Reader, make_dictionary: Callable[..., Path], data_folder: Path, tmp_path: Path
) -> None:
    stored = dictionary.read(
        make_dictionary(tmp_path / "d", methods=("diffmean",), max_act_from="train")
    )
    found = concepts.load(run_options({"axbench_data": str(data_folder)}))
    weight = stored.weight("diffmean").double().numpy()
    rows = found.positives(found.concepts[2]) + found.negatives("code")
    expected = max((states(reader, row) @ weight[2]).max() for row in rows)
    assert stored.facts("diffmean")["max_act"][2] == pytest.approx(expected, rel=1e-4)
    assert stored.facts("diffmean")["max_act_origin"] == ["train"] * 3


def test_max_act_without_texts_or_sign() -> None:
    assert max_act(float("-inf"), "eval") == (1.0, "no text in eval")
    assert max_act(-0.5, "eval") == (50.0, "not positive in eval")
    assert max_act(2.5, "train") == (2.5, "train")


def test_random_vectors_are_unit_and_independent_of_the_number(steering: Path) -> None:
    weight = dictionary.read(steering).weight("random")
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(3))
    assert weight.dtype == torch.float32
    assert abs(float(weight[0] @ weight[1])) < 0.9


def test_bow_is_scikit_learns_pipeline(steering: Path, data_folder: Path) -> None:
    found = concepts.load(run_options({"axbench_data": str(data_folder)}))
    texts = [f"{row['input']}\n{row['output']}" for row in found.evaluation]
    texts.append("words nobody has seen")
    scores = text_method(dictionary.read(steering), "bow").scores(texts).numpy()
    for place, concept in enumerate(found.concepts):
        positive, negative = found.positives(concept), found.negatives(concept.genre)
        counter = CountVectorizer()
        counts = counter.fit_transform(
            [f"{row['input']}\n{row['output']}" for row in positive + negative]
        )
        fitted = LogisticRegression(C=100, max_iter=1000)
        fitted.fit(counts, [1] * len(positive) + [0] * len(negative))
        expected = fitted.decision_function(counter.transform(texts))
        np.testing.assert_allclose(scores[:, place], expected, atol=1e-9)


def test_bow_needs_no_model(data_folder: Path, tmp_path: Path) -> None:
    made = train(
        Options(
            methods=["bow"],
            out=tmp_path / "bow",
            run=run_options({"axbench_data": str(data_folder)}),
        )
    )
    assert made.manifest["model"] is None
    assert isinstance(text_method(made, "bow"), BagOfWords)


def count_hooks(model: Any) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_the_pass_stops_behind_its_block(reader: Reader) -> None:
    before = count_hooks(reader.model)  # transformers keeps some of its own
    ids = torch.arange(3, 11).unsqueeze(0)
    mask = torch.ones_like(ids)
    ran = []
    handles = [
        module.register_forward_hook(lambda m, i, o, n=n: ran.append(n))
        for n, module in enumerate([*blocks(reader.model), reader.model.lm_head])
    ]
    hidden = block_output(reader.model, 1, ids, mask)
    for handle in handles:
        handle.remove()
    assert ran == [0, 1]
    assert count_hooks(reader.model) == before
    with torch.no_grad():
        full = reader.model(ids, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(hidden, full)


@pytest.mark.parametrize(
    "model",
    [
        lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50)),
        lambda: GPTNeoXForCausalLM(
            GPTNeoXConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                vocab_size=50,
            )
        ),
        lambda: Gemma2ForCausalLM(
            Gemma2Config(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                intermediate_size=16,
                vocab_size=50,
            )
        ),
    ],
    ids=["gpt2", "gpt-neox", "gemma2"],
)
def test_other_architectures_and_padding_on_either_side(model: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    lm = model().eval()
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    right = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    from_right = block_output(lm, 0, ids, right)[1, :2]
    left_ids = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]])
    from_left = block_output(lm, 0, left_ids, torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]))
    torch.testing.assert_close(from_left[1, 2:], from_right, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        alone = lm(ids[1:, :2], output_hidden_states=True).hidden_states[1][0]
    torch.testing.assert_close(from_right, alone, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        full = lm(ids, attention_mask=right).logits
        above = UpperBlocks(lm, 0).logits(block_output(lm, 0, ids, right), right, right.bool())
    torch.testing.assert_close(above, full[right.bool()], atol=1e-5, rtol=1e-4)
    with pytest.raises(HarnessError, match="layer 2 does not exist: the model has 0 … 1"):
        block_output(lm, 2, ids, right)


def test_the_prefix_is_counted_on_the_mask() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 0], [0, 0, 1, 1, 1]])
    expected = [[False, True, True, True, False], [False, False, False, True, True]]
    assert counted_tokens(mask, 1).tolist() == expected
    scores = torch.tensor([[9.0, 1.0, 2.0, 0.5, 9.0], [9.0, 9.0, 9.0, -3.0, -4.0]]).unsqueeze(-1)
    assert sequence_scores(scores, counted_tokens(mask, 1)).tolist() == [[2.0], [-3.0]]


def test_prefix_and_texts_of_base_and_chat_models(llama: str, chat_llama: str) -> None:
    base, chat = load(llama, layer=0), load(chat_llama, layer=0)
    assert (base.prefix, base.chat) == (1, False)
    assert (chat.prefix, chat.chat) == (3, True)
    row = {"input": "the door", "output": "a house"}
    assert base.tokenizer.decode(base.encode(row)) == "<s>the door\na house"
    assert chat.tokenizer.decode(chat.encode(row)) == "<s><user>\nthe door\n<model>\na house\n"


def test_batch_size_changes_nothing(make_dictionary: Callable[..., Path], tmp_path: Path) -> None:
    one = make_dictionary(tmp_path / "one", methods=("diffmean",), batch_size=1)
    many = make_dictionary(tmp_path / "many", methods=("diffmean",), batch_size=64)
    a, b = (dictionary.read(folder).weight("diffmean") for folder in (one, many))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_shared_texts_are_read_once(reader: Reader, data_folder: Path) -> None:
    found = concepts.load(run_options({"axbench_data": str(data_folder)}))
    library = Library(reader, found)
    both = library.corpus(found.concepts[:2])
    assert len(both.texts) == 2 * 12 + 12
    assert both.negative[0] == both.negative[1] == list(range(12))
    other = library.corpus(found.concepts[2:])
    assert both.texts[0] is library.corpus(found.concepts[:1]).texts[0], "negatives are kept"
    assert len(other.texts) == 3 * 12, "the genre before, its own, and its positives"
    doubled = concepts.ConceptData(
        found.source, found.concepts, [*found.train, *found.train], found.evaluation
    )
    again = Library(reader, doubled).corpus(found.concepts[:1])
    assert len(again.texts) == 24
    assert again.positive[0] == [*range(12, 24)] * 2


def test_a_corpus_is_what_the_model_computes(reader: Reader, data_folder: Path) -> None:
    found = concepts.load(run_options({"axbench_data": str(data_folder)}))
    corpus = Library(reader, found).corpus(found.concepts)
    rows = found.positives(found.concepts[1])
    expected = np.concatenate([states(reader, row) for row in rows])
    np.testing.assert_allclose(corpus.tokens(corpus.positive[1]).numpy(), expected, atol=1e-4)
    batch = corpus.batch(corpus.positive[1])
    for place, row in enumerate(rows):
        assert reader.tokenizer.decode(batch.ids[place][batch.response[place]]) == row["output"]
        assert batch.mask[place].sum() == len(reader.encode(row))
    assert reader.tokenizer.decode(batch.targets) == "".join(row["output"] for row in rows)
    assert bool((batch.predicts.sum(1) == batch.response.sum(1)).all())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_blocks_above_go_on_where_the_pass_stopped(reader: Reader, layer: int) -> None:
    ids = torch.tensor([[1, 5, 6, 7, 8], [1, 9, 10, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    wanted = mask.bool() & (torch.arange(5) > 0)
    forwards = [block.__dict__.get("forward") for block in blocks(reader.model)]
    hidden = block_output(reader.model, layer, ids, mask).requires_grad_()
    upper = UpperBlocks(reader.model, layer)
    found = upper.logits(hidden, mask, wanted)
    with torch.no_grad():
        full = reader.model(ids, attention_mask=mask, output_hidden_states=True)
    torch.testing.assert_close(found, full.logits[wanted])
    (found.square().mean()).backward()
    assert hidden.grad is not None
    moved = wanted if layer == 2 else mask.bool()
    assert bool((hidden.grad[moved].abs().sum(-1) > 0).all())
    whole = hidden.detach().requires_grad_()
    reader.model.lm_head(upper.states(whole, mask))[wanted].square().mean().backward()
    torch.testing.assert_close(hidden.grad, whole.grad)
    last = upper.states(hidden.detach(), mask)
    torch.testing.assert_close(last[mask.bool()], full.hidden_states[-1][mask.bool()])
    assert [block.__dict__.get("forward") for block in blocks(reader.model)] == forwards


def test_activations_that_are_no_numbers(llama: str) -> None:
    broken = load(llama, layer=1)
    with torch.no_grad():
        broken.model.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(HarnessError, match="layer 1 are not finite for 'the sea a house'"):
        list(broken.stream([{"input": "the sea", "output": "a house"}], "texts"))


def test_a_text_without_tokens(llama: str) -> None:
    strict = load(llama, layer=1, prefix=50)
    with pytest.raises(DataError, match="no token behind the prefix of 50"):
        list(strict.stream([{"input": "a", "output": "b"}], "texts"))


def test_names_of_methods() -> None:
    assert listed("bow, diffmean,bow") == ["bow", "diffmean"]
    every = listed("all")
    assert {"diffmean", "random", "bow"} <= set(every)
    assert {find(name).name for name in every} == set(every)
    with pytest.raises(HarnessError, match=r"no method 'difmean'; did you mean diffmean\?"):
        listed("difmean")
